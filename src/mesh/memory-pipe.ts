import type { PushSink } from './link.ts'

/** In flight on one direction of a link before the writer has to wait. */
const IN_FLIGHT = 256 * 1024

export interface MemoryPipeInit {
  /** Calls back when the link's delay has passed. */
  readonly after: (deliver: () => void) => void
  /** Does the other side read just now? */
  readonly reads: () => boolean
  readonly deliver: (bytes: Uint8Array) => void
  readonly onDrain: () => void
}

/** One direction of a link in memory: bytes arrive later, in order, and only as fast as the other side reads. */
export class MemoryPipe implements PushSink {
  readonly #init: MemoryPipeInit
  #queue: Uint8Array[] = []
  #arrived = 0
  #closed = false
  buffered = 0

  constructor(init: MemoryPipeInit) {
    this.#init = init
  }

  get writable(): boolean {
    return !this.#closed && this.buffered < IN_FLIGHT
  }

  write(parts: readonly Uint8Array[]): void {
    if (this.#closed || parts.length === 0) return
    const bytes = new Uint8Array(Buffer.concat(parts))
    this.buffered += bytes.length
    this.#queue.push(bytes)
    this.#init.after(() => {
      this.#arrived++
      this.resume()
    })
  }

  /** Hands over what has arrived, while the other side reads. */
  resume(): void {
    let delivered = false
    while (this.#arrived > 0 && !this.#closed && this.#init.reads()) {
      const bytes = this.#queue.shift() as Uint8Array
      this.#arrived--
      this.buffered -= bytes.length
      delivered = true
      this.#init.deliver(bytes)
    }
    if (delivered && !this.#closed) this.#init.onDrain()
  }

  close(): void {
    this.#closed = true
    this.#queue = []
    this.buffered = 0
  }
}
