import { isSkeinError } from '../core/errors.ts'
import { openHead, openRecord } from '../wire/sealed-record.ts'
import type { RecordHead, SealedRecord } from '../wire/record.ts'
import type { SequenceRange } from './contract.ts'
import { sameBytes, without } from './held-log.ts'
import type { HeldLog, Loss } from './held-log.ts'
import { keyNumber, numberKey, successor } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { visitRows } from './row-scan.ts'
import type { LogSlot } from './mirror.ts'
import { decodeRecordRow } from './rows.ts'

/** A record row whose content is what its publisher signed. */
export interface LogRow extends SequenceRange {
  readonly head: RecordHead
  /** Undefined where only the header is left. */
  readonly record: SealedRecord | undefined
  readonly bornAt: number
  readonly late: boolean
  readonly bytes: number
}

/** What a read found. */
export interface LogRead {
  readonly rows: readonly LogRow[]
  /** Ranges that should be held and are missing or damaged. */
  readonly losses: readonly Loss[]
  /** Keys of damaged rows. */
  readonly badKeys: readonly Buffer[]
  /** Bytes read. */
  readonly bytes: number
  /** What was asked for has been read up to here. */
  readonly covered: number
}

export interface ReadRange extends SequenceRange {
  /** The read ends with the record that exceeds it. */
  readonly maxBytes: number
}

/**
 * Opens the row at `sequence` of a log and checks all that is covered by its digest. The signature was verified
 * when the record came in, and the digest is compared along the chain. Undefined when it is damaged.
 */
export function openRow(slot: LogSlot, sequence: number, value: Buffer): LogRow | undefined {
  const row = decodeRecordRow(value)
  if (row === undefined) return undefined
  const { bornAt, late, bytes } = row
  try {
    const record = row.headOnly ? undefined : openRecord(bytes, { verify: false })
    const head: RecordHead = record ?? openHead(bytes, { verify: false })
    const { header } = head
    const { channel, publisher, session } = slot.committed
    const belongs =
      header.first === sequence &&
      header.session === session &&
      header.publisher === publisher &&
      header.channel === channel
    if (!belongs) return undefined
    const to = sequence + header.count - 1
    return { from: sequence, to, head, record, bornAt, late, bytes: bytes.length }
  } catch (error) {
    if (isSkeinError(error, 'ERR_RECORD')) return undefined
    throw error
  }
}

/** Reads records of a log that end at or above `range.from`, and checks them against what should be held. */
export async function readRows(level: Level, slot: LogSlot, range: ReadRange): Promise<LogRead> {
  const log = slot.committed
  // What is on its way to the disk is not missing.
  const absent = [...log.voids, ...slot.unwritten(range)]
  const start = await firstKey(level, slot, range.from)
  const rows: LogRow[] = []
  const badKeys: Buffer[] = []
  let bytes = 0
  let covered = range.to
  const take = (key: Buffer, value: Buffer): boolean => {
    const sequence = keyNumber(key)
    bytes += value.length
    const row = openRow(slot, sequence, value)
    const last = rows.at(-1)
    if (row === undefined) badKeys.push(key)
    else if (last !== undefined && !follows(last, row)) badKeys.push(key)
    else rows.push(row)
    if (bytes <= range.maxBytes) return true
    covered = Math.min(range.to, row?.to ?? sequence)
    return false
  }
  const open = range.to >= Number.MAX_SAFE_INTEGER
  const lt = open ? successor(slot.recordPrefix) : numberKey(slot.recordPrefix, range.to + 1)
  await visitRows(level, { gte: start, lt }, take)
  slot.boundary = (rows.at(-1)?.to ?? 0) + 1
  const counted = [{ from: log.floor, to: log.head }, ...log.islands]
  const held = absent.reduce<readonly SequenceRange[]>(without, counted)
  const losses = lossesIn(log, clipped(held, { from: range.from, to: covered }), rows)
  return { rows: rows.filter(({ to }) => to >= range.from), losses, badKeys, bytes, covered }
}

/** May `row` stand after `last`? Not over it, and where it touches it, chained to it. */
function follows(last: LogRow, row: LogRow): boolean {
  if (row.from > last.to + 1 || row.from < last.from) return true
  return row.from === last.to + 1 && sameBytes(last.head.digest, row.head.header.previous)
}

/** The key of the record that holds `from`, or of the first above it. */
async function firstKey(level: Level, slot: LogSlot, from: number): Promise<Buffer> {
  const key = numberKey(slot.recordPrefix, from)
  // Who reads on from the end of the last read needs no search.
  return from <= 1 || from === slot.boundary ? key : keyAtOrBelow(level, slot, key)
}

/** The key of a record at or below `key`; itself where there is none. */
async function keyAtOrBelow(level: Level, slot: LogSlot, key: Buffer): Promise<Buffer> {
  const below = level.keys({ gte: slot.recordPrefix, lte: key, reverse: true, limit: 1 })
  try {
    return (await below.next()) ?? key
  } catch (error) {
    if (isCorruption(error)) return key
    throw error
  } finally {
    await below.close()
  }
}

/** What of `ranges` lies in `range`. */
function clipped(ranges: readonly SequenceRange[], range: SequenceRange): SequenceRange[] {
  return ranges
    .filter(({ from, to }) => from <= range.to && range.from <= to)
    .map(({ from, to }) => ({ from: Math.max(from, range.from), to: Math.min(to, range.to) }))
}

/** What of `held` is not among `rows`. */
function lossesIn(log: HeldLog, held: readonly SequenceRange[], rows: readonly LogRow[]): Loss[] {
  const losses: Loss[] = []
  for (const { from, to } of held) {
    let next = from
    let below: LogRow | undefined
    for (const row of rows) {
      if (row.to < next) below = row.to === next - 1 ? row : below
      if (row.to < next || row.from > to) continue
      if (row.from > next) losses.push(lossOf(log, { from: next, to: row.from - 1 }, below, row))
      next = row.to + 1
      below = row
    }
    if (next <= to) losses.push(lossOf(log, { from: next, to }, below, undefined))
  }
  return losses
}

function lossOf(
  log: HeldLog,
  range: SequenceRange,
  below: LogRow | undefined,
  above: LogRow | undefined
): Loss {
  // Lost records cannot be counted; a log's share of its bytes is near enough.
  const held = Math.max(1, log.head - log.floor + 1)
  const share = Math.min(1, (range.to - range.from + 1) / held)
  return {
    ...range,
    records: Math.max(1, Math.round(log.records * share)),
    bytes: Math.round(log.bytes * share),
    below: below?.head.digest,
    above:
      above === undefined
        ? undefined
        : { previous: above.head.header.previous, bornAt: above.bornAt }
  }
}

/** The contiguous records that end right below `before`, ascending; what is damaged ends the read. */
export async function readRowsBefore(
  level: Level,
  slot: LogSlot,
  { before, maxBytes }: { before: number; maxBytes: number }
): Promise<LogRow[]> {
  const rows: LogRow[] = []
  let bytes = 0
  const iterator = level.iterator({
    gte: numberKey(slot.recordPrefix, slot.committed.floor),
    lt: numberKey(slot.recordPrefix, before),
    reverse: true,
    highWaterMarkBytes: 0,
    fillCache: false
  } as object)
  try {
    for (let end = before; bytes <= maxBytes;) {
      const entry = (await iterator.next()) as [Buffer, Buffer] | undefined
      if (entry === undefined) break
      const row = openRow(slot, keyNumber(entry[0]), entry[1])
      if (row === undefined || row.to !== end - 1) break
      rows.push(row)
      bytes += row.bytes
      end = row.from
    }
  } catch (error) {
    if (!isCorruption(error)) throw error
  } finally {
    await iterator.close()
  }
  return rows.toReversed()
}

/**
 * First sequence of the first record born at or after `ms`, as far as records were born in their order; where the
 * last record that begins at or below `from` is one, its own.
 */
export async function seekRow(
  level: Level,
  slot: LogSlot,
  { from, ms }: { readonly from: number; readonly ms: number }
): Promise<number | undefined> {
  const log = slot.committed
  if (from > log.floor) {
    const row = await bornAtOrBelow(level, slot, from)
    if (row !== undefined && row.bornAt >= ms) return row.from
  }
  let low = log.floor
  let high = Math.max(log.head, log.islands.at(-1)?.to ?? 0)
  let found: number | undefined
  while (low <= high) {
    const middle = Math.floor((low + high) / 2)
    const row = await bornAtOrAbove(level, slot, middle)
    if (row === undefined || row.from > high) high = middle - 1
    else if (row.bornAt >= ms) {
      found = row.from
      high = middle - 1
    } else low = row.from + 1
  }
  return found
}

async function bornAtOrBelow(
  level: Level,
  slot: LogSlot,
  sequence: number
): Promise<{ from: number; bornAt: number } | undefined> {
  // Whoever asks goes on where a record begins, mostly.
  const above = await bornAtOrAbove(level, slot, sequence)
  if (above?.from === sequence) return above
  const key = await keyAtOrBelow(level, slot, numberKey(slot.recordPrefix, sequence))
  const row = await bornAtOrAbove(level, slot, keyNumber(key))
  return row !== undefined && row.from <= sequence ? row : undefined
}

async function bornAtOrAbove(
  level: Level,
  slot: LogSlot,
  sequence: number
): Promise<{ from: number; bornAt: number } | undefined> {
  const range = {
    gte: numberKey(slot.recordPrefix, sequence),
    lt: successor(slot.recordPrefix),
    limit: 1
  }
  const [entry] = await level.iterator(range).all()
  if (entry === undefined) return undefined
  // What cannot be read may be young: a read finds out, and has it fetched again.
  return { from: keyNumber(entry[0]), bornAt: decodeRecordRow(entry[1])?.bornAt ?? Infinity }
}
