import type { Clock } from '../core/clock.ts'
import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { headOf, verifyHead } from '../wire/sealed-record.ts'
import type { Commit, CommitQueue, Job } from './commit-queue.ts'
import type { AppendItem, AppendOutcome, LogRef, SequenceRange } from './contract.ts'
import { linkOf, place, sameBytes } from './held-log.ts'
import type { HeldLog, Link } from './held-log.ts'
import type { Journal } from './journal.ts'
import { logPrefix, numberKey, SPACE } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { openRow } from './log-reader.ts'
import type { LogRow } from './log-reader.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import { encodeBytes, encodeRecordRow } from './rows.ts'

export interface AppenderComponents {
  readonly clock: Clock
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly mirror: () => Mirror
  readonly level: () => Level
  /** The age above which a channel's records are not taken, ms. */
  readonly maxAgeMs: (channel: string) => number
  /** A range that should be held is suspected of damage. */
  suspect(slot: LogSlot, range: SequenceRange): void
  forked(log: LogRef, sequence: number): void
}

interface Planned {
  readonly item: AppendItem
  readonly slot: LogSlot
  readonly link: Link
  readonly bornAt: number
}

/** Decides what becomes of records at once, and has them written. */
export class Appender {
  readonly #components: AppenderComponents

  constructor(components: AppenderComponents) {
    this.#components = components
  }

  append(items: readonly AppendItem[], sync: boolean): Promise<AppendOutcome[]> {
    return new Promise((resolve, reject) => {
      const outcomes: AppendOutcome[] = []
      let open = 1
      const settle = (): void => {
        if (--open === 0) resolve(outcomes)
      }
      for (const [index, item] of items.entries()) {
        const { outcome, job } = this.#plan(item)
        outcomes[index] = outcome
        if (job === undefined) continue
        open++
        this.#components.queue.push({
          sync,
          build: job,
          settle,
          fail: reject
        })
      }
      settle()
    })
  }

  /** What becomes of one record, and what has to be written for it. */
  #plan(item: AppendItem): { outcome: AppendOutcome; job?: Job['build'] } {
    const { clock, maxAgeMs } = this.#components
    const mirror = this.#components.mirror()
    const { record, ageMs, floor } = item
    const { channel, publisher, session, first } = record.header
    const bornAt = Math.max(0, Math.floor(clock.now() - Math.max(0, ageMs)))
    const link = linkOf(record, bornAt)
    let slot = mirror.log({ channel, publisher, session })
    if (slot === undefined && link.to < (floor ?? first)) return { outcome: 'below-floor' }
    const expired = ageMs > maxAgeMs(channel)
    if (slot === undefined && expired) return { outcome: 'expired' }
    slot ??= mirror.create({ channel, publisher, session }, floor ?? first)
    const placed = place(slot.planned, link)
    if (placed.place === 'held') return this.#planHeld(item, slot, link)
    if (placed.place !== 'appended' && placed.place !== 'island') return { outcome: placed.place }
    if (expired) return { outcome: 'expired' }
    this.#accept({ item, slot, link, bornAt }, placed.log)
    return { outcome: placed.place, job: this.#write({ item, slot, link, bornAt }) }
  }

  #accept({ item, slot, link, bornAt }: Planned, log: HeldLog): void {
    slot.planned = log
    slot.pending.set(link.from, { record: item.record, bornAt, late: item.late ?? false })
  }

  /** The range is held: by this record, by another one, or not really. */
  #planHeld(
    { record }: AppendItem,
    slot: LogSlot,
    link: Link
  ): { outcome: AppendOutcome; job?: Job['build'] } {
    const held = this.#heldAt(slot, link.from)
    if (held === undefined) {
      // Either the boundaries differ, or the record that should be here is lost.
      this.#components.suspect(slot, { from: link.from, to: link.to })
      return { outcome: this.#isFrozen(slot, link) ? 'frozen' : 'broken-chain' }
    }
    if (sameBytes(held.digest, record.digest)) return { outcome: 'duplicate' }
    if (this.#isFrozen(slot, link)) return { outcome: 'frozen' }
    if (!verifyHead(held)) {
      this.#components.suspect(slot, { from: link.from, to: link.to })
      return { outcome: 'broken-chain' }
    }
    return { outcome: 'fork', job: this.#freeze(slot, held, record) }
  }

  #isFrozen({ planned }: LogSlot, link: Link): boolean {
    return planned.forkedAt !== undefined && link.to >= planned.forkedAt
  }

  #heldAt(slot: LogSlot, first: number): RecordHead | undefined {
    const pending = slot.pending.get(first)
    if (pending !== undefined) return pending.record
    return this.#rowAt(slot, first)?.head
  }

  #rowAt(slot: LogSlot, first: number): LogRow | undefined {
    try {
      const value = this.#components.level().getSync(numberKey(slot.recordPrefix, first))
      return value === undefined ? undefined : openRow(slot, first, value)
    } catch (error) {
      if (isCorruption(error)) return undefined
      throw error
    }
  }

  /** Keeps both heads as proof, and takes nothing of this log from here on. */
  #freeze(slot: LogSlot, held: RecordHead, record: SealedRecord): Job['build'] {
    const { first } = record.header
    const frozen = (log: HeldLog): HeldLog => ({
      ...log,
      forkedAt: Math.min(first, log.forkedAt ?? first)
    })
    slot.planned = frozen(slot.planned)
    return (commit) => {
      slot.committed = frozen(slot.committed)
      commit.logs.add(slot)
      for (const head of [held, headOf(record)]) {
        const prefix = logPrefix(SPACE.proof, slot.planned)
        const key = Buffer.concat([numberKey(prefix, first), head.digest])
        commit.put(key, encodeBytes(head.bytes.subarray(0, head.headLength)))
      }
      commit.written.push(() => this.#components.forked(slot.ref, first))
      return true
    }
  }

  #write({ item, slot, link, bornAt }: Planned): Job['build'] {
    let placed = false
    return (commit) => {
      if (!placed) {
        placed = true
        this.#writeRow({ item, slot, link, bornAt }, commit)
      }
      return this.#components.journal.follow(slot, commit)
    }
  }

  #writeRow({ item, slot, link, bornAt }: Planned, commit: Commit): void {
    const { log, place: where } = place(slot.committed, link)
    commit.written.push(() => slot.pending.delete(link.from))
    // A trim that came in between can have gone over it.
    if (where !== 'appended' && where !== 'island') return
    slot.committed = log
    // With nothing else under way the two views are one again.
    if (slot.pending.size === 1 && slot.planned.forkedAt === log.forkedAt) slot.planned = log
    commit.logs.add(slot)
    const late = item.late ?? false
    const key = numberKey(slot.recordPrefix, link.from)
    commit.put(key, encodeRecordRow(item.record.bytes, { late, headOnly: false, bornAt }))
    const owed = slot.owed.filter(({ from, to }) => from <= link.to && link.from <= to)
    if (owed.length === 0 || link.from > slot.journaled) return
    slot.owed = slot.owed.flatMap((range) => subtract(range, link))
    this.#components.journal.enter(slot, { record: item.record, bornAt, late: true }, commit)
  }
}

/** What is left of `range` without `other`. */
function subtract(range: SequenceRange, other: SequenceRange): SequenceRange[] {
  const below = { from: range.from, to: Math.min(range.to, other.from - 1) }
  const above = { from: Math.max(range.from, other.to + 1), to: range.to }
  return [below, above].filter(({ from, to }) => from <= to)
}
