import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import type { NodeOptions } from '../../src/index.ts'
import { LibraryNode } from './library-node.ts'
import { eventually, randomMesh } from './skein-process.ts'
import { TcpProxy } from './tcp-proxy.ts'

/** A node that announces something else says nothing of the port it listens on, so the port is chosen for it. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/**
 * Nodes that reach each other only through a proxy for each pair: the later node of a pair dials the earlier one.
 * What they announce leads nowhere, so that nothing goes round the proxies.
 */
export class ProxiedMesh {
  readonly nodes: LibraryNode[] = []
  readonly #proxies = new Map<string, TcpProxy>()
  readonly #nowhere = createServer((socket) => socket.destroy())

  /** Data directories are made in `folder`. */
  async start(
    count: number,
    folder: string,
    options: NodeOptions = {},
    execArgv: readonly string[] = []
  ): Promise<void> {
    const mesh = randomMesh()
    this.#nowhere.listen(0, '127.0.0.1')
    await once(this.#nowhere, 'listening')
    const { port: nowhere } = this.#nowhere.address() as AddressInfo
    for (let index = 0; index < count; index++) {
      const port = await freePort()
      const proxies = this.nodes.map((_, earlier) => this.#proxy(earlier, index))
      const node = new LibraryNode({
        name: `node-${index}`,
        mesh,
        mdns: false,
        dataDir: join(folder, `node-${index}`),
        listen: [`/ip4/127.0.0.1/tcp/${port}`],
        announce: [`/ip4/127.0.0.1/tcp/${nowhere}`],
        join: proxies.map((proxy) => `/ip4/127.0.0.1/tcp/${proxy.port}`),
        ...options
      })
      this.nodes.push(node)
      for (let later = index + 1; later < count; later++) {
        const proxy = new TcpProxy(() => port)
        await proxy.start()
        this.#proxies.set(`${index} ${later}`, proxy)
      }
    }
    await Promise.all(this.nodes.map((node) => node.start(execArgv)))
    await this.connected(count - 1)
  }

  /** Resolves once each node has so many neighbours. */
  async connected(neighbours: number, timeoutMs = 30_000): Promise<void> {
    await eventually(
      async () => {
        const counts = await Promise.all(
          this.nodes.map((node) => node.call<number>({ op: 'connected' }))
        )
        return counts.every((count) => count === neighbours) || undefined
      },
      { what: `${neighbours} neighbours at each node`, timeoutMs }
    )
  }

  cut(a: number, b: number): void {
    this.#proxy(Math.min(a, b), Math.max(a, b)).cut()
  }

  /** Breaks the connections between two. */
  drop(a: number, b: number): void {
    this.#proxy(Math.min(a, b), Math.max(a, b)).drop()
  }

  heal(a: number, b: number): void {
    this.#proxy(Math.min(a, b), Math.max(a, b)).heal()
  }

  /** Kills the nodes. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    const proxies = [...this.#proxies.values()]
    this.#proxies.clear()
    await Promise.all(proxies.map((proxy) => proxy.stop()))
    this.#nowhere.close()
  }

  #proxy(earlier: number, later: number): TcpProxy {
    const proxy = this.#proxies.get(`${earlier} ${later}`)
    if (proxy === undefined) throw new Error(`no link between ${earlier} and ${later}`)
    return proxy
  }
}
