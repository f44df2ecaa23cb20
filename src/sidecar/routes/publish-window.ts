import { SkeinError, toSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Published } from '../../node/contract.ts'

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
  /** What counts the messages of a request: its lines from 1, or the elements of its array from 0. */
  readonly #unit: 'line' | 'index'
  #inFlight = 0
  #inFlightBytes = 0
  #published = 0
  #first: Published | null = null
  #firstPlace = Number.POSITIVE_INFINITY
  #last: Published | null = null
  #lastPlace = -1
  #failure: { place: number; error: SkeinError } | undefined
  #wake: (() => void) | undefined

  constructor(unit: 'line' | 'index') {
    this.#unit = unit
  }

  /** Something could not be published: add no more. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  /** Counts one publish of `bytes` at `place` until `result` settles. */
  add(place: number, bytes: number, result: Promise<Published>): void {
    this.#inFlight++
    this.#inFlightBytes += bytes
    result.then(
      (published) => {
        this.#published++
        if (place < this.#firstPlace) {
          this.#firstPlace = place
          this.#first = published
        }
        if (place > this.#lastPlace) {
          this.#lastPlace = place
          this.#last = published
        }
        this.#settle(bytes)
      },
      (error: unknown) => {
        this.fail(place, error)
        this.#settle(bytes)
      }
    )
  }

  /** Notes that what stands at `place` cannot be published; the earliest such place counts. */
  fail(place: number, error: unknown): void {
    if (this.#failure !== undefined && this.#failure.place <= place) return
    this.#failure = { place, error: toSkeinError(error) }
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

  /** Waits for all; throws the first failure, whose details name its place and `published`. */
  async finish(): Promise<ManyPublished> {
    while (this.#inFlight > 0) await this.#change()
    if (this.#failure !== undefined) {
      const { place, error } = this.#failure
      throw new SkeinError(
        error.code,
        `Stopped at ${this.#unit} ${place} after ${this.#published} confirmed: ${error.message}`,
        {
          cause: error,
          details: { ...error.details, [this.#unit]: place, published: this.#published }
        }
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
