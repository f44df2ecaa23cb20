import type { Clock, Timer } from '../../src/core/clock.ts'
import type { Random } from '../../src/core/random.ts'
import { DEAF_MS, PING_MS, TICK_MS } from '../../src/mesh/neighbourhood.ts'

export interface SilenceComponents {
  readonly clock: Clock
  readonly random: Random
}

/**
 * Notices that a neighbour says nothing any more, as a node does by pings. None are sent: while things get through, a
 * ping would, and where none get through the network knows. An idle link costs nothing.
 */
export class Silence {
  readonly #clock: Clock
  readonly #random: Random
  readonly #onDeaf: () => void
  #deaf: Timer | undefined
  #heard: Timer | undefined

  constructor({ clock, random }: SilenceComponents, onDeaf: () => void) {
    this.#clock = clock
    this.#random = random
    this.#onDeaf = onDeaf
  }

  /** Nothing comes from now on. */
  begin(): void {
    this.#heard?.cancel()
    this.#heard = undefined
    if (this.#deaf !== undefined) return
    // The last ping came up to an interval ago; deafness is seen at the next look.
    const ms = DEAF_MS - this.#random.int(PING_MS) + this.#random.int(TICK_MS)
    this.#deaf = this.#clock.after(ms, () => {
      this.stop()
      this.#onDeaf()
    })
  }

  /** Something comes again, soon. */
  end(withinMs: number): void {
    if (this.#deaf === undefined) return
    this.#heard ??= this.#clock.after(this.#random.int(withinMs), () => this.stop())
  }

  /** This process slept: what the neighbour said meanwhile is still to be read. */
  restart(): void {
    if (this.#deaf === undefined) return
    this.stop()
    this.begin()
  }

  stop(): void {
    this.#deaf?.cancel()
    this.#heard?.cancel()
    this.#deaf = undefined
    this.#heard = undefined
  }
}
