import { describe, expect, it, onTestFinished } from 'vitest'
import {
  NodeProcess,
  eventually,
  finished,
  loops,
  randomMesh,
  run,
  skein,
  temporaryFolder
} from './skein-process.ts'

const COUNT = loops(100_000)

async function node(mesh: string, join: readonly string[]): Promise<NodeProcess> {
  const args = ['--mesh', mesh, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const folder = await temporaryFolder(onTestFinished)
  const process = new NodeProcess(folder, [...args, ...join.flatMap((to) => ['--join', to])])
  onTestFinished(async () => {
    await process.kill()
  })
  await process.start()
  return process
}

const addressOf = (process: NodeProcess): string => process.ready.listen[0] ?? ''

describe('offline: durable subscriber', () => {
  it('gets everything, in order, from a plain subscriber, though the publisher is gone for good', async () => {
    const mesh = randomMesh()
    const a = await node(mesh, [])
    const c = await node(mesh, [addressOf(a)])
    const b = await node(mesh, [addressOf(c)])
    await eventually(async () => (await a.connected()).length === 2 || undefined)
    await b.call('PUT', '/v1/subscriptions/all', { filter: 'lines' })
    await b.kill('SIGTERM')

    const plain = ['sub', 'lines', '--raw', '--count', String(COUNT), '--timeout', '60s']
    const atC = finished(skein([...plain, '--data-dir', c.dataDir], { stdin: 'ignore' }))
    await eventually(async () => {
      const peers = await a.call<{ channels: string[] }[]>('GET', '/v1/peers')
      return peers.some(({ channels }) => channels.includes('lines')) || undefined
    })
    const lines = `${Array.from({ length: COUNT }, (_, i) => `line ${i}`).join('\n')}\n`
    const published = await run(['pub', 'lines', '--lines', '--json', '--data-dir', a.dataDir], {
      input: lines
    })
    expect(JSON.parse(published.stdout)).toMatchObject({ published: COUNT })
    const plainly = await atC
    expect(plainly.code).toBe(0)
    expect(plainly.stdout === lines, 'C has every line, in order').toBe(true)
    await a.kill('SIGKILL')

    const startedAt = performance.now()
    await b.start()
    const readyAt = performance.now()
    const durable = ['sub', 'lines', '--durable', 'all', '--raw', '--count', String(COUNT)]
    const atB = await run([...durable, '--timeout', '100s', '--data-dir', b.dataDir])
    const ms = performance.now() - readyAt
    expect(atB.stderr).toBe('')
    expect(atB.code).toBe(0)
    expect(atB.stdout === lines, 'B has every line, in order').toBe(true)
    process.stdout.write(
      `${COUNT} messages from a peer that is not their publisher: ${Math.round(ms)} ms after the node was ` +
        `ready (${Math.round(COUNT / (ms / 1000))}/s), which took ${Math.round(readyAt - startedAt)} ms\n`
    )
  }, 180_000)
})
