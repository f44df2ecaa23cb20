import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'

/** A hybrid logical time: 48 bits of milliseconds, 16 bits of counter. */
export interface HybridTime {
  readonly ms: number
  readonly counter: number
}

export interface HybridClockComponents {
  readonly clock: Clock
}

export interface HybridClockInit {
  /** No tick is at or before this; default: the beginning of time. */
  readonly last?: HybridTime | undefined
}

const GREATEST_MS = 2 ** 48 - 1
const GREATEST_COUNTER = 0xffff

/** Negative when `a` is before `b`, 0 when equal, positive when after. */
export function compareHybrid(a: HybridTime, b: HybridTime): number {
  return a.ms - b.ms || a.counter - b.counter
}

/** A clock that never repeats or goes back, follows the wall clock, and follows peers a bounded way. */
export class HybridClock {
  readonly #clock: Clock
  #last: HybridTime

  constructor(components: HybridClockComponents, init: HybridClockInit = {}) {
    this.#clock = components.clock
    this.#last = init.last ?? { ms: 0, counter: 0 }
  }

  /** The newest time ticked or observed. */
  get last(): HybridTime {
    return this.#last
  }

  /** A time after all that were ticked or observed before. */
  tick(): HybridTime {
    const now = this.#now()
    const { ms, counter } = this.#last
    if (now > ms) this.#last = { ms: now, counter: 0 }
    else if (counter < GREATEST_COUNTER) this.#last = { ms, counter: counter + 1 }
    else this.#last = { ms: ms + 1, counter: 0 }
    return this.#last
  }

  /**
   * Makes later ticks come after `remote`. Answers false, and does nothing, when it is more than
   * LIMITS.clockAheadMs ahead of the wall clock: one wrong clock must not move the mesh.
   */
  observe(remote: HybridTime): boolean {
    if (remote.ms > this.#now() + LIMITS.clockAheadMs) return false
    if (compareHybrid(remote, this.#last) > 0) this.#last = remote
    return true
  }

  /**
   * Makes later ticks come after all of that millisecond, of which this node said something in a former life: its
   * clock may have been set back since. Nothing happens when it is more than LIMITS.formerClockAheadMs ahead of the
   * wall clock, which was very wrong then: time would stand still for as long.
   */
  resume(ms: number): void {
    if (ms < this.#last.ms || ms > this.#now() + LIMITS.formerClockAheadMs) return
    this.#last = { ms, counter: GREATEST_COUNTER }
  }

  #now(): number {
    return Math.min(GREATEST_MS, Math.max(0, Math.floor(this.#clock.now())))
  }
}
