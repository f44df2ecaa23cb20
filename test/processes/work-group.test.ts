import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import type { GroupStatus } from '../../src/index.ts'
import {
  NodeProcess,
  eventually,
  randomMesh,
  run,
  skein,
  temporaryFolder
} from './skein-process.ts'

const LONG = { timeoutMs: 60_000 }

async function started(mesh: string, name: string, join: readonly string[]): Promise<NodeProcess> {
  const node = new NodeProcess(await temporaryFolder(onTestFinished), [
    '--no-mdns',
    '--mesh',
    mesh,
    '--name',
    name,
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
    ...join.flatMap((address) => ['--join', address])
  ])
  onTestFinished(async () => {
    await node.kill()
  })
  await node.start()
  return node
}

/** `skein sub --group` beside a node. */
class Member {
  readonly got: { readonly text: string; readonly at: number }[] = []
  readonly #child: ChildProcess

  constructor(node: NodeProcess) {
    const args = ['sub', 'jobs/#', '--group', 'billing', '--json', '--api', node.ready.api]
    this.#child = skein(args, { env: node.env, stdin: 'ignore' })
    onTestFinished(() => void this.#child.kill('SIGKILL'))
    createInterface(this.#child.stdout as NonNullable<ChildProcess['stdout']>).on(
      'line',
      (line) => {
        const { payload } = JSON.parse(line) as { payload: string }
        this.got.push({ text: payload, at: performance.now() })
      }
    )
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text)
  }

  async leave(): Promise<void> {
    this.#child.kill('SIGINT')
    await eventually(() => this.#child.exitCode !== null, LONG)
  }
}

const publish = (node: NodeProcess, lines: readonly string[]): Promise<Response> =>
  node.fetch('/v1/publish/jobs/new?split=lines', { method: 'POST', body: lines.join('\n') })

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, at) => `${from + at}`)

async function groupOf(node: NodeProcess): Promise<GroupStatus | undefined> {
  const { groups } = await node.call<{ groups: GroupStatus[] }>('GET', '/v1/groups')
  return groups[0]
}

const shared = (node: NodeProcess, members: number): Promise<boolean> =>
  eventually(async () => {
    const group = await groupOf(node)
    const slots = group?.members.filter(({ state }) => state === 'live').map((one) => one.slots)
    return slots?.length === members && slots.every((count) => count > 0)
  }, LONG)

it('work group: the command line shares messages out; a node that is killed costs what it had in hand', async () => {
  const mesh = randomMesh()
  const a = await started(mesh, 'a', [])
  const b = await started(mesh, 'b', a.ready.listen)
  await eventually(async () => (await a.connected()).length === 1, LONG)
  const first = new Member(a)
  await shared(a, 1)
  const second = new Member(b)
  await shared(a, 2)
  await publish(a, numbered(0, 200))
  await eventually(() => first.got.length + second.got.length >= 200, LONG)
  expect([...first.texts, ...second.texts].toSorted()).toEqual(numbered(0, 200).toSorted())
  expect(Math.min(first.got.length, second.got.length)).toBeGreaterThan(20)
  const shown = await run(['groups', 'billing', '--api', a.ready.api], { env: a.env })
  expect(shown.stdout).toMatch(/billing +jobs\/# +available +\d+ +2 +member/)
  expect(shown.stdout).toMatch(/b +live +\d+/)
  const busy = await run(['groups', 'forget', 'billing', '--api', a.ready.api], { env: a.env })
  expect([busy.code, busy.stderr]).toEqual([1, expect.stringContaining('ERR_SUBSCRIPTION_IN_USE')])

  const before = second.got.length
  const killedAt = performance.now()
  await b.kill()
  await publish(a, numbered(200, 400))
  await eventually(() => new Set([...first.texts, ...second.texts]).size === 400, LONG)
  const late = first.got.filter(({ at }) => at > killedAt + 2_000)
  const takeoverMs = Math.round((late[0]?.at ?? killedAt) - killedAt)
  process.stdout.write(`work group: ${takeoverMs} ms from kill to takeover\n`)
  // Those that it had printed and not acknowledged; acknowledgements follow within a moment.
  const repeated = first.texts.length - new Set(first.texts).size
  const twice = first.texts.filter((text) => second.texts.includes(text))
  expect(repeated).toBe(0)
  expect(twice.every((text) => second.texts.slice(-before).includes(text))).toBe(true)

  await first.leave()
  const forgotten = await run(['groups', 'forget', 'billing', '--api', a.ready.api], { env: a.env })
  expect(forgotten).toMatchObject({ code: 0, stderr: '' })
  const none = await run(['groups', '--api', a.ready.api], { env: a.env })
  expect(none.stdout).toBe('no groups\n')
}, 120_000)
