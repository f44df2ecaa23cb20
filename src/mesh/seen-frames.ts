import type { Clock } from '../core/clock.ts'

/**
 * A set of frame ids bounded in time and number: two generations, the older one is dropped when the younger
 * is full or old. An id is remembered for `ageMs` to `2 * ageMs`, less when more than `limit` come in that time.
 */
export class SeenFrames {
  readonly #clock: Clock
  readonly #ageMs: number
  readonly #limit: number
  #young = new Set<string>()
  #old = new Set<string>()
  #since: number

  constructor(clock: Clock, ageMs: number, limit: number) {
    this.#clock = clock
    this.#ageMs = ageMs
    this.#limit = limit
    this.#since = clock.monotonic()
  }

  has(id: string): boolean {
    return this.#young.has(id) || this.#old.has(id)
  }

  add(id: string): void {
    const now = this.#clock.monotonic()
    if (this.#young.size >= this.#limit || now - this.#since >= this.#ageMs) {
      this.#old = this.#young
      this.#young = new Set()
      this.#since = now
    }
    this.#young.add(id)
  }
}
