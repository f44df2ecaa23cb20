import { LIMITS } from '../core/limits.ts'
import { peerIdFromPublicKey, PUBLIC_KEY_BYTES } from './peer-id.ts'
import {
  ProtoReader,
  recordError,
  WIRE,
  writeBytesField,
  writeFixed64Field,
  writeNumberField,
  writeTextField,
  wrongWireType
} from './protobuf.ts'
import { FLAGS } from './record.ts'
import type { PreviousSession, RecordHeader } from './record.ts'
import { isSession } from './session.ts'
import { isChannel } from './topic.ts'

/** The only header version there is. */
const HEADER_VERSION = 1

/** Bytes of a SHA-256. */
const HASH_BYTES = 32

const KNOWN_FLAGS = FLAGS.control | FLAGS.ephemeral
const GREATEST_MS = 2 ** 48 - 1

/** Field numbers with their wire types, as they stand in a tag byte. */
const TAG = {
  version: (1 << 3) | WIRE.varint,
  publisher: (2 << 3) | WIRE.bytes,
  session: (3 << 3) | WIRE.fixed64,
  channel: (4 << 3) | WIRE.bytes,
  first: (5 << 3) | WIRE.varint,
  count: (6 << 3) | WIRE.varint,
  previous: (7 << 3) | WIRE.bytes,
  before: (8 << 3) | WIRE.bytes,
  time: (9 << 3) | WIRE.fixed64,
  bodyLength: (10 << 3) | WIRE.varint,
  bodyHash: (11 << 3) | WIRE.bytes,
  compression: (12 << 3) | WIRE.varint,
  flags: (13 << 3) | WIRE.varint
} as const

const BEFORE_TAG = {
  session: (1 << 3) | WIRE.fixed64,
  sequence: (2 << 3) | WIRE.varint,
  digest: (3 << 3) | WIRE.bytes
} as const

/**
 * Writes a header at `position` of `into`, which must have room for LIMITS.headBytes; returns the offset behind
 * it. Throws ERR_RECORD when the header breaks a rule, so that nothing is sealed that would be refused.
 */
export function encodeHeader(into: Buffer, position: number, header: RecordHeader): number {
  checkHeader(header)
  let at = writeNumberField(into, position, TAG.version, HEADER_VERSION)
  at = writeBytesField(into, at, TAG.publisher, header.publisherKey)
  at = writeFixed64Field(into, at, TAG.session, sessionHalves(header.session))
  if (header.channel !== '') at = writeTextField(into, at, TAG.channel, header.channel)
  at = writeNumberField(into, at, TAG.first, header.first)
  at = writeNumberField(into, at, TAG.count, header.count)
  if (header.previous !== undefined) {
    at = writeBytesField(into, at, TAG.previous, header.previous)
  }
  if (header.before !== undefined) {
    at = writeBytesField(into, at, TAG.before, encodeBefore(header.before))
  }
  const { ms, counter } = header.time
  // Like any encoder of proto3: a field of value 0 is left out.
  const halves = [Math.floor(ms / 0x10000), (ms % 0x10000) * 0x10000 + counter] as const
  if (ms > 0 || counter > 0) at = writeFixed64Field(into, at, TAG.time, halves)
  at = writeNumberField(into, at, TAG.bodyLength, header.bodyLength)
  at = writeBytesField(into, at, TAG.bodyHash, header.bodyHash)
  if (header.compression !== 0) at = writeNumberField(into, at, TAG.compression, header.compression)
  if (header.flags !== 0) at = writeNumberField(into, at, TAG.flags, header.flags)
  return at
}

/** Reads a header that fills `bytes`. Throws ERR_RECORD when it is malformed or breaks a rule. */
export function decodeHeader(bytes: Uint8Array): RecordHeader {
  const fields = readFields(new ProtoReader(bytes))
  if (fields.version !== HEADER_VERSION) {
    throw recordError('version', `header version ${fields.version} is not known here`)
  }
  checkLength('publisher', fields.publisherKey, PUBLIC_KEY_BYTES)
  const header: RecordHeader = {
    publisherKey: fields.publisherKey,
    publisher: peerIdFromPublicKey(fields.publisherKey),
    session: fields.session,
    channel: fields.channel,
    first: fields.first,
    count: fields.count,
    previous: fields.previous,
    before: fields.before,
    time: fields.time,
    bodyLength: fields.bodyLength,
    bodyHash: fields.bodyHash,
    compression: fields.compression,
    flags: fields.flags
  }
  checkHeader(header)
  return header
}

type HeaderFields = { -readonly [Name in keyof RecordHeader]: RecordHeader[Name] } & {
  version: number
}

const NOTHING = new Uint8Array(0)

function readFields(reader: ProtoReader): HeaderFields {
  const fields: HeaderFields = {
    version: 0,
    publisherKey: NOTHING,
    publisher: '',
    session: '',
    channel: '',
    first: 0,
    count: 0,
    previous: undefined,
    before: undefined,
    time: { ms: 0, counter: 0 },
    bodyLength: 0,
    bodyHash: NOTHING,
    compression: 0,
    flags: 0
  }
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag >>> 3 > 13) reader.skip(tag)
    else if ((tag & 7) === WIRE.varint) readNumber(reader, tag, fields)
    else readOther(reader, tag, fields)
  }
  return fields
}

function readNumber(reader: ProtoReader, tag: number, fields: HeaderFields): void {
  const value = reader.varint()
  switch (tag) {
    case TAG.version:
      fields.version = value
      return
    case TAG.first:
      fields.first = value
      return
    case TAG.count:
      fields.count = value
      return
    case TAG.bodyLength:
      fields.bodyLength = value
      return
    case TAG.compression:
      fields.compression = value
      return
    case TAG.flags:
      fields.flags = value
      return
    default:
      throw wrongWireType(tag)
  }
}

function readOther(reader: ProtoReader, tag: number, fields: HeaderFields): void {
  switch (tag) {
    case TAG.publisher:
      fields.publisherKey = reader.view()
      return
    case TAG.session:
      fields.session = reader.fixed64Hex()
      return
    case TAG.channel:
      fields.channel = reader.text()
      return
    case TAG.previous:
      fields.previous = reader.view()
      return
    case TAG.before:
      fields.before = decodeBefore(reader.view())
      return
    case TAG.time: {
      const [high, low] = reader.fixed64()
      fields.time = { ms: high * 0x10000 + (low >>> 16), counter: low & 0xffff }
      return
    }
    case TAG.bodyHash:
      fields.bodyHash = reader.view()
      return
    default:
      throw wrongWireType(tag)
  }
}

function encodeBefore(before: PreviousSession): Uint8Array {
  const bytes = Buffer.allocUnsafe(64)
  let at = writeFixed64Field(bytes, 0, BEFORE_TAG.session, sessionHalves(before.session))
  at = writeNumberField(bytes, at, BEFORE_TAG.sequence, before.sequence)
  at = writeBytesField(bytes, at, BEFORE_TAG.digest, before.digest)
  return bytes.subarray(0, at)
}

function decodeBefore(bytes: Uint8Array): PreviousSession {
  const reader = new ProtoReader(bytes)
  let session = ''
  let sequence = 0
  let digest: Uint8Array = NOTHING
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === BEFORE_TAG.session) session = reader.fixed64Hex()
    else if (tag === BEFORE_TAG.sequence) sequence = reader.varint()
    else if (tag === BEFORE_TAG.digest) digest = reader.view()
    else if (tag >>> 3 > 3) reader.skip(tag)
    else throw wrongWireType(tag)
  }
  return { session, sequence, digest }
}

/** The rules a header keeps, whoever made it. */
function checkHeader(header: RecordHeader): void {
  checkLength('publisher', header.publisherKey, PUBLIC_KEY_BYTES)
  checkLength('body_hash', header.bodyHash, HASH_BYTES)
  if (!isSession(header.session)) {
    throw recordError('field', 'the session is not 16 hex digits other than 0')
  }
  if (!isChannel(header.channel)) {
    throw recordError('topic', 'the channel is not one that a topic can have')
  }
  checkTime(header)
  checkCounts(header)
  checkChain(header)
  if (header.compression !== 0) {
    throw recordError('field', `compression ${header.compression} is not known here`)
  }
  if ((header.flags & ~KNOWN_FLAGS) !== 0 || header.flags > KNOWN_FLAGS) {
    throw recordError('field', `flags ${header.flags} are not known here`)
  }
}

function checkTime({ time }: RecordHeader): void {
  const { ms, counter } = time
  const valid =
    Number.isInteger(ms) &&
    ms >= 0 &&
    ms <= GREATEST_MS &&
    Number.isInteger(counter) &&
    counter >= 0 &&
    counter <= 0xffff
  if (!valid) throw recordError('field', 'the time is not 48 bits of ms and 16 of counter')
}

function checkCounts(header: RecordHeader): void {
  const { first, count, bodyLength, flags } = header
  if (!Number.isSafeInteger(first) || first < 1) {
    throw recordError('count', `the first sequence is ${first}; sequences start at 1`)
  }
  if (!Number.isInteger(count) || count < 1 || count > LIMITS.batchMessages) {
    throw recordError('count', `the count ${count} is not within 1 to ${LIMITS.batchMessages}`)
  }
  if (!Number.isSafeInteger(first + count)) {
    throw recordError('count', 'the last sequence is beyond 2^53 - 1')
  }
  if (!Number.isInteger(bodyLength) || bodyLength < 1 || bodyLength > LIMITS.pushBytes) {
    throw recordError('limit', `a body of ${bodyLength} bytes is not within 1 to the record limit`)
  }
  // Each message takes two bytes at least, so a header cannot promise more than its body can hold.
  if ((flags & FLAGS.control) === 0 && bodyLength < 2 * count) {
    throw recordError('count', `${count} messages do not fit a body of ${bodyLength} bytes`)
  }
}

function checkChain(header: RecordHeader): void {
  const { first, previous, before, flags } = header
  const chained = (flags & FLAGS.ephemeral) === 0
  if ((previous !== undefined) !== (chained && first > 1)) {
    throw recordError('field', 'previous belongs in every chained record but a session’s first')
  }
  if (previous !== undefined) checkLength('previous', previous, HASH_BYTES)
  if (before === undefined) return
  if (!chained || first !== 1) {
    throw recordError('field', 'before belongs in a session’s first record only')
  }
  checkLength('before.digest', before.digest, HASH_BYTES)
  if (!isSession(before.session) || before.session >= header.session) {
    throw recordError('field', 'before.session is not a session before this one')
  }
  if (!Number.isSafeInteger(before.sequence) || before.sequence < 1) {
    throw recordError('count', 'before.sequence is not a sequence')
  }
}

function checkLength(name: string, value: Uint8Array, length: number): void {
  if (value.length === length) return
  throw recordError('field', `${name} has ${value.length} bytes instead of ${length}`)
}

function sessionHalves(session: string): readonly [number, number] {
  return [Number.parseInt(session.slice(0, 8), 16), Number.parseInt(session.slice(8), 16)]
}
