import { once } from 'node:events'
import net from 'node:net'

/**
 * A TCP proxy on loopback that can be cut: then nothing passes in either direction, and new connections are
 * taken but lead nowhere, as behind a switch that lost its uplink.
 */
export class TcpProxy {
  readonly #target: () => number
  readonly #server: net.Server
  readonly #pairs = new Set<readonly [net.Socket, net.Socket]>()
  readonly #stranded = new Set<net.Socket>()
  #cut = false

  constructor(target: () => number) {
    this.#target = target
    this.#server = net.createServer((socket) => this.#connect(socket))
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  cut(): void {
    this.#cut = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** Breaks what is connected, as a device does that loses its carrier. */
  drop(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  /** What was connected before the cut goes on where it was; what was tried during the cut is gone. */
  heal(): void {
    this.#cut = false
    for (const socket of this.#stranded) socket.destroy()
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  async stop(): Promise<void> {
    this.heal()
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #connect(socket: net.Socket): void {
    socket.on('error', () => socket.destroy())
    if (this.#cut) {
      this.#stranded.add(socket)
      socket.once('close', () => this.#stranded.delete(socket))
      return
    }
    const other = net.connect(this.#target(), '127.0.0.1')
    other.on('error', () => other.destroy())
    const pair = [socket, other] as const
    this.#pairs.add(pair)
    socket.pipe(other).pipe(socket)
    const close = (): void => {
      this.#pairs.delete(pair)
      socket.destroy()
      other.destroy()
    }
    socket.once('close', close)
    other.once('close', close)
  }
}
