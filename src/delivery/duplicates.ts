import { AgingMap } from '../core/aging-map.ts'
import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'

interface HandedOver {
  readonly messageId: string
  /** Monotonic ms. */
  readonly at: number
  /** By the publisher's clock, ms. */
  readonly publishedMs: number
}

/**
 * The idempotency ids of what a subscription was handed. A publisher whose publish failed, and may have been
 * delivered all the same, publishes again under the same id: the second message is not handed over.
 *
 * Two messages are one only where they were published within LIMITS.idempotencyMs of each other: who reads a day of
 * history in a minute gets every message of a publisher that uses an id once a day. Remembered for
 * LIMITS.idempotencyMs and LIMITS.idempotencyIds, whichever ends first, and not across restarts.
 */
export class Duplicates {
  readonly #clock: Clock
  /** By source and id, oldest first. */
  readonly #handed = new AgingMap<HandedOver>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#handed.size
  }

  /**
   * Was another message with this id handed over? Where not, this one is remembered as handed over, so ask right
   * before it is. `source`: whose id it is, the publisher and, for who reads several, the channel. `publishedMs`:
   * time of the record; default: now.
   */
  isDuplicate(
    source: string,
    id: string,
    messageId: string,
    publishedMs: number = this.#clock.now()
  ): boolean {
    const at = this.#clock.monotonic()
    this.#forget(at)
    // NUL stands in no source.
    const key = `${source}\0${id}`
    const known = this.#handed.get(key)
    if (known !== undefined && known.messageId === messageId) return false
    const isSame =
      known !== undefined && Math.abs(publishedMs - known.publishedMs) < LIMITS.idempotencyMs
    if (isSame) return true
    this.#handed.set(key, { messageId, at, publishedMs })
    return false
  }

  #forget(now: number): void {
    for (;;) {
      const [key, handed] = this.#handed.oldest() ?? []
      if (key === undefined || handed === undefined) return
      const isFull = this.#handed.size >= LIMITS.idempotencyIds
      if (now - handed.at < LIMITS.idempotencyMs && !isFull) return
      this.#handed.delete(key)
    }
  }
}
