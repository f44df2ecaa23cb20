import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { EventSharing } from '../events/event-sharing.ts'

export interface SocketWriterComponents {
  readonly socket: WebSocket
  /** What `socket` speaks over. */
  readonly connection: Socket
  /** Says how much may wait for one slow client. */
  readonly sharing: Pick<EventSharing, 'batchBytes'>
}

/** Writes frames, and knows when the other side is behind. */
export class SocketWriter {
  readonly #socket: WebSocket
  readonly #connection: Socket
  readonly #sharing: Pick<EventSharing, 'batchBytes'>
  readonly #onRoom: () => void
  readonly #waiting = new Set<() => void>()

  /** `onRoom`: the other side has taken something. */
  constructor(components: SocketWriterComponents, onRoom: () => void) {
    const { connection, sharing, socket } = components
    this.#socket = socket
    this.#connection = connection
    this.#sharing = sharing
    this.#onRoom = onRoom
    socket.once('close', () => this.#wake())
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  /** So much waits for the other side that nothing more is to be made ready for it. */
  get isFull(): boolean {
    return this.isOpen && this.#socket.bufferedAmount >= this.#sharing.batchBytes
  }

  /** `taken` is called when the system has it, and never where the connection broke before. */
  write(text: string, taken?: () => void): void {
    if (!this.isOpen) return
    this.#socket.send(text, (error) => {
      // A destroyed socket completes its pending writes without an error.
      if (error === undefined || error === null) {
        if (!this.#connection.destroyed) taken?.()
      }
      if (this.isFull) return
      this.#wake()
      this.#onRoom()
    })
  }

  /** Several frames in one packet. */
  together(write: () => void): void {
    this.#connection.cork()
    write()
    this.#connection.uncork()
  }

  /** Resolves when there is room, or the connection is closed. */
  room(): Promise<void> {
    if (!this.isFull) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.add(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}
