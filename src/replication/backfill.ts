import { type Clock, delay } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { LogRef, Store } from '../store/contract.ts'
import type { Since } from './membership.ts'
import type { Receiver } from './receiver.ts'
import type { Sync } from './sync.ts'
import type { SyncNeighbour } from './sync-neighbour.ts'

export interface BackfillComponents {
  readonly store: Pick<Store, 'log' | 'logs'>
  readonly sync: Pick<Sync, 'open' | 'settled' | 'stats'>
  readonly receiver: Pick<Receiver, 'pulled'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface BackfillInit {
  /** Age above which records of a channel are not kept here, ms. */
  readonly maxAgeMs: (channel: string) => number
}

/** Neighbours that have just come up get so long to say what they hold, ms. */
const SETTLE_MS = 2_000
const LOOK_MS = 25
/** Asked for at once, from the newest backwards. */
const CHUNK_BYTES = 512 * 1024

/**
 * Gets what is older than this node's logs reach, for a subscription that begins before them: from the floor of
 * each log downwards, so that at every moment a log is held without a hole.
 */
export class Backfill {
  readonly #components: BackfillComponents
  readonly #init: BackfillInit

  constructor(components: BackfillComponents, init: BackfillInit) {
    this.#components = components
    this.#init = init
  }

  /** Resolves when no neighbour has older records of the channel's logs than this node, or none that are wanted. */
  async fill(channel: string, since: Since): Promise<void> {
    const { clock, store, sync } = this.#components
    const until = clock.monotonic() + SETTLE_MS
    while (!sync.settled && clock.monotonic() < until) await delay(clock, LOOK_MS)
    for (const { floor, publisher, session } of store.logs(channel)) {
      if (floor > 1) await this.#fillLog({ channel, publisher, session }, since)
    }
  }

  async #fillLog(log: LogRef, since: Since): Promise<void> {
    for (const neighbour of this.#components.sync.open()) {
      try {
        while (await this.#chunk(log, neighbour, since));
      } catch (error) {
        if (!isSkeinError(error)) throw error
        this.#components.logger.debug({ err: error, log }, 'older records could not be pulled')
      }
      if ((this.#components.store.log(log)?.floor ?? 1) <= 1) return
    }
  }

  /** True where the neighbour gave some, and may have more. */
  async #chunk(log: LogRef, neighbour: SyncNeighbour, since: Since): Promise<boolean> {
    const { clock, receiver, store, sync } = this.#components
    const { peer } = neighbour
    const floor = store.log(log)?.floor ?? 1
    if (floor <= 1) return false
    const wanted = since === 'all' ? Infinity : Math.max(1, clock.now() - since)
    const maxAgeMs = Math.min(wanted, this.#init.maxAgeMs(log.channel))
    await neighbour.pull(
      {
        ...log,
        from: 1,
        to: floor - 1,
        maxBytes: CHUNK_BYTES,
        maxAgeMs: Number.isFinite(maxAgeMs) ? Math.ceil(maxAgeMs) : 0,
        backwards: true,
        awaited: false
      },
      {
        onStart: () => {},
        onRecords: (records) => {
          sync.stats.backfilled += records.length
          return receiver.pulled(records, { peer, log, floor: undefined, prepend: true })
        }
      }
    )
    return (store.log(log)?.floor ?? 1) < floor
  }
}
