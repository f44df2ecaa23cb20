import { LIMITS } from '../core/limits.ts'
import { peerIdFromPublicKey, PUBLIC_KEY_BYTES, publicKeyFromPeerId } from './peer-id.ts'
import {
  ProtoReader,
  recordError,
  varintSize,
  WIRE,
  writeBytesField,
  writeFixed64Field,
  writeVarint
} from './protobuf.ts'
import { isSession } from './session.ts'
import { SIGNATURE_BYTES, type Signer, verifySignature } from './signature.ts'
import type { SequenceRange } from './vector.ts'

/** What a recipient holds, synced, of one log in its inbox. */
export interface InboxReceipt {
  /** PeerId of who received, and signed. */
  readonly recipient: string
  /** PeerId of the sender. */
  readonly publisher: string
  /** The sender's session. */
  readonly session: string
  /** Ascending, disjoint, not touching; 1 to LIMITS.receiptRanges. */
  readonly ranges: readonly SequenceRange[]
}

const TAG = {
  recipient: (1 << 3) | WIRE.bytes,
  publisher: (2 << 3) | WIRE.bytes,
  session: (3 << 3) | WIRE.fixed64,
  ranges: (4 << 3) | WIRE.bytes,
  signature: (5 << 3) | WIRE.bytes
} as const

const DOMAIN = Buffer.from('skein/inbox-receipt/1')
const SIGNATURE_FIELD_BYTES = 2 + SIGNATURE_BYTES

/** First character of an inbox channel. */
const AT = 0x40

/** The inbox channel of a peer. */
export function inboxChannel(peer: string): string {
  return `@${peer}`
}

/** Is `channel` somebody's inbox? One comparison, for hot paths. */
export function isInbox(channel: string): boolean {
  return channel.charCodeAt(0) === AT
}

/**
 * A receipt as bytes, one protobuf message: `recipient` = 1 and `publisher` = 2 (raw keys), `session` = 3 (fixed64),
 * `ranges` = 4 (packed: first and last of each), `signature` = 5 over a domain and what stands before it.
 */
export function signReceipt(receipt: Omit<InboxReceipt, 'recipient'>, signer: Signer): Uint8Array {
  const numbers = receipt.ranges.flatMap(({ from, to }) => [from, to])
  const packed = Buffer.allocUnsafe(numbers.reduce((sum, number) => sum + varintSize(number), 0))
  numbers.reduce((at, number) => writeVarint(packed, at, number), 0)
  const length = 2 * (2 + PUBLIC_KEY_BYTES) + 9 + 1 + varintSize(packed.length) + packed.length
  const bytes = Buffer.alloc(length + SIGNATURE_FIELD_BYTES)
  let at = writeBytesField(bytes, 0, TAG.recipient, signer.publicKey)
  at = writeBytesField(bytes, at, TAG.publisher, publicKeyFromPeerId(receipt.publisher))
  const { session } = receipt
  const halves = [session.slice(0, 8), session.slice(8)].map((half) => Number.parseInt(half, 16))
  at = writeFixed64Field(bytes, at, TAG.session, [halves[0] as number, halves[1] as number])
  at = writeBytesField(bytes, at, TAG.ranges, packed)
  const signature = signer.sign(Buffer.concat([DOMAIN, bytes.subarray(0, at)]))
  writeBytesField(bytes, at, TAG.signature, signature)
  return Uint8Array.from(bytes)
}

/** Reads and verifies a receipt. Throws ERR_RECORD where it is malformed or not signed by the recipient it names. */
export function openReceipt(bytes: Uint8Array): InboxReceipt {
  const reader = new ProtoReader(bytes)
  const recipient = readKey(reader, TAG.recipient)
  const publisher = readKey(reader, TAG.publisher)
  expectTag(reader, TAG.session)
  const session = reader.fixed64Hex()
  if (!isSession(session)) throw recordError('field', 'a receipt names no session')
  expectTag(reader, TAG.ranges)
  const ranges = readRanges(reader.view())
  const end = reader.position
  expectTag(reader, TAG.signature)
  const signature = reader.view()
  if (reader.position !== reader.end) throw recordError('field', 'something follows a receipt')
  const signed = Buffer.concat([DOMAIN, reader.bytes.subarray(0, end)])
  if (!verifySignature(recipient, signed, signature)) {
    throw recordError('signature', 'a receipt is not signed by the recipient it names')
  }
  return {
    recipient: peerIdFromPublicKey(recipient),
    publisher: peerIdFromPublicKey(publisher),
    session,
    ranges
  }
}

/** Is the message of that sequence among the ranges? */
export function covers(ranges: readonly SequenceRange[], sequence: number): boolean {
  return ranges.some(({ from, to }) => from <= sequence && sequence <= to)
}

function expectTag(reader: ProtoReader, tag: number): void {
  if (reader.tag() !== tag) throw recordError('field', 'a receipt has not the fields it must have')
}

function readKey(reader: ProtoReader, tag: number): Uint8Array {
  expectTag(reader, tag)
  const key = reader.view()
  if (key.length !== PUBLIC_KEY_BYTES) throw recordError('field', 'a receipt names no key')
  return key
}

function readRanges(packed: Buffer): SequenceRange[] {
  const reader = new ProtoReader(packed)
  const ranges: SequenceRange[] = []
  let above = -1
  while (reader.position < reader.end) {
    const from = reader.varint()
    const to = reader.varint()
    if (from < 1 || from <= above + 1 || to < from) {
      throw recordError('count', 'the ranges of a receipt are not ascending')
    }
    ranges.push({ from, to })
    above = to
  }
  if (ranges.length === 0 || ranges.length > LIMITS.receiptRanges) {
    throw recordError('limit', `a receipt has 1 to ${LIMITS.receiptRanges} ranges`)
  }
  return ranges
}
