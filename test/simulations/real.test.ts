import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { eventually, run, temporaryFolder } from '../processes/skein-process.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

const SCENARIO = `
description: Three nodes, a cut, a kill, a restart and a frozen node.
seed: 3
tier: [real]
nodes: 3
workload:
  publishers:
    - { nodes: [n1, n3], topic: 'a/{node}', rate: 20, size: [10, 2000], from: 500ms, until: 3500ms }
  subscriptions:
    - { nodes: all, filter: 'a/#', durable: all }
  sends:
    - { from: n1, to: n2, topic: note, rate: 4, starts: 500ms, until: 3s }
timeline:
  - { at: 1s, partition: [[n1], [n2, n3]], for: 1s }
  - { at: 1500ms, crash: n2, for: 500ms }
  - { at: 2500ms, restart: n2, down: 200ms }
  - { at: 3s, latency: 20ms, jitter: 10ms, for: 500ms }
end: 4s
drain: 30s
expect:
  delivered: { all: 360 }
`

interface Report {
  readonly tier: string
  readonly traceHash: string | null
  readonly violations: readonly object[]
  readonly faults: ReadonlyArray<{ readonly kind: string; readonly untilMs: number }>
}

let folder = ''
let file = ''

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

beforeEach(async () => {
  folder = await temporaryFolder(onTestFinished)
  file = await write('small.yaml', SCENARIO)
})

describe('simulations: real processes', () => {
  it('a small scenario with a cut and a kill holds', { timeout: 60_000 }, async () => {
    const { code, stderr, stdout } = await run(['sim', file, '--real', '--json'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const report = JSON.parse(stdout) as Report
    expect(report).toMatchObject({
      tier: 'real',
      traceHash: null,
      ok: true,
      violations: [],
      published: 120,
      deliveredBy: { all: 360 },
      replay: `skein sim ${file} --seed 3 --real`
    })
    expect(report.faults.map(({ kind }) => kind)).toEqual([
      'partition',
      'crash',
      'restart',
      'latency'
    ])
  })

  it.each([
    ['loss', '{ at: 1s, loss: 5% }'],
    ['clock-skew', '{ at: 1s, clock-skew: n1, by: 1h }'],
    ['torn-tail', '{ at: 1s, torn-tail: n2, for: 1s }']
  ])('refuses the fault %s before anything is started', async (kind, entry) => {
    const bad = await write('bad.yaml', SCENARIO.replace('timeline:', `timeline:\n  - ${entry}`))
    const { code, stderr, stdout } = await run(['sim', bad, '--real'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`'${kind}' at 1 s cannot be injected .*\\(ERR_SCENARIO\\)`))
  })

  it('refuses what is said to be for the other tier', async () => {
    const virtual = await write('virtual.yaml', SCENARIO.replace('[real]', '[virtual]'))
    for (const args of [[virtual, '--real'], [file]]) {
      const { code, stderr } = await run(['sim', ...args])
      expect(code).toBe(2)
      expect(stderr).toContain('it is not made for this tier')
    }
  })

  it('leaves no process and no file behind when it is interrupted', async () => {
    const temporary = join(folder, 'tmp')
    await mkdir(temporary)
    const child = spawn(process.execPath, [MAIN, 'sim', file, '--real'], {
      // A group of its own: Ctrl-C reaches all processes of a terminal's.
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: temporary }
    })
    const group = -(child.pid ?? 0)
    const exited = once(child, 'exit')
    await eventually(
      async () => {
        const [own] = await readdir(temporary)
        const nodes = own === undefined ? [] : await readdir(join(temporary, own))
        return nodes.length === 3 || undefined
      },
      { what: 'data of three nodes', timeoutMs: 15_000 }
    )
    process.kill(group, 'SIGINT')
    expect(await exited).toEqual([1, null])
    expect(await readdir(temporary)).toEqual([])
    expect(() => process.kill(group, 0)).toThrow('ESRCH')
  })
})
