import type { Clock } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { GiveUpReason, LogRef, SequenceRange, Store } from '../store/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import { sessionMs } from '../wire/session.ts'
import type { Membership } from './membership.ts'
import type { PullStart } from './sync-neighbour.ts'
import { isFresh } from './sync-ranges.ts'

export interface SyncFloorsComponents {
  readonly store: Pick<Store, 'log' | 'raiseFloor' | 'giveUp'>
  readonly membership: Pick<Membership, 'asOf' | 'remembers' | 'since'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface SyncFloorsInit {
  /** Age above which records of a channel are not kept here, ms. */
  readonly maxAgeMs: (channel: string) => number
}

/** Clocks may have been set while nodes were off, and ages with them: more is asked for, ms, by who was off itself. */
const OFF_MARGIN_MS = 3_600_000

/** What of a log nobody here wants, or will get: said to the store, which then does not wait for it. */
export class SyncFloors {
  readonly #components: SyncFloorsComponents
  readonly #init: SyncFloorsInit

  constructor(components: SyncFloorsComponents, init: SyncFloorsInit) {
    this.#components = components
    this.#init = init
  }

  /** The greatest age that is wanted of a log, 0 = any, and whether retention sets it. */
  oldest(log: LogRef): { maxAgeMs: number; byRetention: boolean } {
    const { clock, membership } = this.#components
    const { channel } = log
    const since = membership.since(channel)
    const kept = this.#init.maxAgeMs(channel)
    const wanted =
      typeof since === 'number' && !this.#hasBegun(log)
        ? Math.max(0, clock.now() - since) +
          (membership.remembers(channel) ? OFF_MARGIN_MS : LIMITS.ageMarginMs)
        : Infinity
    const maxAgeMs = Math.min(kept, wanted)
    return {
      maxAgeMs: Number.isFinite(maxAgeMs) ? Math.max(1, Math.floor(maxAgeMs)) : 0,
      byRetention: kept < wanted
    }
  }

  /**
   * Is it known where the log begins here? Then all that follows is wanted, whatever its bearer says of its age: a
   * node's clock may have been set before it was started again.
   */
  #hasBegun(log: LogRef): boolean {
    const mine = this.#components.store.log(log)
    return mine !== undefined && (!isFresh(mine) || mine.floor > 1)
  }

  /**
   * The floor of a log that is not known here, of which a neighbour gives what it holds: from `from` on, the first of
   * it `ageMs` old. What that neighbour has not may be wanted all the same: it may have joined late, or have a hole
   * there itself.
   */
  first(log: LogRef, { exact, floor, from }: PullStart, ageMs: number): number {
    const { clock, membership } = this.#components
    const since = membership.since(log.channel)
    // What is below is too old, or in an inbox, where messages do not depend on each other.
    if (exact || since === undefined || scopeOf(log.channel) === 'inbox') return from
    const isRemembered = membership.remembers(log.channel)
    // All of a session that began after the channel was wanted.
    const asOf = (membership.asOf(log.channel) ?? Infinity) - (isRemembered ? OFF_MARGIN_MS : 0)
    if (sessionMs(log.session) > asOf) return 1
    // As far back as anyone has it: what nobody has any more would be waited for in vain.
    if (since === 'all') return Math.max(1, Math.min(floor, from))
    // Sequences rise with time: below what is too old there is nothing younger.
    return !isRemembered && clock.now() - ageMs < since ? from : 1
  }

  /** Those who hold it say that a range is older than anyone here wants it. */
  tooOld(log: LogRef, range: SequenceRange): void {
    const mine = this.#components.store.log(log)
    if (isFresh(mine) && range.from <= (mine?.floor ?? 1)) {
      this.raise(log, range.to + 1)
      return
    }
    this.#giveUp(log, range, this.oldest(log).byRetention ? 'expired' : 'unwanted')
  }

  /** Goes on without what is missing; it is taken when it comes after all. */
  skip(log: LogRef, holes: readonly SequenceRange[]): void {
    for (const hole of holes) this.#giveUp(log, hole, 'skipped')
  }

  /** Nothing below is wanted. */
  raise(log: LogRef, floor: number): void {
    const { store } = this.#components
    store.raiseFloor(log, floor).catch((error: unknown) => this.#writeFailed(error))
  }

  #giveUp(log: LogRef, range: SequenceRange, reason: GiveUpReason): void {
    const { store } = this.#components
    store.giveUp(log, range, reason).catch((error: unknown) => this.#writeFailed(error))
  }

  #writeFailed(error: unknown): void {
    if (!isSkeinError(error)) throw error
    this.#components.logger.debug({ err: error }, 'the store did not take what sync found out')
  }
}
