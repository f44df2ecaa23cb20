import { ProtoReader, recordError, WIRE } from './protobuf.ts'
import { ProtoWriter } from './proto-writer.ts'
import { isSession } from './session.ts'

/** What a publisher says of a range of one of its own logs in the same channel: the body of a control record. */
export interface Statement {
  readonly session: string
  readonly from: number
  readonly to: number
  /** `trimmed`: its retention took it. `lost`: its disk did. Nobody will get it from its publisher again. */
  readonly reason: 'trimmed' | 'lost'
}

const REASONS = ['trimmed', 'lost'] as const

/** A statement as the body of a record: one protobuf message. */
export function encodeStatement({ from, reason, session, to }: Statement): Uint8Array {
  return new ProtoWriter()
    .bytes(1, Buffer.from(session, 'hex'))
    .number(2, from)
    .number(3, to)
    .number(4, REASONS.indexOf(reason) + 1)
    .finish()
}

/** Reads what `encodeStatement` wrote. Undefined for a reason that a later version made up. Throws ERR_RECORD. */
export function decodeStatement(bytes: Uint8Array): Statement | undefined {
  const reader = new ProtoReader(bytes)
  let session = ''
  const numbers: Record<number, number> = {}
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) session = reader.view().toString('hex')
    else if ((tag & 7) === WIRE.varint) numbers[tag >>> 3] = reader.varint()
    else reader.skip(tag)
  }
  const [from, to] = [numbers[2] ?? 0, numbers[3] ?? 0]
  if (!isSession(session) || from < 1 || to < from) {
    throw recordError('field', 'a statement names no range of a log')
  }
  const reason = REASONS[(numbers[4] ?? 0) - 1]
  return reason === undefined ? undefined : { session, from, to, reason }
}
