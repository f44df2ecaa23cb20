import { LIMITS } from '../core/limits.ts'
import type { FrameStream } from '../mesh/contract.ts'

/**
 * Writes frames to a stream without waiting for each: those that are written while one is on its way go out
 * together. That the stream is gone shows at its reading end.
 */
export class FrameWriter {
  readonly #stream: FrameStream
  #queue: Uint8Array[] = []
  #sending = false
  #failed = false
  #pending = 0
  #waiting: (() => void)[] = []

  constructor(stream: FrameStream) {
    this.#stream = stream
  }

  /** Bytes that the stream has not taken yet. */
  get pendingBytes(): number {
    return this.#pending
  }

  write(frame: Uint8Array): void {
    if (this.#failed) return
    this.#queue.push(frame)
    this.#pending += frame.length
    if (!this.#sending) void this.#pump()
  }

  /** Undefined while fewer bytes than that are pending; else a promise of it, or of the stream's end. */
  room(bytes: number): Promise<void> | undefined {
    if (this.#failed || this.#pending < bytes) return undefined
    return this.#below(bytes)
  }

  async #below(bytes: number): Promise<void> {
    while (!this.#failed && this.#pending >= bytes) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  async #pump(): Promise<void> {
    this.#sending = true
    try {
      while (this.#queue.length > 0) {
        const packed = this.#next()
        await this.#stream.send(packed)
        this.#pending -= packed.length
        this.#wake()
      }
    } catch {
      // Whoever reads the stream meets the same end.
      this.#failed = true
      this.#queue = []
      this.#pending = 0
      this.#wake()
    } finally {
      this.#sending = false
    }
  }

  #next(): Uint8Array {
    let count = 0
    for (let bytes = 0; count < this.#queue.length && bytes < LIMITS.requestBatchBytes; count++) {
      bytes += this.#queue[count]?.length ?? 0
    }
    const frames = this.#queue.splice(0, count)
    return frames.length === 1 ? (frames[0] as Uint8Array) : Buffer.concat(frames)
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
