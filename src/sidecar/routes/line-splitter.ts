import { SkeinError } from '../../core/errors.ts'

const LINE_FEED = 0x0a

/**
 * Cuts a stream of bytes at line feeds. A line is handed over without its line feed, otherwise as it came; the
 * last one may lack it. Memory is bounded by `maxBytes` and the chunk at hand.
 */
export class LineSplitter {
  readonly #maxBytes: number
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The lines that `chunk` completes. Throws ERR_PAYLOAD_TOO_LARGE at the line that is too long. */
  *push(chunk: Buffer): Generator<Buffer> {
    let start = 0
    while (start < chunk.length) {
      const end = chunk.indexOf(LINE_FEED, start)
      if (end === -1) {
        this.#keep(chunk.subarray(start))
        return
      }
      const line = this.#take(chunk.subarray(start, end))
      start = end + 1
      yield line
    }
  }

  /** What stands after the last line feed, if anything. */
  end(): Buffer | undefined {
    return this.#restBytes === 0 ? undefined : this.#take(Buffer.alloc(0))
  }

  #keep(part: Buffer): void {
    this.#assertFits(this.#restBytes + part.length)
    this.#rest.push(part)
    this.#restBytes += part.length
  }

  #take(part: Buffer): Buffer {
    this.#assertFits(this.#restBytes + part.length)
    if (this.#restBytes === 0) return part
    const line = Buffer.concat([...this.#rest, part])
    this.#rest = []
    this.#restBytes = 0
    return line
  }

  #assertFits(bytes: number): void {
    if (bytes <= this.#maxBytes) return
    throw new SkeinError(
      'ERR_PAYLOAD_TOO_LARGE',
      `A line is longer than ${this.#maxBytes} bytes, the largest payload; split it, or publish it as chunks.`,
      { details: { limit: this.#maxBytes } }
    )
  }
}
