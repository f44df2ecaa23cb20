import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import { textSize } from '../wire/protobuf.ts'
import { parseTopic } from '../wire/topic.ts'

/** A message to one peer, its data encoded already. */
export interface OutboundMessage {
  /** PeerId of the recipient. */
  readonly to: PeerId
  /** What its recipient sees behind `@<itself>/`. */
  readonly topic: string
  readonly payload: Uint8Array
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default LIMITS.inboxTtlMs, at most LIMITS.inboxTtlMaxMs. */
  readonly ttlMs?: number | undefined
  /** Default 0. */
  readonly custodians?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A message that is on its way. */
export interface SentMessage {
  readonly id: string
  /** PeerId of the recipient. */
  readonly to: PeerId
  readonly time: Date
  /** Resolves on the recipient's receipt. Rejects with ERR_TIMEOUT or ERR_STOPPED. */
  readonly delivered: Promise<void>
}

/** Where messages go whose recipient gave no receipt in time. Does not leave this node. */
export const OUTBOX_DEAD_LETTERS = '$dlq/outbox'

/** Throws ERR_TOPIC, ERR_HEADERS_TOO_LARGE, ERR_OPTIONS for what could not be sent, or not be a dead letter later. */
export function assertSendable(message: OutboundMessage): void {
  const { custodians, headers, topic, ttlMs } = message
  parseTopic(topic)
  // Behind the inbox of the recipient and behind the channel of dead letters: whichever is longer.
  for (const prefix of [`@${message.to}/`, `${OUTBOX_DEAD_LETTERS}/`]) {
    const levels = (prefix + topic).split('/').length
    if (levels > LIMITS.topicLevels || textSize(prefix + topic) > LIMITS.topicBytes) {
      const bytes = LIMITS.topicBytes - textSize(prefix)
      const most = LIMITS.topicLevels - prefix.split('/').length + 1
      throw new SkeinError(
        'ERR_TOPIC',
        `the topic of a message to one peer has at most ${most} levels and ${bytes} bytes here; shorten '${topic.slice(0, 40)}'`
      )
    }
  }
  checkNumber('ttlMs', ttlMs, 1, LIMITS.inboxTtlMaxMs)
  checkNumber('custodians', custodians, 0, LIMITS.replicas)
  let size = LIMITS.deadLetterHeadersBytes
  for (const [name, value] of Object.entries(headers ?? {}))
    size += textSize(name) + textSize(value)
  if (size > LIMITS.headersBytes) {
    throw new SkeinError(
      'ERR_HEADERS_TOO_LARGE',
      `the headers of a message to one peer take at most ${LIMITS.headersBytes - LIMITS.deadLetterHeadersBytes} bytes`
    )
  }
}

function checkNumber(
  option: string,
  value: number | undefined,
  least: number,
  greatest: number
): void {
  if (value === undefined) return
  if (Number.isInteger(value) && value >= least && value <= greatest) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `${option}: ${value} is not a whole number from ${least} to ${greatest}`,
    { details: { option } }
  )
}
