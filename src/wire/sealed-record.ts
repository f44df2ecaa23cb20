import { createHash } from 'node:crypto'
import { LIMITS } from '../core/limits.ts'
import { decodeHeader, encodeHeader } from './header.ts'
import { peerIdFromPublicKey } from './peer-id.ts'
import { ProtoReader, recordError, varintSize, WIRE, writeBytesField } from './protobuf.ts'
import type { RecordHead, RecordHeader, SealedRecord } from './record.ts'
import { SIGNATURE_BYTES, verifySignature } from './signature.ts'
import type { Signer } from './signature.ts'

/** What a publisher gives to be sealed; the rest of the header follows from it and the signer. */
export interface RecordDraft extends Pick<
  RecordHeader,
  'session' | 'channel' | 'first' | 'count' | 'previous' | 'before' | 'time'
> {
  /** Default 0. */
  readonly flags?: number
  /** Copied, once. */
  readonly body: Uint8Array
}

export interface OpenOptions {
  /** Check the signature. Default true; false only for bytes whose digest was verified before. */
  readonly verify?: boolean
}

const TAG = {
  header: (1 << 3) | WIRE.bytes,
  signature: (2 << 3) | WIRE.bytes,
  body: (3 << 3) | WIRE.bytes
} as const

/** Keeps a record's digest from being the hash of anything else that is signed with the same key. */
const DOMAIN = Buffer.from('skein/record/1')

// Domain and header stand together here, so that the digest takes one call; nothing outlives a call.
const scratch = Buffer.allocUnsafeSlow(DOMAIN.length + LIMITS.headBytes)
DOMAIN.copy(scratch)

/** Tag, length and bytes of the signature. */
const SIGNATURE_FIELD_BYTES = 2 + SIGNATURE_BYTES

/** Seals a body: hashes, signs and lays out the record. Throws ERR_RECORD when the draft breaks a rule. */
export function sealRecord(draft: RecordDraft, signer: Signer): SealedRecord {
  const { body } = draft
  const header: RecordHeader = {
    publisherKey: signer.publicKey,
    publisher: peerIdFromPublicKey(signer.publicKey),
    session: draft.session,
    channel: draft.channel,
    first: draft.first,
    count: draft.count,
    previous: draft.previous,
    before: draft.before,
    time: draft.time,
    bodyLength: body.length,
    bodyHash: sha256(body),
    compression: 0,
    flags: draft.flags ?? 0
  }
  const end = encodeHeader(scratch, DOMAIN.length, header)
  const headerBytes = scratch.subarray(DOMAIN.length, end)
  const digest = sha256(scratch.subarray(0, end))
  const signature = signer.sign(digest)
  const headLength = fieldSize(headerBytes.length) + SIGNATURE_FIELD_BYTES
  const length = headLength + fieldSize(body.length)
  checkSizes(headLength, length)
  // Records are kept for long: one in Node's pool would keep 8 KiB of what is long gone along with it.
  const bytes = Buffer.allocUnsafeSlow(length)
  let at = writeBytesField(bytes, 0, TAG.header, headerBytes)
  at = writeBytesField(bytes, at, TAG.signature, signature)
  writeBytesField(bytes, at, TAG.body, body)
  return { header, digest, bytes, headLength, body: bytes.subarray(length - body.length) }
}

/**
 * Reads a whole record and checks everything that can be checked without its log: layout, limits, header rules,
 * hash of the body, signature. Throws ERR_RECORD; `details.reason` is a RecordReason.
 */
export function openRecord(bytes: Uint8Array, options: OpenOptions = {}): SealedRecord {
  if (bytes.length > LIMITS.pushBytes) {
    throw recordError('limit', `a record of ${bytes.length} bytes is larger than allowed`)
  }
  const reader = new ProtoReader(bytes)
  const head = readHead(reader)
  const length = readLength(reader, TAG.body, 'body')
  if (reader.position + length !== bytes.length) {
    throw recordError('field', 'something follows the body')
  }
  const { header } = head
  if (header.bodyLength !== length) {
    throw recordError('hash', 'the body has another length than its header says')
  }
  const body = reader.bytes.subarray(reader.position)
  if (!sha256(body).equals(header.bodyHash)) {
    throw recordError('hash', 'the body is not the one its header was signed for')
  }
  const record: SealedRecord = { ...head, bytes, body }
  if (options.verify !== false) assertSigned(record)
  return record
}

/**
 * Reads a record's head, which fills `bytes`. Checks layout, limits, header rules and, unless told otherwise,
 * the signature. Throws ERR_RECORD.
 */
export function openHead(bytes: Uint8Array, options: OpenOptions = {}): RecordHead {
  if (bytes.length > LIMITS.headBytes) {
    throw recordError('limit', `a head of ${bytes.length} bytes is larger than allowed`)
  }
  const reader = new ProtoReader(bytes)
  const head = readHead(reader)
  if (reader.position !== bytes.length)
    throw recordError('field', 'something follows the signature')
  if (options.verify !== false) assertSigned(head)
  return head
}

/** The head of a record, sharing its memory. */
export function headOf(record: SealedRecord): RecordHead {
  const { header, digest, headLength } = record
  return { header, digest, headLength, bytes: record.bytes.subarray(0, headLength) }
}

/** Is the signature in the head that of the publisher it names? */
export function verifyHead(head: RecordHead): boolean {
  const signature = head.bytes.subarray(head.headLength - SIGNATURE_BYTES, head.headLength)
  return verifySignature(head.header.publisherKey, head.digest, signature)
}

/** SHA-256 of `bytes`. */
export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function assertSigned(head: RecordHead): void {
  if (verifyHead(head)) return
  throw recordError('signature', 'the signature is not that of the publisher in the header')
}

/** Header and signature, in their only order; leaves the reader behind them. */
function readHead(reader: ProtoReader): RecordHead {
  const headerLength = readLength(reader, TAG.header, 'header')
  if (headerLength > LIMITS.headBytes) throw recordError('limit', 'the header is too large')
  const start = reader.position
  const headerBytes = reader.bytes.subarray(start, start + headerLength)
  reader.position = start + headerLength
  if (readLength(reader, TAG.signature, 'signature') !== SIGNATURE_BYTES) {
    throw recordError('field', `the signature has not ${SIGNATURE_BYTES} bytes`)
  }
  reader.position += SIGNATURE_BYTES
  const headLength = reader.position
  if (headLength > LIMITS.headBytes) throw recordError('limit', 'the head is too large')
  const header = decodeHeader(headerBytes)
  headerBytes.copy(scratch, DOMAIN.length)
  const digest = sha256(scratch.subarray(0, DOMAIN.length + headerLength))
  return { header, digest, bytes: reader.bytes.subarray(0, headLength), headLength }
}

/** The length of the field that must stand here, in its shortest form: the digest does not cover it. */
function readLength(reader: ProtoReader, tag: number, name: string): number {
  if (reader.position >= reader.end) throw recordError('truncated', `there is no ${name}`)
  if (reader.bytes[reader.position] !== tag) {
    throw recordError('field', `the ${name} does not stand in its place`)
  }
  reader.position++
  const start = reader.position
  const length = reader.length()
  if (reader.position - start !== varintSize(length)) {
    throw recordError('varint', `the length of the ${name} is not in its shortest form`)
  }
  return length
}

function checkSizes(headLength: number, length: number): void {
  if (headLength > LIMITS.headBytes || length > LIMITS.pushBytes) {
    throw recordError('limit', `a record of ${length} bytes, head ${headLength}, is too large`)
  }
}

function fieldSize(length: number): number {
  return 1 + varintSize(length) + length
}
