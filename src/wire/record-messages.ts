import { type DecodedMessage, decodeMessages } from './body.ts'
import type { SealedRecord } from './record.ts'

const decoded = new WeakMap<SealedRecord, readonly DecodedMessage[]>()

/** The messages of a record, decoded once for as long as the record lives. Throws ERR_RECORD. */
export function messagesOf(record: SealedRecord): readonly DecodedMessage[] {
  let messages = decoded.get(record)
  if (messages === undefined) {
    messages = decodeMessages(record.body, record.header.count)
    decoded.set(record, messages)
  }
  return messages
}
