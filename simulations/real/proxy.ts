import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { LinkConditions } from '../world/link-conditions.ts'
import { Lane, type LaneComponents } from './lane.ts'

export interface ProxyInit {
  /** Where it leads to, on loopback. */
  readonly port: () => number
  /** What who dials sends meets with, and what it is answered. */
  readonly there: () => LinkConditions
  readonly back: () => LinkConditions
}

/**
 * The way from one node to another: a TCP proxy on loopback. While either direction is cut, a new connection is taken
 * and leads nowhere, as behind a switch that lost its uplink.
 */
export class Proxy {
  readonly #components: LaneComponents
  readonly #init: ProxyInit
  readonly #server = createServer((socket) => this.#connect(socket))
  readonly #sockets = new Set<Socket>()
  readonly #stranded = new Set<Socket>()
  readonly #lanes = new Set<Lane>()

  constructor(components: LaneComponents, init: ProxyInit) {
    this.#components = components
    this.#init = init
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** The conditions of the link are others than before. What was connected goes on where it was. */
  change(): void {
    if (!this.#isCut()) for (const socket of this.#stranded) socket.destroy()
    for (const lane of this.#lanes) lane.change()
  }

  /** Breaks what is connected, as a device does that loses its carrier. */
  drop(): void {
    for (const socket of [...this.#sockets, ...this.#stranded]) socket.destroy()
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.drop()
    await once(this.#server, 'close')
  }

  #isCut(): boolean {
    const { back, there } = this.#init
    return there().cut || back().cut
  }

  #connect(socket: Socket): void {
    keep(this.#isCut() ? this.#stranded : this.#sockets, socket)
    if (this.#stranded.has(socket)) return
    const { back, port, there } = this.#init
    const other = connect(port(), '127.0.0.1')
    keep(this.#sockets, other)
    const lanes = [
      new Lane(this.#components, { from: socket, to: other, conditions: there }),
      new Lane(this.#components, { from: other, to: socket, conditions: back })
    ]
    for (const lane of lanes) this.#lanes.add(lane)
    const forget = (): void => {
      if (socket.closed && other.closed) for (const lane of lanes) this.#lanes.delete(lane)
    }
    socket.once('close', forget)
    other.once('close', forget)
  }
}

function keep(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket)
  socket.setNoDelay(true)
  // It closes then, which is all that its other end may see of it.
  socket.on('error', () => undefined)
  socket.once('close', () => sockets.delete(socket))
}
