import { LIMITS } from '../core/limits.ts'
import { BodyReader } from '../wire/body.ts'
import { FLAGS } from '../wire/record.ts'
import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { joinTopic } from '../wire/topic.ts'
import type { Commit, CommitQueue } from './commit-queue.ts'
import type { JournalEntry, LogRef, SequenceRange } from './contract.ts'
import { keyNumber, namePrefix, numberKey, SPACE, successor } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { openRow, readRows } from './log-reader.ts'
import type { LogRead, LogRow } from './log-reader.ts'
import type { JournalSlot, LogSlot, Mirror } from './mirror.ts'
import { LastOffsets, placeOf } from './newest-values.ts'
import { decodeJournalRow, encodeBounds, encodeJournalRow } from './rows.ts'
import type { JournalRow } from './rows.ts'
import { visitRows } from './row-scan.ts'

export interface JournalComponents {
  readonly queue: CommitQueue
  readonly mirror: () => Mirror
  readonly level: () => Level
  /** Told of what a read found damaged. */
  damaged(slot: LogSlot, found: Pick<LogRead, 'losses' | 'badKeys'>): void
}

/** A journal row with its place. `row` is undefined where offsets were lost. */
export interface PlacedRow extends SequenceRange {
  readonly row: JournalRow | undefined
}

/** Rows of a journal read at once when only the rows are of interest. */
const ROWS = 4096

/** Numbers messages in the order they become deliverable, and reads them back in that order. */
export class Journal {
  readonly #components: JournalComponents

  constructor(components: JournalComponents) {
    this.#components = components
  }

  /**
   * Puts everything of a log that became deliverable into the journal, and what of later sessions waited for it.
   * False when the commit is full before all of it is in.
   */
  follow(slot: LogSlot, commit: Commit): boolean | Promise<boolean> {
    if (slot.isBlocked) return true
    const followed = this.#followOne(slot, commit)
    return slot === slot.siblings.at(-1) ? followed : this.#followLater(slot, followed, commit)
  }

  async #followLater(
    slot: LogSlot,
    followed: boolean | Promise<boolean>,
    commit: Commit
  ): Promise<boolean> {
    if (!(await followed)) return false
    for (const later of slot.siblings.slice(slot.siblings.indexOf(slot) + 1)) {
      if (later.isBlocked) return true
      if (!(await this.#followOne(later, commit))) return false
    }
    return true
  }

  #followOne(slot: LogSlot, commit: Commit): boolean | Promise<boolean> {
    while (slot.journaled < slot.committed.head) {
      const next = slot.journaled + 1
      const { voids } = slot.committed
      const isVoid = voids.some(({ from, to }) => from <= next && next <= to)
      // What fills a range that was given up is journaled when it is written, as a late one.
      const pending = isVoid ? undefined : slot.pending.get(next)
      // What is in memory goes in at once: after this commit it would have to be read.
      if (pending === undefined) return commit.full ? false : this.#followStored(slot, commit)
      const { record } = pending
      if (isWhole(record)) this.#enter(slot, { ...pending, record }, commit)
      else slot.journaled = record.header.first + record.header.count - 1
    }
    return true
  }

  /** What joins the head from an island that was written before is read from the disk. */
  async #followStored(slot: LogSlot, commit: Commit): Promise<boolean> {
    const from = slot.journaled + 1
    const pending = [...slot.pending.keys()].filter((first) => first > from)
    const to = Math.min(slot.committed.head, Math.min(...pending) - 1)
    const read = await readRows(this.#components.level(), slot, {
      from,
      to,
      maxBytes: LIMITS.commitBytes / 2
    })
    if (read.losses.length > 0 || read.badKeys.length > 0) this.#components.damaged(slot, read)
    for (const row of read.rows) {
      if (row.from > slot.journaled) this.#enterRow(slot, row, commit)
    }
    slot.journaled = Math.max(slot.journaled, read.covered)
    // What is missing is journaled when it comes back.
    slot.owed = [...slot.owed, ...read.losses.map((loss) => ({ from: loss.from, to: loss.to }))]
    commit.logs.add(slot)
    return this.#followOne(slot, commit)
  }

  #enterRow(slot: LogSlot, row: LogRow, commit: Commit): void {
    const { record, bornAt, late } = row
    commit.loaded += row.bytes
    if (record !== undefined) this.#enter(slot, { record, bornAt, late }, commit)
    else slot.journaled = row.to
  }

  /** Gives one record its offsets. */
  #enter(
    slot: LogSlot,
    { record, bornAt, late }: { record: SealedRecord; bornAt: number; late: boolean },
    commit: Commit
  ): void {
    const { first, count } = record.header
    this.enter(slot, { record, bornAt, late: late || slot.isLate }, commit)
    slot.journaled = first + count - 1
    commit.logs.add(slot)
  }

  enter(
    slot: LogSlot,
    { record, bornAt, late }: { record: SealedRecord; bornAt: number; late: boolean },
    commit: Commit
  ): void {
    const { channel } = slot.planned
    const journal = this.#components.mirror().journal(channel)
    const { count, publisher, session, first } = record.header
    const bytes = record.bytes.length
    const offset = journal.tail
    journal.tail += count
    slot.entered = true
    commit.put(
      numberKey(journal.prefix, offset),
      encodeJournalRow({ publisher, session, first, count, bornAt, late, bytes })
    )
    commit.addEntry({ channel, offset, count, record, header: record.header, bornAt, late })
  }

  /** Entries that end above `offset`, ascending, until `maxBytes` is exceeded; at least one if any. */
  async read(channel: string, offset: number, maxBytes: number): Promise<JournalEntry[]> {
    const journal = this.#components.mirror().journal(channel)
    const placed: PlacedRow[] = []
    let bytes = 0
    await this.rows(channel, offset, (at) => {
      placed.push(at)
      bytes += at.row?.bytes ?? 0
      return bytes <= maxBytes && placed.length < ROWS
    })
    const values = await this.#records(channel, placed)
    const entries = placed.map((at, index): JournalEntry => {
      const base = { channel, offset: at.from, count: at.to - at.from + 1 }
      const row = values[index]
      return {
        ...base,
        record: row?.record,
        header: row?.head.header,
        bornAt: at.row?.bornAt ?? 0,
        late: at.row?.late ?? false
      }
    })
    // A trim may have gone over them while they were being read.
    return entries.filter((entry) => entry.offset + entry.count > journal.first)
  }

  /** All entries from `first` up to `next`, a read's worth at a time. */
  async *pages(channel: string, first: number, next: number): AsyncGenerator<JournalEntry[]> {
    let offset = first
    while (offset < next) {
      const entries = await this.read(channel, offset, LIMITS.readBytes)
      const last = entries.at(-1)
      if (last === undefined) return
      offset = last.offset + last.count
      yield entries.filter((entry) => entry.offset < next)
    }
  }

  /** Fetches and checks the records of journal rows; undefined where one is gone. */
  async #records(channel: string, placed: readonly PlacedRow[]): Promise<(LogRow | undefined)[]> {
    const { level } = this.#components
    const mirror = this.#components.mirror()
    const slots = placed.map(({ row }) =>
      row === undefined ? undefined : mirror.log({ channel, ...refOf(row) })
    )
    const keys = placed.map(({ row }, index) => {
      const slot = slots[index]
      return row === undefined || slot === undefined
        ? undefined
        : numberKey(slot.recordPrefix, row.first)
    })
    const wanted = keys.filter((key) => key !== undefined)
    const values = await getAll(level(), wanted)
    let next = 0
    const suspects = new Map<LogSlot, SequenceRange>()
    const rows = placed.map(({ row }, index) => {
      const [slot, key] = [slots[index], keys[index]]
      if (row === undefined || slot === undefined || key === undefined) return undefined
      const value = values[next++]
      const opened = value === undefined ? undefined : openRow(slot, row.first, value)
      if (opened === undefined && row.first >= slot.committed.floor) {
        const known = suspects.get(slot)
        suspects.set(slot, {
          from: Math.min(known?.from ?? row.first, row.first),
          to: row.first + row.count - 1
        })
      }
      return opened
    })
    for (const [slot, range] of suspects) {
      const read = await readRows(level(), slot, { ...range, maxBytes: LIMITS.commitBytes })
      if (read.losses.length > 0 || read.badKeys.length > 0) this.#components.damaged(slot, read)
    }
    return rows
  }

  /** Visits rows that end above `offset`, ascending; lost offsets are visited as rows of nothing. */
  async rows(channel: string, offset: number, take: (row: PlacedRow) => boolean): Promise<void> {
    const { level } = this.#components
    const mirror = this.#components.mirror()
    const journal = mirror.journal(channel)
    const { next } = journal
    const start = await rowAt(level(), journal, Math.max(offset, journal.first))
    let at = Math.max(Math.min(start, offset), journal.first)
    let going = true
    const skipTo = (to: number): void => {
      if (at < to) going = take({ from: at, to: to - 1, row: undefined })
    }
    const range = { gte: numberKey(journal.prefix, start), lt: successor(journal.prefix) }
    await visitRows(level(), range, (key, value) => {
      const from = keyNumber(key)
      const row = decodeJournalRow(value)
      if (row === undefined) return true
      if (from >= next) return false
      skipTo(from)
      if (!going) return false
      at = from + row.count
      going = take({ from, to: at - 1, row })
      return going
    })
    if (going) skipTo(next)
  }

  /** Puts records in front of everything. The bounds of the journal change with the commit. */
  enterInFront(records: readonly { record: SealedRecord; bornAt: number }[], commit: Commit): void {
    const channel = records[0]?.record.header.channel
    if (channel === undefined) return
    const journal = this.#components.mirror().journal(channel)
    let offset = journal.first - records.reduce((sum, { record }) => sum + record.header.count, 0)
    const first = offset
    for (const { bornAt, record } of records) {
      const { count, first: sequence, publisher, session } = record.header
      const bytes = record.bytes.length
      const row = { publisher, session, first: sequence, count, bornAt, late: false, bytes }
      commit.put(numberKey(journal.prefix, offset), encodeJournalRow(row))
      offset += count
    }
    commit.put(namePrefix(SPACE.bounds, channel), encodeBounds(first, journal.tail))
    commit.written.push(() => {
      journal.first = Math.min(journal.first, first)
    })
  }

  /** After rows were lost: what is held and stands in no row is put into the journal once more, marked late. */
  async mend(channel: string): Promise<void> {
    const mirror = this.#components.mirror()
    const journal = mirror.journal(channel)
    const covered = new Map<LogSlot, SequenceRange[]>()
    await this.rows(channel, journal.first, ({ row }) => {
      const slot = row === undefined ? undefined : mirror.log({ channel, ...refOf(row) })
      if (row === undefined || slot === undefined) return true
      const ranges = covered.get(slot) ?? []
      const last = ranges.at(-1)
      const range = { from: row.first, to: row.first + row.count - 1 }
      if (last !== undefined && last.to + 1 === range.from)
        ranges[ranges.length - 1] = { ...last, to: range.to }
      else ranges.push(range)
      covered.set(slot, ranges)
      return true
    })
    for (const slot of mirror.logs(channel)) {
      const ranges = (covered.get(slot) ?? []).sort((a, b) => a.from - b.from)
      let from = slot.committed.floor
      for (const range of [...ranges, { from: slot.journaled + 1, to: slot.journaled }]) {
        if (range.from > from) await this.#again(slot, { from, to: range.from - 1 })
        from = Math.max(from, range.to + 1)
      }
    }
  }

  async #again(slot: LogSlot, { from, to }: SequenceRange): Promise<void> {
    let next = from
    await this.#components.queue.run(false, async (commit) => {
      while (next <= to && next <= slot.committed.head) {
        if (commit.full) return false
        const maxBytes = LIMITS.commitBytes / 2
        const read = await readRows(this.#components.level(), slot, { from: next, to, maxBytes })
        for (const { record, bornAt } of read.rows) {
          if (record !== undefined) this.enter(slot, { record, bornAt, late: true }, commit)
        }
        next = read.covered + 1
      }
      commit.logs.add(slot)
      return true
    })
  }

  /** Offset of the first message at or after local time `ms`; the journal's end if none. */
  async seek(channel: string, ms: number): Promise<number> {
    const journal = this.#components.mirror().journal(channel)
    let found = journal.next
    await this.rows(channel, journal.first, ({ from, row }) => {
      if (row === undefined || row.bornAt < ms) return true
      found = from
      return false
    })
    return found
  }

  /** Offsets of the newest message of every topic, by hybrid time; ascending. */
  async lastOffsets(channel: string, matches: (topic: string) => boolean): Promise<number[]> {
    const journal = this.#components.mirror().journal(channel)
    const newest = new LastOffsets()
    const matching = new Map<string, boolean>()
    for await (const entries of this.pages(channel, journal.first, journal.next)) {
      for (const entry of entries) {
        if (entry.record === undefined || (entry.record.header.flags & FLAGS.control) !== 0)
          continue
        const { body: bytes, header } = entry.record
        const body = new BodyReader(bytes)
        let index = 0
        for (let message = body.next(); message !== undefined; message = body.next()) {
          const { suffix } = message
          const known = matching.get(suffix)
          const wanted = known ?? matches(joinTopic(channel, suffix))
          if (known === undefined) matching.set(suffix, wanted)
          if (wanted) newest.add(suffix, entry.offset + index, placeOf(header, index))
          index++
        }
      }
    }
    return newest.ascending()
  }
}

export function isWhole(record: SealedRecord | RecordHead): record is SealedRecord {
  return 'body' in record
}

function refOf({ publisher, session }: JournalRow): Omit<LogRef, 'channel'> {
  return { publisher, session }
}

/** Offset of the row that holds `offset`; `offset` itself when there is none below it. */
async function rowAt(level: Level, journal: JournalSlot, offset: number): Promise<number> {
  const key = numberKey(journal.prefix, offset)
  if ((await level.has(key)) || offset <= journal.first) return offset
  const [below] = await level
    .iterator({ gte: journal.prefix, lt: key, reverse: true, limit: 1 })
    .all()
  if (below === undefined) return offset
  const row = decodeJournalRow(below[1])
  const from = keyNumber(below[0])
  return row !== undefined && from + row.count > offset ? from : offset
}

/** Like `getMany`; where that meets damage, one by one, undefined for what cannot be read. */
async function getAll(level: Level, keys: Buffer[]): Promise<(Buffer | undefined)[]> {
  if (keys.length === 0) return []
  try {
    return await level.getMany(keys, { fillCache: false } as object)
  } catch (error) {
    if (!isCorruption(error)) throw error
  }
  const values: (Buffer | undefined)[] = []
  for (const key of keys) {
    try {
      values.push(await level.get(key))
    } catch (error) {
      if (!isCorruption(error)) throw error
      values.push(undefined)
    }
  }
  return values
}
