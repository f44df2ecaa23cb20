import { SkeinError, toSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Published } from '../node/contract.ts'

/** What became of many messages published one after the other. */
export interface ManyPublished {
  /** Confirmed. */
  readonly published: number
  readonly first: Published | null
  readonly last: Published | null
}

/**
 * Publishes in flight for one request: many at once, so that the node can batch them, but not more than the
 * window, so that a slow disk slows the client down instead of filling memory.
 */
export class PublishWindow {
  #inFlight = 0
  #inFlightBytes = 0
  #published = 0
  #first: Published | null = null
  #firstLine = Number.POSITIVE_INFINITY
  #last: Published | null = null
  #lastLine = 0
  #failure: { line: number; error: SkeinError } | undefined
  #wake: (() => void) | undefined

  /** Something could not be published: add no more. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  /** Counts one publish of `bytes` at `line` (from 1) until `result` settles. */
  add(line: number, bytes: number, result: Promise<Published>): void {
    this.#inFlight++
    this.#inFlightBytes += bytes
    result.then(
      (published) => {
        this.#published++
        if (line < this.#firstLine) {
          this.#firstLine = line
          this.#first = published
        }
        if (line > this.#lastLine) {
          this.#lastLine = line
          this.#last = published
        }
        this.#settle(bytes)
      },
      (error: unknown) => {
        this.fail(line, error)
        this.#settle(bytes)
      }
    )
  }

  /** Notes that `line` cannot be published; the earliest such line counts. */
  fail(line: number, error: unknown): void {
    if (this.#failure !== undefined && this.#failure.line <= line) return
    this.#failure = { line, error: toSkeinError(error) }
  }

  /** True when `room()` must be awaited before the next `add`. */
  get full(): boolean {
    return (
      this.#inFlight >= LIMITS.httpPublishWindow ||
      this.#inFlightBytes >= LIMITS.httpPublishWindowBytes
    )
  }

  /** Resolves when there is room for more. */
  async room(): Promise<void> {
    while (this.full) await this.#change()
  }

  /** Waits for all; throws the first failure, whose details name `line` and `published`. */
  async finish(): Promise<ManyPublished> {
    while (this.#inFlight > 0) await this.#change()
    if (this.#failure !== undefined) {
      const { line, error } = this.#failure
      throw new SkeinError(
        error.code,
        `Stopped at line ${line} after ${this.#published} confirmed: ${error.message}`,
        { cause: error, details: { ...error.details, line, published: this.#published } }
      )
    }
    return { published: this.#published, first: this.#first, last: this.#last }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #settle(bytes: number): void {
    this.#inFlight--
    this.#inFlightBytes -= bytes
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
