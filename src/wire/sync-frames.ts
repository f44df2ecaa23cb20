import { LIMITS } from '../core/limits.ts'
import { peerIdFromPublicKey, PUBLIC_KEY_BYTES, publicKeyFromPeerId } from './peer-id.ts'
import { ProtoWriter } from './proto-writer.ts'
import {
  ProtoReader,
  recordError,
  varintSize,
  WIRE,
  writeBytesField,
  writeNumberField,
  wrongWireType
} from './protobuf.ts'
import { isSession } from './session.ts'
import { decodeVector, encodeVector, type Vector } from './vector.ts'

/** Bytes of the digest of one bucket of logs. */
export const DIGEST_BYTES = 8
/** Buckets one channel's logs are spread over at most. */
export const MAX_BUCKETS = 256
/** Logs in one page of heads. */
export const PAGE_LOGS = 2048

/** A channel that is asked about, with digests of what is held of it: one per bucket of its logs. */
export interface AskedChannel {
  readonly channel: string
  /** A power of two times DIGEST_BYTES. */
  readonly digests: Uint8Array
}

/** What a peer holds of a channel. */
export interface ChannelHeads {
  readonly channel: string
  readonly logs: Vector
  /** Signed receipts of an inbox's owner, for those who hold messages for it. */
  readonly receipts: readonly Uint8Array[]
}

/** Asks for records of one log. */
export interface Pull {
  /** Given back in the answer. */
  readonly id: number
  readonly channel: string
  readonly publisher: string
  readonly session: string
  /** First and last sequence wanted. */
  readonly from: number
  readonly to: number
  /** The answer ends with the record that exceeds it. */
  readonly maxBytes: number
  /** Older records are not wanted, ms; 0 = of any age. */
  readonly maxAgeMs: number
  /** The records right below `to` + 1, as many as fit, instead of those from `from` on. */
  readonly backwards: boolean
  /** Messages wait for them: their publisher should say so where it has them no more. */
  readonly awaited: boolean
}

/** One record in an answer. */
export interface PulledRecord {
  readonly ageMs: number
  /** A whole record, or its head where the body was compacted away. */
  readonly bytes: Uint8Array
  readonly headOnly: boolean
}

/**
 * The frames of `/skein/sync/1.0.0`. `ask` and `pull` come from the side that opened the stream, `receipts` from
 * either, the others answer.
 */
export type SyncFrame =
  /** Tell me what you hold of these channels, now and whenever it changes. Replaces what was asked before. */
  | { readonly kind: 'ask'; readonly channels: readonly AskedChannel[] }
  /** What is held. `last`: all that there was to say when the question came has been said. */
  | { readonly kind: 'heads'; readonly channels: readonly ChannelHeads[]; readonly last: boolean }
  | ({ readonly kind: 'pull' } & Pull)
  /**
   * Begins the answer to a pull. `from`: first sequence that will come, 0 = none. `exact`: what was asked for
   * below it is held and older than asked; else it is not held here. `floor` and `head` of the log here.
   */
  | {
      readonly kind: 'start'
      readonly id: number
      readonly from: number
      readonly exact: boolean
      readonly floor: number
      readonly head: number
    }
  | { readonly kind: 'records'; readonly id: number; readonly records: readonly PulledRecord[] }
  | { readonly kind: 'end'; readonly id: number }
  | { readonly kind: 'receipts'; readonly receipts: readonly Uint8Array[] }

const FIELD = { ask: 1, heads: 2, pull: 3, start: 4, records: 5, end: 6, receipts: 7 } as const

/** A frame as bytes: one protobuf `SyncFrame`. */
export function encodeSyncFrame(frame: SyncFrame): Uint8Array {
  const body = new ProtoWriter()
  switch (frame.kind) {
    case 'ask':
      for (const { channel, digests } of frame.channels) {
        body.message(1, new ProtoWriter().text(1, channel).bytes(2, digests))
      }
      break
    case 'heads':
      for (const heads of frame.channels) body.message(1, headsFields(heads))
      body.flag(2, frame.last)
      break
    case 'pull':
      pullFields(body, frame)
      break
    case 'start':
      body.number(1, frame.id).number(2, frame.from).flag(3, frame.exact)
      body.number(4, frame.floor).number(5, frame.head)
      break
    case 'records':
      return encodeRecords(frame.id, frame.records)
    case 'end':
      body.number(1, frame.id)
      break
    case 'receipts':
      for (const receipt of frame.receipts) body.bytes(1, receipt)
      break
  }
  return new ProtoWriter().message(FIELD[frame.kind], body).finish()
}

/** Records are large: they are laid out at once, and copied once. */
function encodeRecords(id: number, records: readonly PulledRecord[]): Uint8Array {
  const items = records.map(({ ageMs, bytes }) => {
    const age = Math.max(0, Math.floor(ageMs))
    return {
      age,
      length: (age === 0 ? 0 : 1 + varintSize(age)) + 1 + varintSize(bytes.length) + bytes.length
    }
  })
  let length = id === 0 ? 0 : 1 + varintSize(id)
  for (const item of items) length += 1 + varintSize(item.length) + item.length
  const frame = Buffer.allocUnsafe(1 + varintSize(length) + length)
  let at = writeNumberField(frame, 0, tagOf(FIELD.records), length)
  if (id !== 0) at = writeNumberField(frame, at, (1 << 3) | WIRE.varint, id)
  for (const [index, { bytes, headOnly }] of records.entries()) {
    const { age, length: size } = items[index] as { age: number; length: number }
    at = writeNumberField(frame, at, tagOf(2), size)
    if (age !== 0) at = writeNumberField(frame, at, (1 << 3) | WIRE.varint, age)
    at = writeBytesField(frame, at, tagOf(headOnly ? 3 : 2), bytes)
  }
  return frame
}

function tagOf(field: number): number {
  return (field << 3) | WIRE.bytes
}

function headsFields({ channel, logs, receipts }: ChannelHeads): ProtoWriter {
  const fields = new ProtoWriter().text(1, channel).bytes(2, encodeVector(logs))
  for (const receipt of receipts) fields.bytes(3, receipt)
  return fields
}

function pullFields(body: ProtoWriter, pull: Pull): void {
  body.number(1, pull.id).text(2, pull.channel).bytes(3, publicKeyFromPeerId(pull.publisher))
  body.bytes(4, Buffer.from(pull.session, 'hex')).number(5, pull.from).number(6, pull.to)
  body.number(7, pull.maxBytes).number(8, pull.maxAgeMs).flag(9, pull.backwards)
  body.flag(10, pull.awaited)
}

/** Reads one frame of anybody. Throws ERR_RECORD. */
export function decodeSyncFrame(bytes: Uint8Array): SyncFrame {
  const reader = new ProtoReader(bytes)
  const tag = reader.tag()
  if ((tag & 7) !== WIRE.bytes) throw wrongWireType(tag)
  const body = new ProtoReader(reader.view())
  if (reader.position !== reader.end) throw recordError('field', 'something follows a sync frame')
  switch (tag >>> 3) {
    case FIELD.ask:
      return readAsk(body)
    case FIELD.heads:
      return readHeads(body)
    case FIELD.pull:
      return readPull(body)
    case FIELD.start:
      return readStart(body)
    case FIELD.records:
      return readRecords(body)
    case FIELD.end:
      return { kind: 'end', id: readNumbers(body)[1] ?? 0 }
    case FIELD.receipts:
      return { kind: 'receipts', receipts: readBytesList(body) }
    default:
      throw recordError('field', `there is no sync frame ${tag >>> 3}`)
  }
}

/** Calls `take` for each field until one is left; it returns false for a field it does not know. */
function eachField(reader: ProtoReader, take: (field: number, wire: number) => boolean): void {
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (!take(tag >>> 3, tag & 7)) reader.skip(tag)
  }
}

/** A message of numbers only, by field. */
function readNumbers(reader: ProtoReader): Record<number, number> {
  const numbers: Record<number, number> = {}
  eachField(reader, (field, wire) => {
    if (wire !== WIRE.varint) return false
    numbers[field] = reader.varint()
    return true
  })
  return numbers
}

function readBytesList(reader: ProtoReader): Uint8Array[] {
  const list: Uint8Array[] = []
  eachField(reader, (field, wire) => {
    if (field !== 1 || wire !== WIRE.bytes) return false
    list.push(reader.view())
    return true
  })
  return list
}

function readAsk(reader: ProtoReader): SyncFrame {
  const channels: AskedChannel[] = []
  eachField(reader, (field, wire) => {
    if (field !== 1 || wire !== WIRE.bytes) return false
    channels.push(readAskedChannel(new ProtoReader(reader.view())))
    return true
  })
  return { kind: 'ask', channels }
}

function readAskedChannel(reader: ProtoReader): AskedChannel {
  let channel = ''
  let digests: Uint8Array = new Uint8Array()
  eachField(reader, (field, wire) => {
    if (wire !== WIRE.bytes || field > 2) return false
    if (field === 1) channel = reader.text(LIMITS.topicBytes)
    else digests = reader.view()
    return true
  })
  const buckets = digests.length / DIGEST_BYTES
  if (buckets < 1 || buckets > MAX_BUCKETS || (buckets & (buckets - 1)) !== 0) {
    throw recordError('field', 'the digests of a channel are not a power of two of them')
  }
  return { channel, digests }
}

function readHeads(reader: ProtoReader): SyncFrame {
  const channels: ChannelHeads[] = []
  let last = false
  eachField(reader, (field, wire) => {
    if (field === 1 && wire === WIRE.bytes) {
      channels.push(readChannelHeads(new ProtoReader(reader.view())))
      return true
    }
    if (field !== 2 || wire !== WIRE.varint) return false
    last = reader.varint() !== 0
    return true
  })
  return { kind: 'heads', channels, last }
}

function readChannelHeads(reader: ProtoReader): ChannelHeads {
  let channel = ''
  let logs: Vector = []
  const receipts: Uint8Array[] = []
  eachField(reader, (field, wire) => {
    if (wire !== WIRE.bytes || field > 3) return false
    if (field === 1) channel = reader.text(LIMITS.topicBytes)
    else if (field === 2) logs = decodeVector(reader.view(), PAGE_LOGS)
    else receipts.push(reader.view())
    return true
  })
  return { channel, logs, receipts }
}

function readPull(reader: ProtoReader): SyncFrame {
  let channel = ''
  let publisher = ''
  let session = ''
  const numbers: Record<number, number> = {}
  eachField(reader, (field, wire) => {
    if (wire === WIRE.varint) {
      numbers[field] = reader.varint()
      return true
    }
    if (wire !== WIRE.bytes || field < 2 || field > 4) return false
    if (field === 2) channel = reader.text(LIMITS.topicBytes)
    else if (field === 3) publisher = readPublisher(reader.view())
    else session = reader.view().toString('hex')
    return true
  })
  if (publisher === '' || !isSession(session)) throw recordError('field', 'a pull names no log')
  return {
    kind: 'pull',
    channel,
    publisher,
    session,
    id: numbers[1] ?? 0,
    from: numbers[5] ?? 0,
    to: numbers[6] ?? 0,
    maxBytes: numbers[7] ?? 0,
    maxAgeMs: numbers[8] ?? 0,
    backwards: (numbers[9] ?? 0) !== 0,
    awaited: (numbers[10] ?? 0) !== 0
  }
}

function readPublisher(key: Uint8Array): string {
  if (key.length !== PUBLIC_KEY_BYTES) throw recordError('field', 'a public key has 32 bytes')
  return peerIdFromPublicKey(key)
}

function readStart(reader: ProtoReader): SyncFrame {
  const numbers = readNumbers(reader)
  return {
    kind: 'start',
    id: numbers[1] ?? 0,
    from: numbers[2] ?? 0,
    exact: (numbers[3] ?? 0) !== 0,
    floor: numbers[4] ?? 0,
    head: numbers[5] ?? 0
  }
}

function readRecords(reader: ProtoReader): SyncFrame {
  const records: PulledRecord[] = []
  let id = 0
  eachField(reader, (field, wire) => {
    if (field === 1 && wire === WIRE.varint) {
      id = reader.varint()
      return true
    }
    if (field !== 2 || wire !== WIRE.bytes) return false
    records.push(readPulled(new ProtoReader(reader.view())))
    return true
  })
  return { kind: 'records', id, records }
}

function readPulled(reader: ProtoReader): PulledRecord {
  let ageMs = 0
  let bytes: Uint8Array = new Uint8Array()
  let headOnly = false
  eachField(reader, (field, wire) => {
    if (field === 1 && wire === WIRE.varint) {
      ageMs = reader.varint()
      return true
    }
    if (wire !== WIRE.bytes || (field !== 2 && field !== 3)) return false
    bytes = reader.view()
    headOnly = field === 3
    return true
  })
  return { ageMs, bytes, headOnly }
}
