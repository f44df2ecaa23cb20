import { SkeinError } from '../core/errors.ts'

import type { FrameStream, PeerId } from './contract.ts'

/** Sent and not yet read before the sender has to wait. */
const WINDOW_BYTES = 1024 * 1024

function broken(cause?: unknown): SkeinError {
  if (cause instanceof SkeinError && cause.code === 'ERR_STREAM') return cause
  return new SkeinError('ERR_STREAM', 'the stream is closed', { cause })
}

/** One direction: frames that arrive later, in order, within a window. */
class Direction {
  readonly #after: (deliver: () => void) => void
  #frames: Uint8Array[] = []
  #unread = 0
  #ended = false
  #closed = false
  #failure: SkeinError | undefined
  #wakeReader: (() => void) | undefined
  #room: Array<() => void> = []

  constructor(after: (deliver: () => void) => void) {
    this.#after = after
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.#failure !== undefined || this.#closed) throw this.#failure ?? broken()
    const copy = frame.slice()
    this.#unread += copy.length
    this.#after(() => {
      this.#frames.push(copy)
      this.#wakeReader?.()
    })
    while (this.#unread > WINDOW_BYTES && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#room.push(resolve))
    }
    const failure = this.#failure as SkeinError | undefined
    if (failure !== undefined) throw failure
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#after(() => {
      this.#ended = true
      this.#wakeReader?.()
    })
  }

  fail(error: SkeinError): void {
    if (this.#ended || this.#failure !== undefined) return
    this.#failure = error
    this.#wakeReader?.()
    this.#release()
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const frame = this.#frames.shift()
      if (frame !== undefined) {
        yield frame
        this.#unread -= frame.length
        this.#release()
        continue
      }
      if (this.#ended) return
      await new Promise<void>((resolve) => (this.#wakeReader = resolve))
      this.#wakeReader = undefined
    }
  }

  #release(): void {
    for (const resolve of this.#room.splice(0)) resolve()
  }
}

/** Two ends of a stream; `peers` are whom the first and the second end speak to. */
export function memoryStreamPair(
  protocol: string,
  peers: readonly [PeerId, PeerId],
  after: (deliver: () => void) => void
): [FrameStream, FrameStream] {
  const there = new Direction(after)
  const back = new Direction(after)
  const end = (peer: PeerId, out: Direction, incoming: Direction): FrameStream => ({
    peer,
    protocol,
    frames: incoming.read(),
    send: (frame) => out.send(frame),
    close: async () => out.close(),
    abort: (reason) => {
      out.fail(broken(reason))
      incoming.fail(broken(reason))
    }
  })
  return [end(peers[0], there, back), end(peers[1], back, there)]
}
