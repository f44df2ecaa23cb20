import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LOCAL, clientOf } from './client-address.ts'

export interface ConnectionsInit {
  /** All together. */
  readonly most: number
  /** One was not taken: there are too many of `connections` together, or of one `client`. */
  readonly onRefused: (reason: 'connections' | 'client', client: string) => void
}

/** What one client may have of all: none takes them all from others, and this machine's own services come first. */
const SHARE = 1 / 4
const LOCAL_SHARE = 3 / 4

/**
 * The connections of an HTTP server, and which of them have a request under way. Node.js closes idle ones by itself
 * when a server closes, but counts those on which nothing has been sent yet as busy, and keeps one that was busy then.
 */
export class Connections {
  readonly #init: ConnectionsInit
  readonly #clients = new Map<string, number>()
  /** Requests under way by connection. */
  readonly #underWay = new Map<Socket, number>()
  #requests = 0
  #closing = false
  /** Somebody waits until no request is under way. */
  #idle: (() => void) | undefined

  constructor(server: Server, init: ConnectionsInit) {
    this.#init = init
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#count(request.socket, 1)
      response.once('close', () => this.#count(request.socket, -1))
    })
    // Nobody listens to 'upgrade' here: that alone would take every request that offers another protocol, unanswered.
  }

  /** It speaks another protocol from here on, and ends when that does. */
  upgraded(socket: Socket): void {
    this.#count(socket, 1)
  }

  get open(): number {
    return this.#underWay.size
  }

  /**
   * Resolves when no request is under way any more, but after `ms` at the latest; connections without one are closed
   * then, and not before: whoever asks on one meanwhile is to get an answer, not a reset.
   */
  async drain(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
    })
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve
    })
    this.#tell()
    await Promise.race([idle, late])
    clearTimeout(timer)
    this.#idle = undefined
    this.#closing = true
    for (const socket of this.#underWay.keys()) this.#closeIdle(socket)
  }

  #add(socket: Socket): void {
    const client = clientOf(socket.remoteAddress)
    const count = this.#clients.get(client) ?? 0
    if (this.#closing || this.#refuses(client, count)) {
      socket.destroy()
      return
    }
    this.#underWay.set(socket, 0)
    this.#clients.set(client, count + 1)
    socket.once('close', () => {
      this.#count(socket, -(this.#underWay.get(socket) ?? 0))
      this.#underWay.delete(socket)
      const left = (this.#clients.get(client) ?? 1) - 1
      if (left > 0) this.#clients.set(client, left)
      else this.#clients.delete(client)
    })
  }

  #refuses(client: string, count: number): boolean {
    const { most, onRefused } = this.#init
    const share = Math.max(1, Math.floor(most * (client === LOCAL ? LOCAL_SHARE : SHARE)))
    const isFull = this.#underWay.size >= most
    if (!isFull && count < share) return false
    onRefused(isFull ? 'connections' : 'client', client)
    return true
  }

  /** A connection has so many requests more under way. */
  #count(socket: Socket, change: number): void {
    const before = this.#underWay.get(socket)
    if (before === undefined) return
    this.#underWay.set(socket, before + change)
    this.#requests += change
    if (this.#closing) this.#closeIdle(socket)
    this.#tell()
  }

  #closeIdle(socket: Socket): void {
    // What has been written still goes out.
    if (this.#underWay.get(socket) === 0) socket.destroySoon()
  }

  #tell(): void {
    if (this.#requests === 0) this.#idle?.()
  }
}
