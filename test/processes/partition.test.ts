import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  NodeProcess,
  eventually,
  finished,
  full,
  randomMesh,
  skein,
  temporaryFolder
} from './skein-process.ts'
import { TcpProxy } from './tcp-proxy.ts'

/** A node that announces a proxy says nothing of the port it listens on, so the port is chosen for it. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** A node that others reach only through a proxy. */
async function behindProxy(
  mesh: string,
  join: readonly TcpProxy[]
): Promise<{ node: NodeProcess; proxy: TcpProxy }> {
  const folder = await temporaryFolder(onTestFinished)
  const port = await freePort()
  const proxy = new TcpProxy(() => port)
  await proxy.start()
  onTestFinished(() => proxy.stop())
  const node = new NodeProcess(folder, [
    '--mesh',
    mesh,
    '--no-mdns',
    '--listen',
    `/ip4/127.0.0.1/tcp/${port}`,
    '--announce',
    `/ip4/127.0.0.1/tcp/${proxy.port}`,
    ...join.flatMap((other) => ['--join', `/ip4/127.0.0.1/tcp/${other.port}`])
  ])
  onTestFinished(async () => {
    await node.kill()
  })
  await node.start()
  return { node, proxy }
}

describe('partition: two nodes', () => {
  it('find each other again within 2 s of the return of the link, without a restart', async () => {
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
    const sub = skein(['sub', 'after', '--raw', '--count', '1', '--api', b.node.ready.api], {
      env: b.node.env
    })
    const received = finished(sub)
    // Something is published all the time; what counts is when the first of it arrives over there.
    const healedAt = performance.now()
    a.proxy.heal()
    b.proxy.heal()
    let arrived = false
    void received.then(() => {
      arrived = true
    })
    await eventually(async () => {
      await a.node.fetch('/v1/publish/after', { method: 'POST', body: 'hello' })
      return arrived || undefined
    })
    const healMs = performance.now() - healedAt
    expect((await received).stdout).toBe('hello\n')
    process.stdout.write(`link cut for ${seconds} s: healed in ${Math.round(healMs)} ms\n`)
    expect(healMs, `ms to heal after a cut of ${seconds} s`).toBeLessThan(2000)
  }, 150_000)
})
