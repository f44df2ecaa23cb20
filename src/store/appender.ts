import type { Clock } from '../core/clock.ts'
import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { verifyHead } from '../wire/sealed-record.ts'
import type { Commit, CommitQueue, Job } from './commit-queue.ts'
import type { AppendItem, AppendOutcome, LogRef, SequenceRange } from './contract.ts'
import { isFilling, linkOf, place, sameBytes, without } from './held-log.ts'
import type { HeldLog, Link } from './held-log.ts'
import { isWhole, type Journal } from './journal.ts'
import { logPrefix, numberKey, SPACE } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { openRow } from './log-reader.ts'
import type { LogRow } from './log-reader.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import { encodeBytes, encodeRecordRow } from './rows.ts'
import { putValue } from './values.ts'

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
  /** The log of the session before, where it is known to be longer now. */
  readonly expected: LogSlot | undefined
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
    if (isFilling(slot.planned, link) && !this.#fitsBelow(slot, link)) {
      return { outcome: 'broken-chain' }
    }
    const expected = item.expectsBefore === true ? this.#expectBefore(record) : undefined
    const planned: Planned = { item, slot, link, bornAt, expected }
    this.#accept(planned, placed.log)
    return { outcome: placed.place, job: this.#write(planned) }
  }

  /** The session before reaches at least as far as the first record of this one says. */
  #expectBefore(record: RecordHead): LogSlot | undefined {
    const { before, channel, publisher } = record.header
    if (before === undefined) return undefined
    const mirror = this.#components.mirror()
    const ref = { channel, publisher, session: before.session }
    const slot = mirror.log(ref) ?? mirror.create(ref, 1, this.#components.clock.now())
    if (slot.planned.expected >= before.sequence) return undefined
    slot.change((log) => ({ ...log, expected: Math.max(log.expected, before.sequence) }))
    return slot
  }

  /** Does the record above, where it is held, name this one? */
  #fitsBelow(slot: LogSlot, { digest, to }: Link): boolean {
    const above = this.#heldAt(slot, to + 1)
    return above === undefined || sameBytes(digest, above.header.previous)
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
  #freeze(slot: LogSlot, held: RecordHead, record: SealedRecord | RecordHead): Job['build'] {
    const { first } = record.header
    const frozen = (log: HeldLog): HeldLog => ({
      ...log,
      forkedAt: Math.min(first, log.forkedAt ?? first)
    })
    slot.planned = frozen(slot.planned)
    return (commit) => {
      slot.committed = frozen(slot.committed)
      commit.logs.add(slot)
      for (const head of [held, record]) {
        const prefix = logPrefix(SPACE.proof, slot.planned)
        const key = Buffer.concat([numberKey(prefix, first), head.digest])
        commit.put(key, encodeBytes(head.bytes.subarray(0, head.headLength)))
      }
      commit.written.push(() => this.#components.forked(slot.ref, first))
      return true
    }
  }

  #write(planned: Planned): Job['build'] {
    const { slot } = planned
    let placed = false
    return (commit) => {
      if (!placed) {
        placed = true
        this.#writeRow(planned, commit)
      }
      return this.#components.journal.follow(slot, commit)
    }
  }

  #writeRow(planned: Planned, commit: Commit): void {
    const { bornAt, expected, item, link, slot } = planned
    if (expected !== undefined) commit.logs.add(expected)
    const fills = isFilling(slot.committed, link)
    const { log, place: where } = place(slot.committed, link)
    commit.written.push(() => slot.pending.delete(link.from))
    // A trim that came in between can have gone over it.
    if (where !== 'appended' && where !== 'island') return
    // A record across the floor of a log that was empty is taken, and delivered, as a whole.
    if (log.floor < slot.committed.floor) slot.journaled = log.floor - 1
    slot.committed = log
    // With nothing else under way the two views are one again.
    const isAlone = slot.pending.size === 1 && slot.ahead === 0
    if (isAlone && slot.planned.forkedAt === log.forkedAt) slot.planned = log
    commit.logs.add(slot)
    const late = item.late ?? false
    const key = numberKey(slot.recordPrefix, link.from)
    const { record, values } = item
    const whole = isWhole(record) ? record : undefined
    const bytes = whole?.bytes ?? record.bytes.subarray(0, record.headLength)
    commit.put(key, encodeRecordRow(bytes, { late, headOnly: whole === undefined, bornAt }))
    for (const entry of values ?? []) putValue(commit, entry)
    this.#enterLate(planned, fills, commit)
  }

  /** What comes after the journal has gone over its place. */
  #enterLate(
    { bornAt, item: { record }, link, slot }: Planned,
    fills: boolean,
    commit: Commit
  ): void {
    const isOwed = slot.owed.some(({ from, to }) => from <= link.to && link.from <= to)
    if ((!isOwed && !fills) || link.from > slot.journaled) return
    slot.owed = without(slot.owed, link)
    if (isWhole(record))
      this.#components.journal.enter(slot, { record, bornAt, late: true }, commit)
  }
}
