import type { Events } from '../core/events.ts'

/** Where a subscription begins: only when it is created, for a durable one. */
export type From =
  /** What is published from now on. */
  | 'now'
  /** Everything held. */
  | 'earliest'
  /** The newest message of each topic, then what is published from now on. */
  | 'last'
  /** Everything published at or after a moment. */
  | Date
  /** Everything after a cursor: `message.cursor`, or an SSE event id. */
  | { readonly cursor: string }

/** What a message gives to its handler. */
export interface Message {
  /** `<publisher>/<session>/<sequence>/<channel>` */
  readonly id: string
  readonly topic: string
  readonly payload: Uint8Array
  readonly contentType: string | undefined
  readonly key: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** PeerId of the publishing node. */
  readonly publisher: string
  readonly session: string
  readonly sequence: number
  /** 0 to 9. */
  readonly priority: number
  /** When it was published, by the publisher's clock. */
  readonly time: Date
  readonly expiresAt: Date | undefined
  /** 1 at the first hand-over. */
  readonly attempt: number
  /** It came in after later messages of its log had been handed over, or from a session that had ended. */
  readonly late: boolean
  /**
   * In a group with `onPartition: { majority }`: rises whenever another member takes over the messages of this one's
   * key. What keeps the effects may refuse a lower one than it has seen for the key.
   */
  readonly fence: number | undefined
  /** Covers everything up to and including this message. Opaque, at most 200 bytes. */
  readonly cursor: string
  /** The payload as JSON. Throws ERR_PAYLOAD. */
  json<T = unknown>(): T
  /** The payload as UTF-8. */
  text(): string
  /**
   * Done with it. Resolves when written, in a group when another live member holds that, or where there is none;
   * nothing to do on an ephemeral subscription.
   */
  ack(): Promise<void>
  /** Not done: hand it over again, or put it away where its hand-overs are used up. */
  nack(options?: NackOptions): Promise<void>
}

export interface NackOptions {
  /** Hand it over again after so long, ms. Default 0. */
  readonly delayMs?: number | undefined
  /** What went wrong: it stands in the dead letter, 200 characters of it. Default: nothing. */
  readonly error?: string | undefined
  /** False: whom it was for has not seen it, and this hand-over does not count. Default true. */
  readonly counts?: boolean | undefined
}

/** Messages of one log that are missing. */
export interface Gap {
  readonly channel: string
  readonly publisher: string
  readonly session: string
  readonly from: number
  readonly to: number
  /**
   * `missing`: nobody here has them yet. `skipped`: passed over without them, they may come late. `trimmed`:
   * retention took them, here or at their publisher. `expired`: missing for longer than retention keeps them.
   * `lost`: their publisher says so. `damaged`: the disk lost them.
   */
  readonly reason: 'missing' | 'skipped' | 'trimmed' | 'expired' | 'lost' | 'damaged'
}

/** A dead letter that waits for somebody to look at it. */
export interface DeadLetterEntry extends DeadLetter {
  /** Of the dead letter itself. */
  readonly id: string
  /** When it was put away. */
  readonly since: Date
  /** Of the payload. */
  readonly bytes: number
}

/** Why a message was handed over for the last time. */
export type DeadLetterReason =
  /** Its consumer gave it back. */
  | 'nack'
  /** It was not acknowledged in time. */
  | 'ack timeout'
  /** Its handler threw. */
  | 'handler error'
  /** Its consumer, or the node, ended each time without a word. */
  | 'consumer ended'

/** A message that a durable subscription handed over `maxDeliveries` times in vain. */
export interface DeadLetter {
  readonly subscription: string
  /** Topic that it was published to. */
  readonly topic: string
  /** Id of the message, not of its dead letter. */
  readonly messageId: string
  /** PeerId of its publisher. */
  readonly publisher: string
  /** When it was published, by its publisher's clock. */
  readonly time: Date
  /** Hand-overs. */
  readonly attempts: number
  readonly reason: DeadLetterReason
  /** What its handler threw last. */
  readonly error: string | undefined
}

export interface SubscriptionEvents {
  /** A range is missing (`missing`: the subscription waits for it or will skip it) or was passed over. */
  gap: Gap
  /** A durable subscription has waited for a gap longer than `gapTimeoutMs`. */
  stalled: Gap
  /** A message used up its hand-overs, and is in `$dlq/<node>.<name>/<topic>` now, of a group in `$dlq/<name>/<topic>`. */
  'dead-letter': DeadLetter
  /** It ended by itself: stopped, or taken by an error. */
  end: { error: Error | undefined }
}

/**
 * Which messages of a topic filter are wanted, by their attributes: the dialects of the CloudEvents Subscriptions API.
 * An attribute is a header by its name, `topic`, `contenttype` or `datacontenttype`, `key` or `partitionkey`,
 * `publisher`, `priority`, an attribute of the message as a CloudEvent (`id`, `source`, `type`, `subject`), or
 * `data.<field>`: a top-level text, number or boolean of a JSON payload, as text. All attributes of one filter must
 * match; one that a message does not have never does.
 */
export type WhereFilter =
  | { readonly exact: Readonly<Record<string, string>> }
  | { readonly prefix: Readonly<Record<string, string>> }
  | { readonly suffix: Readonly<Record<string, string>> }
  | { readonly all: readonly WhereFilter[] }
  | { readonly any: readonly WhereFilter[] }
  | { readonly not: WhereFilter }

export interface SubscribeOptions {
  /** Name of this node's own durable cursor. */
  readonly durable?: string | undefined
  /**
   * Name of a work group, whose members in the mesh share its messages: each is acknowledged by one of them. It is
   * durable by itself, so that `durable` and `group` together are ERR_OPTIONS, and it begins at 'now', 'earliest' or a
   * date. Messages of one key are handed over one after the other.
   */
  readonly group?: string | undefined
  /**
   * What a group does whose members cannot all hear each other; it counts when the group is created, default
   * 'available': every part goes on with all messages, and some are handed over in several parts. `{ majority: N }`,
   * where the group never has more than N members (2 to 64): only a part with more than N/2 of them goes on.
   */
  readonly onPartition?: 'available' | { readonly majority: number } | undefined
  /** Default 'now'. */
  readonly from?: From | undefined
  /** Default: ephemeral always 'auto'; a durable iterator 'manual'. */
  readonly ack?: 'auto' | 'manual' | undefined
  /** Messages handed over and not acknowledged. Default 256, at most 1,024. */
  readonly maxInFlight?: number | undefined
  /** Handed over again when not acknowledged for so long. Default 30,000 ms. */
  readonly ackTimeoutMs?: number | undefined
  /**
   * Hand-overs that a message of a durable one, or of one member of a group, gets before it goes to the dead letters. Default 5; 0: no limit.
   * A nack, an acknowledgement that did not come in time, a handler that threw, and an end of the consumer count.
   */
  readonly maxDeliveries?: number | undefined
  /**
   * When a message is handed over again whose handler threw: after `minMs` (default 100) the first time, twice as
   * long each time, `maxMs` (default 30,000) at most, less up to half of it at random.
   */
  readonly retry?: { readonly minMs?: number | undefined; readonly maxMs?: number | undefined }
  /** Default 10,000 ms. */
  readonly gapTimeoutMs?: number | undefined
  /**
   * What a durable one does when a gap lasts longer than `gapTimeoutMs`: `wait` (default) until the range comes
   * or is final, or `skip` it; late arrivals are then handed over once, marked `late`.
   */
  readonly onGap?: 'wait' | 'skip' | undefined
  /**
   * Only messages for which every one of these is true; the rest is passed over like other topics. A durable one
   * keeps it, and another one for its name is ERR_SUBSCRIPTION_CONFLICT. At most 4 KiB as JSON, 64 filters and
   * attributes, 8 levels.
   */
  readonly where?: readonly WhereFilter[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** What to read of the past. */
export interface HistoryOptions {
  /** Published at or after this time, by their publishers' clocks. Default: all that is held. */
  readonly since?: Date | undefined
  /** Published before this time. Default: until now. */
  readonly until?: Date | undefined
  /** Messages at most. Default: no limit. */
  readonly limit?: number | undefined
  /** The only order there is, and the default: by hybrid time, then publisher, session, sequence. */
  readonly order?: 'time' | undefined
  /** Goes on after the message that has this `cursor`; valid on every node. Default: from the beginning. */
  readonly after?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface SubscriptionStatus {
  readonly filter: string
  /** Undefined for an ephemeral one. */
  readonly durable: string | undefined
  /** The work group that it is a member of. */
  readonly group?: string | undefined
  /** Someone is consuming it now. */
  readonly open: boolean
  /** Handed over and not acknowledged. */
  readonly inFlight: number
  /** Messages in the journals of its channels that it is not done with. Counts before filtering by topic. */
  readonly lag: number
  /** Gaps it waits for now. */
  readonly gaps: readonly Gap[]
  readonly createdAt: Date
  readonly channels: readonly string[]
  readonly where?: readonly WhereFilter[] | undefined
  /** What a durable one was registered with. Only where the subscriptions of a node are listed. */
  readonly limits?: SubscriptionLimits | undefined
}

/** The limits that a durable subscription keeps; whoever opens it may ask for others for that time. */
export interface SubscriptionLimits {
  readonly maxInFlight: number
  readonly ackTimeoutMs: number
  /** 0: no limit. */
  readonly maxDeliveries: number
  readonly gapTimeoutMs: number
  readonly onGap: 'wait' | 'skip'
}

/** A stream of messages. Consume it in one way only: iterate, `onMessage`, or `pull`. */
export interface Subscription extends AsyncIterable<Message> {
  readonly filter: string
  readonly durable: string | undefined
  /** The work group that it is a member of. */
  readonly group?: string | undefined
  /** Resolves when the cursor is stored and the channel joined. Rejects with what kept it from opening. */
  readonly ready: Promise<void>
  readonly events: Events<SubscriptionEvents>
  /**
   * Calls `handler` for each message, one after the other. A durable message is acknowledged when the handler
   * returns or its promise resolves, and handed over again when it throws or rejects.
   */
  onMessage(handler: (message: Message) => void | Promise<void>): void
  /** Up to `max` messages; waits up to `waitMs` for the first. Empty when none came, or when the subscription has ended. */
  pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]>
  /** Finds a message that is in flight by its id. */
  inFlight(id: string): Message | undefined
  status(): SubscriptionStatus
  /** Ends iteration, gives back what is unacknowledged; the durable cursor stays. Idempotent. */
  stop(): Promise<void>
}
