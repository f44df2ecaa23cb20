import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * The connections of an HTTP server, and which of them have a request under way. Node.js closes idle ones by itself
 * when a server closes, but counts those on which nothing has been sent yet as busy, and keeps one that was busy then.
 */
export class Connections {
  /** Requests under way by connection. */
  readonly #underWay = new Map<Socket, number>()
  #requests = 0
  #closing = false
  /** Somebody waits until no request is under way. */
  #idle: (() => void) | undefined

  constructor(server: Server) {
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
    if (this.#closing) {
      socket.destroy()
      return
    }
    this.#underWay.set(socket, 0)
    socket.once('close', () => {
      this.#count(socket, -(this.#underWay.get(socket) ?? 0))
      this.#underWay.delete(socket)
    })
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
