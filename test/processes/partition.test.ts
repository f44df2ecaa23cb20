import { describe, expect, it, onTestFinished } from 'vitest'
import { NodeProcess, eventually, finished, full, randomMesh, skein, temporaryFolder } from './skein-process.ts'
import { TcpProxy } from './tcp-proxy.ts'

const portOf = (process: NodeProcess): number =>
  Number(/\/tcp\/(\d+)/.exec(process.ready.listen.find((address) => address.includes('127.0.0.1')) ?? '')?.[1])

/** A node that others reach only through a proxy. */
async function behindProxy(mesh: string, join: readonly TcpProxy[]): Promise<{ node: NodeProcess; proxy: TcpProxy }> {
  const folder = await temporaryFolder(onTestFinished)
  const proxy: TcpProxy = new TcpProxy(() => portOf(node))
  await proxy.start()
  onTestFinished(() => proxy.stop())
  const node: NodeProcess = new NodeProcess(folder, [
    ...['--mesh', mesh, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0'],
    ...['--announce', `/ip4/127.0.0.1/tcp/${proxy.port}`],
    ...join.flatMap((other) => ['--join', `/ip4/127.0.0.1/tcp/${other.port}`])
  ])
  onTestFinished(async () => {
    await node.kill()
  })
  await node.start()
  return { node, proxy }
}

describe('partition: two nodes', () => {
  it(
    'find each other again within 2 s of the return of the link, without a restart',
    async () => {
      const mesh = randomMesh()
      const a = await behindProxy(mesh, [])
      const b = await behindProxy(mesh, [a.proxy])
      await eventually(async () => (await a.node.connected()).length === 1 || undefined)
      const seconds = full ? 90 : 9
      a.proxy.cut()
      b.proxy.cut()
      await eventually(async () => (await a.node.connected()).length === 0 || undefined, {
        what: 'the cut noticed',
        timeoutMs: 30_000
      })
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
      expect(await b.node.connected()).toEqual([])
      const sub = skein(['sub', 'after', '--raw', '--count', '1', '--api', b.node.ready.api], { env: b.node.env })
      const received = finished(sub)
      const healedAt = performance.now()
      a.proxy.heal()
      b.proxy.heal()
      await eventually(async () => (await b.node.connected()).length === 1 || undefined)
      await eventually(async () => {
        const topics = await a.node.call<{ channel: string; members: number }[]>('GET', '/v1/topics')
        if (!topics.some(({ members }) => members > 0)) {
          await a.node.fetch('/v1/publish/after', { method: 'POST', body: 'hello' })
        }
        return topics.some(({ members }) => members > 0) || undefined
      })
      const healMs = performance.now() - healedAt
      await a.node.fetch('/v1/publish/after', { method: 'POST', body: 'hello' })
      expect((await received).stdout).toBe('hello\n')
      console.info(`link cut for ${seconds} s: healed in ${Math.round(healMs)} ms`)
      expect(healMs).toBeLessThan(2000)
    },
    150_000
  )
})
