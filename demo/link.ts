import { once } from 'node:events'
import net from 'node:net'

/** A stretch of network between two nodes that can be cut and healed: what is on its way then waits. */
export class Link {
  readonly #server: net.Server
  readonly #sockets = new Set<net.Socket>()
  #cut = false

  constructor(targetPort: number) {
    this.#server = net.createServer((near) => {
      const far = net.connect(targetPort, '127.0.0.1')
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        if (this.#cut) socket.pause()
        socket.on('error', () => socket.destroy())
        socket.once('close', () => {
          this.#sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
      near.on('data', (chunk) => far.write(chunk))
      far.on('data', (chunk) => near.write(chunk))
      if (this.#cut) this.cut()
    })
  }

  /** The multiaddr of its near end. */
  async open(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `/ip4/127.0.0.1/tcp/${(this.#server.address() as net.AddressInfo).port}`
  }

  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.pause()
  }

  /** What was tried during the cut begins anew. */
  heal(): void {
    this.#cut = false
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** A TCP port that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
