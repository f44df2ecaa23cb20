import { LIMITS } from '../core/limits.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { ProtoReader, recordError } from '../wire/protobuf.ts'
import { isSession } from '../wire/session.ts'

/** One message of a record that was published under an id. */
interface IdOfMessage {
  readonly sequence: number
  readonly id: string
  /** SHA-256 of what the id stands for, 32 bytes. */
  readonly fingerprint: Uint8Array
}

/** The ids of one record, as they stand beside it on disk. */
export interface IdRow {
  readonly channel: string
  readonly session: string
  /** Time of the record, ms. */
  readonly timeMs: number
  /** Wall clock when it was written, ms. */
  readonly writtenAt: number
  readonly messages: readonly IdOfMessage[]
}

const FIELD = { channel: 1, session: 2, timeMs: 3, writtenAt: 4, message: 5 } as const
const MESSAGE = { sequence: 1, id: 2, fingerprint: 3 } as const

export function encodeIdRow(row: IdRow): Uint8Array {
  const writer = new ProtoWriter()
  writer.text(FIELD.channel, row.channel).text(FIELD.session, row.session)
  writer.number(FIELD.timeMs, row.timeMs).number(FIELD.writtenAt, row.writtenAt)
  for (const { sequence, id, fingerprint } of row.messages) {
    const fields = new ProtoWriter().number(MESSAGE.sequence, sequence).text(MESSAGE.id, id)
    writer.message(FIELD.message, fields.bytes(MESSAGE.fingerprint, fingerprint))
  }
  return writer.finish()
}

/** Throws ERR_RECORD where the bytes are no row. */
export function decodeIdRow(bytes: Uint8Array): IdRow {
  const reader = new ProtoReader(bytes)
  const row = { channel: '', session: '', timeMs: 0, writtenAt: 0 }
  const messages: IdOfMessage[] = []
  while (reader.position < reader.end) {
    const tag = reader.tag()
    switch (tag >>> 3) {
      case FIELD.channel:
        row.channel = reader.text(LIMITS.topicBytes)
        break
      case FIELD.session:
        row.session = reader.text(16)
        break
      case FIELD.timeMs:
        row.timeMs = reader.varint()
        break
      case FIELD.writtenAt:
        row.writtenAt = reader.varint()
        break
      case FIELD.message:
        messages.push(decodeMessage(reader.view()))
        break
      default:
        reader.skip(tag)
    }
  }
  if (!isSession(row.session)) throw recordError('field', 'a row of ids names no session')
  return { ...row, messages }
}

function decodeMessage(bytes: Uint8Array): IdOfMessage {
  const reader = new ProtoReader(bytes)
  let sequence = 0
  let id = ''
  let fingerprint: Uint8Array = new Uint8Array()
  while (reader.position < reader.end) {
    const tag = reader.tag()
    switch (tag >>> 3) {
      case MESSAGE.sequence:
        sequence = reader.varint()
        break
      case MESSAGE.id:
        id = reader.text(LIMITS.fieldBytes)
        break
      case MESSAGE.fingerprint:
        fingerprint = reader.view()
        break
      default:
        reader.skip(tag)
    }
  }
  return { sequence, id, fingerprint }
}
