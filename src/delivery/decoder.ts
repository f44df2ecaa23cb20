import { type DecodedMessage, decodeMessages } from '../wire/body.ts'
import { isInbox } from '../wire/inbox-receipt.ts'
import { FLAGS, type SealedRecord } from '../wire/record.ts'

/** Records whose messages are kept decoded: enough for subscriptions that read the same record one after the other. */
const KEPT = 4

/** Opens the sealed messages of a record; undefined for a message that cannot be opened. */
export type Unseal = (
  record: SealedRecord
) => ((message: DecodedMessage) => DecodedMessage | undefined) | undefined

export interface DecoderInit {
  /** Asked for records of `@` channels only; undefined where a record's messages are not for this node. */
  readonly unseal?: Unseal | undefined
}

/** With this suffix a topic has a first level that no filter can name and no wildcard matches. */
const NOWHERE = '\0'

/**
 * Decodes records for all subscriptions of a node. Only the newest few stay decoded: the messages of a whole live
 * tail would outlive the garbage collector's first generation and cost more than decoding one of them again.
 */
export class Decoder {
  /** Messages in this node's inbox that could not be opened. Counted again when they are read again. */
  unreadable = 0
  readonly #kept: { record: SealedRecord; messages: readonly DecodedMessage[] }[] = []
  readonly #unseal: Unseal | undefined

  constructor(init: DecoderInit = {}) {
    this.#unseal = init.unseal
  }

  /**
   * The messages of a record, those of this node's inbox opened, with the suffix they were sealed with. One that
   * cannot be opened keeps its place and matches no filter. Throws ERR_RECORD for a body that is no list of messages.
   */
  messagesOf(record: SealedRecord): readonly DecodedMessage[] {
    for (const kept of this.#kept) if (kept.record === record) return kept.messages
    // What a publisher says of its own logs is for the store, not for subscribers.
    if ((record.header.flags & FLAGS.control) !== 0) return []
    const decoded = decodeMessages(record.body, record.header.count)
    const messages = isInbox(record.header.channel) ? this.#opened(record, decoded) : decoded
    if (this.#kept.length >= KEPT) this.#kept.shift()
    this.#kept.push({ record, messages })
    return messages
  }

  #opened(record: SealedRecord, messages: readonly DecodedMessage[]): readonly DecodedMessage[] {
    const open = this.#unseal?.(record)
    if (open === undefined) return messages
    return messages.map((message) => {
      const opened = open(message)
      if (opened !== undefined) return opened
      this.unreadable++
      return { ...message, suffix: NOWHERE }
    })
  }
}
