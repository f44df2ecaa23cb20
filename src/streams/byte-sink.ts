import { WritableStream, type WritableStreamDefaultController } from 'node:stream/web'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { costOf, encodeData } from './stream-frames.ts'

/** As the standard has it; the types of Node 20 lack the signal. */
type AbortableController = WritableStreamDefaultController & { readonly signal: AbortSignal }

export interface ByteSinkInit {
  /** Bytes that the other side takes before it grants more. */
  readonly credit: number
  /** Resolves when there is room for more. */
  readonly send: (frame: Uint8Array) => Promise<void>
  /** All is written. */
  readonly onEnd: () => Promise<void>
  /** The producer gave up: what was written is incomplete. */
  readonly onAbort: (reason: unknown) => void
}

/** The direction that goes out: pieces, as many as the other side grants. */
export class ByteSink {
  readonly writable: WritableStream<Uint8Array>
  readonly #init: ByteSinkInit
  #controller: WritableStreamDefaultController | undefined
  #credit: number
  #accepted = 0
  #written = 0
  #over = false
  #failure: SkeinError | undefined
  #wake: (() => void) | undefined
  #wakeIdle: (() => void) | undefined

  constructor(init: ByteSinkInit) {
    this.#init = init
    this.#credit = init.credit
    this.writable = new WritableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
          // At once, and not when the write that waits for the other side has ended.
          const { signal } = controller as AbortableController
          signal.addEventListener('abort', () => this.#abort(signal.reason), { once: true })
        },
        write: (chunk) => this.#write(chunk),
        close: () => this.#end()
      },
      {
        highWaterMark: 1,
        // Called at each write: the only way to know that some are waiting.
        size: () => {
          this.#accepted++
          return 1
        }
      }
    )
  }

  /** Nothing more is sent. */
  get over(): boolean {
    return this.#over
  }

  grant(bytes: number): void {
    this.#credit += bytes
    this.#wake?.()
  }

  /** Fails what is being written, and all that follows. */
  fail(error: SkeinError): void {
    if (this.#over) return
    this.#finish(error)
    this.#controller?.error(error)
  }

  /** Ends after what was written, unless that was done. */
  async finish(): Promise<void> {
    while (!this.#over && this.#written < this.#accepted) {
      await new Promise<void>((resolve) => (this.#wakeIdle = resolve))
    }
    await this.#end()
  }

  async #write(chunk: unknown): Promise<void> {
    if (!(chunk instanceof Uint8Array)) {
      const error = new SkeinError('ERR_OPTIONS', 'a stream takes chunks of Uint8Array')
      this.#abort(error)
      throw error
    }
    for (let at = 0; at < chunk.length; at += LIMITS.streamPieceBytes) {
      const piece = chunk.subarray(at, at + LIMITS.streamPieceBytes)
      const cost = costOf(piece.length)
      if (this.#over || this.#credit < cost) await this.#room(cost)
      this.#credit -= cost
      await this.#init.send(encodeData(piece))
    }
    this.#written++
    this.#wakeIdle?.()
  }

  async #room(cost: number): Promise<void> {
    while (!this.#over && this.#credit < cost) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
    if (!this.#over) return
    throw this.#failure ?? new SkeinError('ERR_STREAM', 'the stream ended with its handler')
  }

  async #end(): Promise<void> {
    if (this.#over) return
    this.#finish(undefined)
    await this.#init.onEnd()
  }

  #abort(reason: unknown): void {
    if (this.#over) return
    this.#finish(new SkeinError('ERR_ABORTED', 'writing to the stream was aborted'))
    this.#init.onAbort(reason)
  }

  #finish(failure: SkeinError | undefined): void {
    this.#over = true
    this.#failure = failure
    this.#wake?.()
    this.#wakeIdle?.()
  }
}
