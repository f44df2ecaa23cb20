import type { Clock } from '../core/clock.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { AppendItem, GiveUpReason, LogRef, SequenceRange } from './contract.ts'
import { abandon, linkOf, lower, missingPartsOf, sameBytes } from './held-log.ts'
import { isWhole, type Journal } from './journal.ts'
import { numberKey } from './keys.ts'
import type { Level } from './level.ts'
import { readRows } from './log-reader.ts'
import { JOURNAL_START, type LogSlot, type Mirror } from './mirror.ts'
import type { Retention } from './retention.ts'
import { encodeRecordRow } from './rows.ts'

export interface LogEditsComponents {
  readonly clock: Clock
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly retention: Retention
  readonly mirror: () => Mirror
  readonly level: () => Level
  readonly givenUp: (log: LogRef, range: SequenceRange, reason: GiveUpReason) => void
}

/** Changes of what is held or wanted of a log that are no appends. */
export class LogEdits {
  readonly #components: LogEditsComponents

  constructor(components: LogEditsComponents) {
    this.#components = components
  }

  async giveUp(ref: LogRef, range: SequenceRange, reason: GiveUpReason): Promise<void> {
    const { givenUp, journal, queue } = this.#components
    const slot = this.#components.mirror().log(ref)
    const parts = slot === undefined ? [] : missingPartsOf(slot.planned, range)
    if (slot === undefined || parts.length === 0) return
    // What of the parts has been trimmed away meanwhile is given up all the same.
    const commitParts = slot.plan((log) =>
      parts
        .flatMap((part) => missingPartsOf(log, part))
        .reduce((before, part) => abandon(before, part, reason === 'skipped'), log)
    )
    let isPlaced = false
    await queue.run(false, (commit) => {
      if (!isPlaced) {
        isPlaced = true
        commitParts()
        commit.logs.add(slot)
      }
      return journal.follow(slot, commit)
    })
    for (const part of parts) givenUp(slot.ref, part, reason)
  }

  async raiseFloor(ref: LogRef, floor: number): Promise<void> {
    const { queue, retention } = this.#components
    const mirror = this.#components.mirror()
    const known = mirror.log(ref)
    if (known !== undefined) {
      await retention.raise(known, floor)
      return
    }
    const slot = mirror.create(ref, floor, this.#components.clock.now())
    await queue.run(false, (commit) => {
      commit.logs.add(slot)
      return true
    })
  }

  /** Never while something is trimmed or another prepend is under way: all of them move the journal's first offset. */
  prepend(ref: LogRef, items: readonly AppendItem[]): Promise<'prepended' | 'broken-chain'> {
    return this.#components.retention.alone(() => this.#prepend(ref, items))
  }

  async #prepend(ref: LogRef, items: readonly AppendItem[]): Promise<'prepended' | 'broken-chain'> {
    const { clock, queue } = this.#components
    const slot = this.#components.mirror().log(ref)
    const first = items[0]?.record.header.first
    if (slot === undefined || first === undefined) return 'broken-chain'
    const now = clock.now()
    const above = await this.#previousOfFloor(slot)
    let isChained = true
    await queue.run(false, (commit) => {
      isChained = isContiguous(items, slot.committed.floor, above)
      if (!isChained) return true
      const entries = items.map(({ ageMs, record }) => ({
        record,
        bornAt: Math.max(0, Math.floor(now - Math.max(0, ageMs)))
      }))
      for (const { bornAt, record } of entries) {
        const whole = isWhole(record)
        const kept = whole ? record.bytes : record.bytes.subarray(0, record.headLength)
        const key = numberKey(slot.recordPrefix, record.header.first)
        commit.put(key, encodeRecordRow(kept, { late: false, headOnly: !whole, bornAt }))
      }
      const links = entries.map(({ bornAt, record }) => linkOf(record, bornAt))
      slot.change((log) => lower(log, links))
      commit.logs.add(slot)
      this.#journal(slot, entries, commit)
      return true
    })
    return isChained ? 'prepended' : 'broken-chain'
  }

  /** In front of the journal; at its end, as late ones, where an old journal has no room in front. */
  #journal(
    slot: LogSlot,
    entries: readonly { record: AppendItem['record']; bornAt: number }[],
    commit: Parameters<Journal['enterInFront']>[1]
  ): void {
    const { journal } = this.#components
    const whole = entries.flatMap(({ bornAt, record }) =>
      isWhole(record) ? [{ bornAt, record }] : []
    )
    const count = whole.reduce((sum, { record }) => sum + record.header.count, 0)
    const { first } = this.#components.mirror().journal(slot.committed.channel)
    if (first - count >= 0 && first + count > JOURNAL_START / 2) {
      journal.enterInFront(whole, commit)
      return
    }
    for (const { bornAt, record } of whole) {
      journal.enter(slot, { record, bornAt, late: true }, commit)
    }
  }

  /** What the record at the floor says of the one before; undefined where nothing is held there. */
  async #previousOfFloor(slot: LogSlot): Promise<Uint8Array | undefined> {
    // Everything that was accepted until now has been written then.
    if (slot.pending.size > 0) await this.#components.queue.run(false, () => true)
    const { floor, head } = slot.committed
    // A log that was trimmed to its end still knows how that ended.
    if (head < floor) return head === floor - 1 ? slot.committed.headDigest : undefined
    const read = await readRows(this.#components.level(), slot, {
      from: floor,
      to: floor,
      maxBytes: 1
    })
    return read.rows[0]?.head.header.previous
  }
}

/** Do the records follow each other, and end right below the floor? */
function isContiguous(
  items: readonly AppendItem[],
  floor: number,
  above: Uint8Array | undefined
): boolean {
  let next: number | undefined
  let digest: Uint8Array | undefined
  for (const { record } of items) {
    const { count, first, previous } = record.header
    if (next !== undefined && first !== next) return false
    if (digest !== undefined && !sameBytes(digest, previous)) return false
    next = first + count
    digest = record.digest
  }
  return next === floor && (above === undefined || digest === undefined || sameBytes(above, digest))
}
