import { crc32 } from 'node:zlib'
import { peerIdFromPublicKey, publicKeyFromPeerId } from '../wire/peer-id.ts'
import type { CursorState, Registration, SequenceRange } from './contract.ts'
import type { HeldLog, Island } from './held-log.ts'

/** Version of every row's layout; the store's format version covers what rows there are. */
const VERSION = 1
const CRC_BYTES = 4

/** What stands before the unchanged bytes of a record: version, flags, born at, checksum of the three. */
const RECORD_PREFIX_BYTES = 12
const RECORD_FLAGS = { late: 1, headOnly: 2 } as const

/** A record row taken apart; `bytes` is a view. */
export interface RecordRow {
  readonly late: boolean
  /** Only header and signature are left: the body was compacted away. */
  readonly headOnly: boolean
  readonly bornAt: number
  readonly bytes: Buffer
}

export function encodeRecordRow(
  bytes: Uint8Array,
  { late, headOnly, bornAt }: Omit<RecordRow, 'bytes'>
): Buffer {
  const row = Buffer.allocUnsafe(RECORD_PREFIX_BYTES + bytes.length)
  row[0] = VERSION
  row[1] = (late ? RECORD_FLAGS.late : 0) | (headOnly ? RECORD_FLAGS.headOnly : 0)
  row.writeUIntBE(bornAt, 2, 6)
  row.writeUInt32BE(crc32(row.subarray(0, 8)), 8)
  row.set(bytes, RECORD_PREFIX_BYTES)
  return row
}

/** undefined when the row is damaged. The record in it is checked by who opens it. */
export function decodeRecordRow(row: Buffer): RecordRow | undefined {
  if (row.length <= RECORD_PREFIX_BYTES || row[0] !== VERSION) return undefined
  if (row.readUInt32BE(8) !== crc32(row.subarray(0, 8))) return undefined
  const flags = row[1] as number
  return {
    late: (flags & RECORD_FLAGS.late) !== 0,
    headOnly: (flags & RECORD_FLAGS.headOnly) !== 0,
    bornAt: row.readUIntBE(2, 6),
    bytes: row.subarray(RECORD_PREFIX_BYTES)
  }
}

/** One entry of the journal, without the record. */
export interface JournalRow {
  readonly publisher: string
  readonly session: string
  readonly first: number
  readonly count: number
  readonly bornAt: number
  readonly late: boolean
  /** Size of the record. */
  readonly bytes: number
}

const JOURNAL_ROW_BYTES = 66

export function encodeJournalRow(entry: JournalRow): Buffer {
  const row = Buffer.allocUnsafe(JOURNAL_ROW_BYTES)
  row[0] = VERSION
  row[1] = entry.late ? RECORD_FLAGS.late : 0
  row.set(publicKeyFromPeerId(entry.publisher), 2)
  row.write(entry.session, 34, 8, 'hex')
  row.writeDoubleBE(entry.first, 42)
  row.writeUInt16BE(entry.count, 50)
  row.writeUIntBE(entry.bornAt, 52, 6)
  row.writeUInt32BE(entry.bytes, 58)
  return sealed(row)
}

/** undefined when the row is damaged. */
export function decodeJournalRow(row: Buffer): JournalRow | undefined {
  if (row.length !== JOURNAL_ROW_BYTES || !isIntact(row)) return undefined
  return {
    publisher: peerIdFromPublicKey(row.subarray(2, 34)),
    session: row.toString('hex', 34, 42),
    first: row.readDoubleBE(42),
    count: row.readUInt16BE(50),
    bornAt: row.readUIntBE(52, 6),
    late: ((row[1] as number) & RECORD_FLAGS.late) !== 0,
    bytes: row.readUInt32BE(58)
  }
}

/** What a head row holds: the log, and how far the journal has followed it. */
export interface HeadRow {
  readonly log: HeldLog
  /** Sequences up to this one have been put into the journal. */
  readonly journaled: number
  /** Where the journal of the channel ended when the row was written. */
  readonly journalEnd: number
  /** Ranges to be put into the journal once more when they come back. */
  readonly owed: readonly SequenceRange[]
}

export function encodeHeadRow({ log, journaled, journalEnd, owed }: HeadRow): Buffer {
  const ranges = [owed, log.voids, log.skipped]
  const count = owed.length + log.voids.length + log.skipped.length
  const out = new RowWriter(240 + log.islands.length * 96 + count * 16)
  out.number(log.floor).number(log.head).optionalBytes(log.headDigest)
  out.number(log.records).number(log.bytes).number(log.timeMs).number(log.bornAt)
  out
    .number(log.forkedAt ?? 0)
    .number(journaled)
    .number(journalEnd)
  out.number(log.islands.length)
  for (const { from, to, previous, digest, bornAt } of log.islands) {
    out.number(from).number(to).number(bornAt).optionalBytes(previous).optionalBytes(digest)
  }
  for (const list of ranges) {
    out.number(list.length)
    for (const { from, to } of list) out.number(from).number(to)
  }
  return out.number(log.expected).finish()
}

/** undefined when the row is damaged. */
export function decodeHeadRow(
  row: Buffer,
  ref: Pick<HeldLog, 'channel' | 'publisher' | 'session'>
): HeadRow | undefined {
  const input = RowReader.open(row)
  if (input === undefined) return undefined
  const floor = input.number()
  const head = input.number()
  const headDigest = input.optionalBytes()
  const [records, bytes, timeMs, bornAt] = [
    input.number(),
    input.number(),
    input.number(),
    input.number()
  ]
  const forkedAt = input.number()
  const [journaled, journalEnd] = [input.number(), input.number()]
  const islands = Array.from({ length: input.number() }, (): Island => {
    const range = { from: input.number(), to: input.number(), bornAt: input.number() }
    return { ...range, previous: input.optionalBytes(), digest: input.optionalBytes() }
  })
  const owed = input.ranges()
  // Rows of the first version end here.
  const [voids, skipped] = input.ended ? [[], []] : [input.ranges(), input.ranges()]
  const expected = input.ended ? 0 : input.number()
  const log: HeldLog = {
    channel: ref.channel,
    publisher: ref.publisher,
    session: ref.session,
    floor,
    head,
    headDigest,
    islands,
    expected,
    voids,
    skipped,
    records,
    bytes,
    timeMs,
    bornAt,
    forkedAt: forkedAt === 0 ? undefined : forkedAt
  }
  return { log, journaled, journalEnd, owed }
}

/** Bounds of a journal, written when it is trimmed: an emptied one goes on where it ended. */
export function encodeBounds(first: number, next: number): Buffer {
  return new RowWriter(32).number(first).number(next).finish()
}

export function decodeBounds(row: Buffer): { first: number; next: number } | undefined {
  const input = RowReader.open(row)
  return input === undefined ? undefined : { first: input.number(), next: input.number() }
}

export function encodeCursor({ offset, acknowledged, handed, attempts }: CursorState): Buffer {
  const out = new RowWriter(64 + (acknowledged.length + attempts.length) * 16)
  out.number(offset).number(handed).number(acknowledged.length)
  for (const { from, to } of acknowledged) out.number(from).number(to)
  out.number(attempts.length)
  for (const [at, count] of attempts) out.number(at).number(count)
  return out.finish()
}

/** undefined when the row is damaged. */
export function decodeCursor(row: Buffer): CursorState | undefined {
  const input = RowReader.open(row)
  if (input === undefined) return undefined
  const [offset, handed] = [input.number(), input.number()]
  const acknowledged = Array.from({ length: input.number() }, () => ({
    from: input.number(),
    to: input.number()
  }))
  const attempts = Array.from(
    { length: input.number() },
    () => [input.number(), input.number()] as const
  )
  return { offset, handed, acknowledged, attempts }
}

/** Any JSON value. */
export function encodeJson(value: Registration | Readonly<Record<string, unknown>>): Buffer {
  const text = Buffer.from(JSON.stringify(value))
  const row = Buffer.allocUnsafe(2 + text.length + CRC_BYTES)
  row[0] = VERSION
  row[1] = 0
  row.set(text, 2)
  return sealed(row)
}

/** undefined when the row is damaged. */
export function decodeJson(row: Buffer): unknown {
  if (!isIntact(row)) return undefined
  return JSON.parse(row.toString('utf8', 2, row.length - CRC_BYTES))
}

/** Bytes with a checksum. */
export function encodeBytes(bytes: Uint8Array): Buffer {
  const row = Buffer.allocUnsafe(2 + bytes.length + CRC_BYTES)
  row[0] = VERSION
  row[1] = 0
  row.set(bytes, 2)
  return sealed(row)
}

/** undefined when the row is damaged; otherwise a copy. */
export function decodeBytes(row: Buffer): Uint8Array | undefined {
  return isIntact(row) ? Uint8Array.from(row.subarray(2, row.length - CRC_BYTES)) : undefined
}

/** Fills the last four bytes with the checksum of the others. */
function sealed(row: Buffer): Buffer {
  row.writeUInt32BE(crc32(row.subarray(0, row.length - CRC_BYTES)), row.length - CRC_BYTES)
  return row
}

function isIntact(row: Buffer): boolean {
  const end = row.length - CRC_BYTES
  return end >= 2 && row[0] === VERSION && row.readUInt32BE(end) === crc32(row.subarray(0, end))
}

/** Numbers are doubles, which hold every safe integer and Infinity; bytes are length-prefixed. */
class RowWriter {
  readonly #row: Buffer
  #at = 2

  /** `capacity`: at least the size of the row. */
  constructor(capacity: number) {
    this.#row = Buffer.allocUnsafe(capacity)
    this.#row[0] = VERSION
    this.#row[1] = 0
  }

  number(value: number): this {
    this.#at = this.#row.writeDoubleBE(value, this.#at)
    return this
  }

  optionalBytes(bytes: Uint8Array | undefined): this {
    this.#row[this.#at++] = bytes?.length ?? 0
    if (bytes !== undefined) {
      this.#row.set(bytes, this.#at)
      this.#at += bytes.length
    }
    return this
  }

  finish(): Buffer {
    return sealed(this.#row.subarray(0, this.#at + CRC_BYTES))
  }
}

/** Reads what RowWriter wrote; the checksum was compared before, so lengths can be trusted. */
class RowReader {
  readonly #row: Buffer
  #at = 2

  private constructor(row: Buffer) {
    this.#row = row
  }

  static open(row: Buffer): RowReader | undefined {
    return isIntact(row) ? new RowReader(row) : undefined
  }

  number(): number {
    const value = this.#row.readDoubleBE(this.#at)
    this.#at += 8
    return value
  }

  ranges(): SequenceRange[] {
    const length = this.number()
    return Array.from({ length }, () => ({ from: this.number(), to: this.number() }))
  }

  /** Nothing but the checksum is left. */
  get ended(): boolean {
    return this.#at >= this.#row.length - CRC_BYTES
  }

  optionalBytes(): Uint8Array | undefined {
    const length = this.#row[this.#at++] ?? 0
    if (length === 0) return undefined
    const bytes = Uint8Array.from(this.#row.subarray(this.#at, this.#at + length))
    this.#at += length
    return bytes
  }
}
