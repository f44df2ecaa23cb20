import { type DecodedMessage, decodeMessages } from '../wire/body.ts'
import type { SealedRecord } from '../wire/record.ts'

/** Records whose messages are kept decoded: enough for subscriptions that read the same record one after the other. */
const KEPT = 4

/**
 * Decodes records for all subscriptions of a node. Only the newest few stay decoded: the messages of a whole live
 * tail would outlive the garbage collector's first generation and cost more than decoding one of them again.
 */
export class Decoder {
  readonly #kept: { record: SealedRecord; messages: readonly DecodedMessage[] }[] = []

  /** Throws ERR_RECORD for a body that is no list of messages. */
  messagesOf(record: SealedRecord): readonly DecodedMessage[] {
    for (const kept of this.#kept) if (kept.record === record) return kept.messages
    const messages = decodeMessages(record.body, record.header.count)
    if (this.#kept.length >= KEPT) this.#kept.shift()
    this.#kept.push({ record, messages })
    return messages
  }
}
