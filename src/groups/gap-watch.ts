import type { Clock } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Emitter } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Gap, SubscriptionEvents } from '../delivery/contract.ts'
import type { Gaps, Hole } from '../replication/gaps.ts'
import type { JournalEntry, Store } from '../store/contract.ts'

export interface GapWatchComponents {
  readonly store: Pick<Store, 'events' | 'giveUp' | 'registrations'>
  readonly gaps: Pick<Gaps, 'in'>
  readonly events: Emitter<SubscriptionEvents>
  readonly clock: Clock
  readonly logger: Logger
}

export interface GapWatchInit {
  readonly gapTimeoutMs: number
  readonly onGap: 'wait' | 'skip'
  readonly channels: () => Iterable<string>
}

/** Tells a group's consumer on this node what it waits for, and what was passed over. */
export class GapWatch {
  readonly #components: GapWatchComponents
  readonly #init: GapWatchInit
  readonly #stalled = new Set<string>()
  #unsubscribe: (() => void) | undefined

  constructor(components: GapWatchComponents, init: GapWatchInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { events, store } = this.#components
    this.#unsubscribe = store.events.on('given-up', ({ log, range, reason }) => {
      if (reason === 'unwanted' || ![...this.#init.channels()].includes(log.channel)) return
      const { channel, publisher, session } = log
      events.emit('gap', { channel, publisher, session, ...range, reason })
    })
  }

  stop(): void {
    this.#unsubscribe?.()
  }

  holes(): Gap[] {
    return this.#holes().map((hole) => gapOf(hole))
  }

  tick(): void {
    const { clock, events } = this.#components
    const now = clock.monotonic()
    const holes = this.#holes()
    if (holes.length === 0) this.#stalled.clear()
    for (const hole of holes) {
      const key = `${hole.publisher}/${hole.session}/${hole.from}-${hole.to}/${hole.channel}`
      if (now - hole.since < this.#init.gapTimeoutMs || this.#stalled.has(key)) continue
      this.#stalled.add(key)
      events.emit('stalled', gapOf(hole))
      if (this.#init.onGap === 'skip') void this.#skip(hole)
    }
  }

  /** Offsets of the journal that are gone. */
  lost(channel: string, lost: { from: number; to: number; entry: JournalEntry | undefined }): void {
    const { entry, from, to } = lost
    const header = entry?.header
    const { events } = this.#components
    if (entry === undefined || header === undefined) {
      events.emit('gap', { channel, publisher: '', session: '', from, to, reason: 'trimmed' })
      return
    }
    const { first, publisher, session } = header
    const range = { from: first + (from - entry.offset), to: first + (to - entry.offset) }
    events.emit('gap', { channel, publisher, session, ...range, reason: 'damaged' })
  }

  #holes(): Hole[] {
    return [...this.#init.channels()].flatMap((channel) => this.#components.gaps.in(channel))
  }

  /** Where nobody else on this node waits for it. */
  async #skip({ channel, from, publisher, session, to }: Hole): Promise<void> {
    const { logger, store } = this.#components
    const waits = store.registrations().some(({ options }) => options['onGap'] !== 'skip')
    if (waits) return
    try {
      await store.giveUp({ channel, publisher, session }, { from, to }, 'skipped')
    } catch (error) {
      if (!isSkeinError(error)) throw error
      logger.warn({ err: error, channel }, 'a gap could not be passed over; it is tried again')
    }
  }
}

function gapOf({ channel, from, publisher, session, to }: Hole): Gap {
  return { channel, publisher, session, from, to, reason: 'missing' }
}
