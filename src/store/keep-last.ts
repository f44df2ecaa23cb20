import { decodeMessages } from '../wire/body.ts'
import { FLAGS } from '../wire/record.ts'
import type { SealedRecord } from '../wire/record.ts'
import type { JournalEntry, JournalState, RetentionPolicy } from './contract.ts'
import type { Journal, PlacedRow } from './journal.ts'
import { NewestValues, placeOf } from './newest-values.ts'

/** A record whose body may go. */
export interface Compaction {
  readonly record: SealedRecord
  readonly bornAt: number
  readonly late: boolean
}

export interface CompactionInit {
  readonly journal: Journal
  readonly channel: string
  readonly bounds: JournalState
  readonly policy: RetentionPolicy
  /** Local wall clock, ms. */
  readonly now: number
  /** Bytes held by the channel. */
  readonly bytes: number
}

export interface CompactionPlan {
  readonly drop: readonly Compaction[]
  /** Rows at the start of the journal of which nothing is needed any more, header included. */
  readonly gone: readonly PlacedRow[]
}

/**
 * Which records hold no value that is still wanted: each message has `keepLast` newer ones of the same topic and
 * key, or is too old or too much and not the last of its key, or is a tombstone older than twice the age limit.
 */
export async function compactable(init: CompactionInit): Promise<CompactionPlan> {
  const { channel, bounds, journal, policy } = init
  const newest = await newestValues(init)
  const drop: Compaction[] = []
  const gone: PlacedRow[] = []
  let prefix = true
  let { bytes } = init
  let messages = bounds.next - bounds.first
  for await (const entry of entriesOf(journal, channel, bounds)) {
    const crowded = bytes > policy.maxBytes || messages > policy.maxMessages
    const wanted = entry.record !== undefined && isWanted(entry, newest, { ...init, crowded })
    if (wanted) prefix = false
    else {
      messages -= entry.count
      if (entry.record !== undefined) {
        bytes -= entry.record.bytes.length
        drop.push({ record: entry.record, bornAt: entry.bornAt, late: entry.late })
      }
      if (prefix) gone.push(placedRow(entry))
    }
  }
  return { drop, gone }
}

async function newestValues({
  bounds,
  channel,
  journal,
  policy
}: CompactionInit): Promise<NewestValues> {
  const newest = new NewestValues(policy.keepLast ?? 1)
  for await (const { record } of entriesOf(journal, channel, bounds)) {
    if (record === undefined || isControl(record)) continue
    const { header } = record
    for (const [index, message] of decodeMessages(record.body, header.count).entries()) {
      newest.add(valueName(message), placeOf(header, index))
    }
  }
  return newest
}

async function* entriesOf(
  journal: Journal,
  channel: string,
  { first, next }: JournalState
): AsyncGenerator<JournalEntry> {
  for await (const page of journal.pages(channel, first, next)) yield* page
}

/** Is one of the record's messages still wanted? */
function isWanted(
  entry: JournalEntry,
  newest: NewestValues,
  { now, policy, crowded }: { now: number; policy: RetentionPolicy; crowded: boolean }
): boolean {
  const { record } = entry
  const old = entry.bornAt < now - policy.maxAgeMs
  if (record === undefined) return false
  if (isControl(record)) return !old
  let wanted = false
  for (const [index, message] of decodeMessages(record.body, record.header.count).entries()) {
    const left = newest.newerThan(valueName(message), placeOf(record.header, index))
    const needed = old || crowded ? 1 : Math.max(1, policy.keepLast ?? 1)
    const expiredTombstone =
      message.payload.length === 0 && entry.bornAt < now - 2 * policy.maxAgeMs
    if (left < needed && !(left === 0 && expiredTombstone)) wanted = true
  }
  return wanted
}

function isControl(record: SealedRecord): boolean {
  return (record.header.flags & FLAGS.control) !== 0
}

function valueName({ suffix, key }: { suffix: string; key: string | undefined }): string {
  return key === undefined ? suffix : `${suffix}\0${key}`
}

function placedRow(entry: JournalEntry): PlacedRow {
  const { header, offset, count, bornAt, late } = entry
  const place = { from: offset, to: offset + count - 1 }
  if (header === undefined) return { ...place, row: undefined }
  const { publisher, session, first } = header
  return {
    ...place,
    row: { publisher, session, first, count, bornAt, late, bytes: headBytes(entry) }
  }
}

/** What is left of a compacted record is about this large; sizes of heads are not kept. */
function headBytes({ record }: JournalEntry): number {
  return record?.headLength ?? 0
}
