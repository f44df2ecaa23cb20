import { ReadableStream, type ReadableStreamDefaultController } from 'node:stream/web'
import type { SkeinError } from '../core/errors.ts'
import { recordError } from '../wire/protobuf.ts'
import { costOf } from './stream-frames.ts'

export interface ByteSourceInit {
  /** Bytes that the other side may send before it is granted more. */
  readonly window: number
  /** The other side may send so many bytes more. */
  readonly onRoom: (bytes: number) => void
  /** The consumer reads no more; `reason` is undefined where nothing is wrong. */
  readonly onCancel: (reason: unknown) => void
}

/**
 * The direction that comes in. What arrived and was not read is never more than the window, because no more is
 * granted before it is read: frames are taken from the network at once, and an abort is never stuck behind data.
 */
export class ByteSource {
  readonly readable: ReadableStream<Uint8Array>
  readonly #init: ByteSourceInit
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #chunks: Uint8Array[] = []
  #room: number
  #read = 0
  #ended = false
  #over = false
  #wake: (() => void) | undefined

  constructor(init: ByteSourceInit) {
    this.#init = init
    this.#room = init.window
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#pull(),
        cancel: (reason: unknown) => this.#cancel(reason)
      },
      { highWaterMark: 0 }
    )
  }

  /** Nothing more is awaited from the other side; what is here may still be read. */
  get ended(): boolean {
    return this.#ended || this.#over
  }

  /** Takes a copy. Throws ERR_RECORD where the other side may not send it. */
  push(bytes: Uint8Array): void {
    if (this.#ended) throw recordError('field', 'data comes after the end of a stream')
    const cost = costOf(bytes.length)
    if (cost > this.#room) throw recordError('limit', 'more data comes than was granted')
    this.#room -= cost
    if (this.#over) return
    // A copy: the frame is a view of memory that others use, and the consumer may transfer what it gets.
    const chunk = new Uint8Array(bytes)
    const wake = this.#wake
    if (wake === undefined) {
      this.#chunks.push(chunk)
      return
    }
    this.#hand(chunk)
    this.#wake = undefined
    wake()
  }

  /** The other side has written all. Throws ERR_RECORD where it had said so before. */
  end(): void {
    if (this.#ended) throw recordError('field', 'a stream ends twice')
    this.#ended = true
    this.#closeWhenRead()
  }

  /** What is here and was not read is given up. */
  fail(error: SkeinError): void {
    if (this.#over) return
    this.#finish()
    this.#controller?.error(error)
  }

  /** The consumer went away without a word. */
  stop(): void {
    if (this.ended) return
    this.#controller?.close()
    this.#cancel(undefined)
  }

  #pull(): Promise<void> | undefined {
    const chunk = this.#chunks.shift()
    if (chunk === undefined) return new Promise((resolve) => (this.#wake = resolve))
    this.#hand(chunk)
    this.#closeWhenRead()
    return undefined
  }

  #hand(chunk: Uint8Array): void {
    this.#read += costOf(chunk.length)
    this.#controller?.enqueue(chunk)
    if (this.#ended || this.#read < this.#init.window / 4) return
    const bytes = this.#read
    this.#read = 0
    this.#room += bytes
    this.#init.onRoom(bytes)
  }

  #closeWhenRead(): void {
    if (!this.#ended || this.#over || this.#chunks.length > 0) return
    this.#finish()
    this.#controller?.close()
  }

  #cancel(reason: unknown): void {
    if (this.#over) return
    this.#finish()
    this.#init.onCancel(reason)
  }

  #finish(): void {
    this.#over = true
    this.#chunks = []
    this.#wake?.()
    this.#wake = undefined
  }
}
