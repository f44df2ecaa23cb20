import { LIMITS } from '../core/limits.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { ProtoReader, recordError, WIRE } from '../wire/protobuf.ts'

/** One record on one stream of its own or after others; each is answered. */
export const CUSTODY_PROTOCOL = '/skein/custody/1.0.0'

/** A record that its sender wants to be kept for somebody. Protobuf: `record` = 1, `ageMs` = 2. */
export interface CustodyOffer {
  readonly record: Uint8Array
  readonly ageMs: number
}

/** Kept, synced; or why not. Protobuf: `kept` = 1, `reason` = 2. */
export type CustodyAnswer =
  | { readonly kept: true }
  | { readonly kept: false; readonly reason: string }

const FIRST_VARINT = (1 << 3) | WIRE.varint
const FIRST_BYTES = (1 << 3) | WIRE.bytes
const SECOND_VARINT = (2 << 3) | WIRE.varint
const SECOND_BYTES = (2 << 3) | WIRE.bytes

export function encodeOffer({ ageMs, record }: CustodyOffer): Uint8Array {
  return new ProtoWriter()
    .bytes(1, record)
    .number(2, Math.max(0, Math.floor(ageMs)))
    .finish()
}

/** Throws ERR_RECORD where it is malformed. */
export function decodeOffer(frame: Uint8Array): CustodyOffer {
  const reader = new ProtoReader(frame)
  let record: Uint8Array | undefined
  let ageMs = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === FIRST_BYTES) record = reader.view()
    else if (tag === SECOND_VARINT) ageMs = reader.varint()
    else reader.skip(tag)
  }
  if (record === undefined) throw recordError('field', 'an offer has no record')
  return { record, ageMs }
}

export function encodeAnswer(answer: CustodyAnswer): Uint8Array {
  const writer = new ProtoWriter().flag(1, answer.kept)
  return answer.kept ? writer.finish() : writer.text(2, answer.reason).finish()
}

/** Throws ERR_RECORD where it is malformed. */
export function decodeAnswer(frame: Uint8Array): CustodyAnswer {
  const reader = new ProtoReader(frame)
  let kept = false
  let reason = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === FIRST_VARINT) kept = reader.varint() === 1
    else if (tag === SECOND_BYTES) reason = reader.text(LIMITS.fieldBytes)
    else reader.skip(tag)
  }
  return kept ? { kept } : { kept, reason }
}
