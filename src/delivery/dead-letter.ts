import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import { LOCAL_DEAD_LETTERS } from '../wire/channel-scope.ts'
import { textSize } from '../wire/protobuf.ts'
import { isChannel } from '../wire/topic.ts'
import type { DeadLetter, DeadLetterReason } from './contract.ts'
import type { DeliveredMessage } from './message.ts'

/** Why the last hand-over of a message failed. */
export interface Failure {
  readonly reason: DeadLetterReason
  /** What the handler threw. */
  readonly error?: string | undefined
  /** False: the hand-over does not count. */
  readonly counts?: boolean | undefined
}

/** Headers of a dead letter. */
const HEADER = {
  reason: 'skein-reason',
  error: 'skein-error',
  attempts: 'skein-attempts',
  subscription: 'skein-subscription',
  topic: 'skein-topic',
  id: 'skein-id',
  publisher: 'skein-publisher',
  time: 'skein-time',
  /** How many headers of the message found no room beside these. */
  cut: 'skein-headers-cut'
} as const

const OWN_HEADERS: ReadonlySet<string> = new Set(Object.values(HEADER))
/** Of what a handler threw, so much is kept. */
const ERROR_CHARACTERS = 200

/**
 * The channel of a subscription's dead letters: `$dlq/<node>.<name>`, and `$dlq/@<node>.<name>`, which never leaves
 * the node, where its messages were sent to this node alone. Throws ERR_OPTIONS where the names are too long for a
 * channel once wildcards in them are written out.
 */
export function deadLetterChannel(node: string, name: string, filter: string): string {
  const prefix = filter.startsWith('@') ? LOCAL_DEAD_LETTERS : '$dlq/'
  const channel = `${prefix}${node}.${name.replaceAll(/[%+#\0\p{Surrogate}]/gu, percentEncoded)}`
  if (isChannel(channel)) return channel
  throw new SkeinError(
    'ERR_OPTIONS',
    `durable: with the name '${name}' its dead letters would have no valid topic; take a shorter name without '+' and '#'`,
    { details: { option: 'durable' } }
  )
}

/** The channel of a group's dead letters: `$dlq/<name>`. Throws ERR_OPTIONS where the name is too long for it. */
export function groupDeadLetterChannel(group: string): string {
  const channel = `$dlq/${group.replaceAll(/[%+#\0\p{Surrogate}]/gu, percentEncoded)}`
  if (isChannel(channel)) return channel
  throw new SkeinError(
    'ERR_OPTIONS',
    `group: with the name '${group}' its dead letters would have no valid topic; take a shorter one`,
    { details: { option: 'group' } }
  )
}

function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`
}

/** What is told of a message when it is put away. */
export function describeDeadLetter(
  subscription: string,
  message: DeliveredMessage,
  { attempts, error, reason }: Failure & { attempts: number }
): DeadLetter {
  const { id, publisher, time, topic } = message
  return { subscription, topic, messageId: id, publisher, time, attempts, reason, error }
}

/** A message that used up its hand-overs, as it was published, and what is known of it in headers. */
export function deadLetterMessage(
  channel: string,
  { contentType, headers, key, payload }: DeliveredMessage,
  letter: DeadLetter
): Outgoing {
  const suffix = `/${letter.topic}`
  const suffixBytes = Buffer.from(suffix)
  return {
    topic: { topic: channel + suffix, channel, suffix, suffixBytes },
    suffix,
    suffixBytes,
    payload,
    contentType,
    key,
    headers: withOrigin(headers, letter)
  }
}

function withOrigin(
  headers: Readonly<Record<string, string>>,
  letter: DeadLetter
): Record<string, string> {
  const all: Record<string, string> = {
    [HEADER.reason]: letter.reason,
    [HEADER.attempts]: String(letter.attempts),
    [HEADER.subscription]: letter.subscription,
    [HEADER.topic]: letter.topic,
    [HEADER.id]: letter.messageId,
    [HEADER.publisher]: letter.publisher,
    [HEADER.time]: letter.time.toISOString()
  }
  const error = letter.error?.slice(0, ERROR_CHARACTERS)
  if (error !== undefined) all[HEADER.error] = error
  let room = LIMITS.headersBytes - HEADER.cut.length - 5
  for (const [name, value] of Object.entries(all)) room -= textSize(name) + textSize(value)
  let cut = 0
  for (const [name, value] of Object.entries(headers)) {
    if (OWN_HEADERS.has(name)) continue
    const size = textSize(name) + textSize(value)
    if (size > room) cut++
    else {
      room -= size
      all[name] = value
    }
  }
  if (cut > 0) all[HEADER.cut] = String(cut)
  return all
}
/** What the headers of a dead letter say; undefined where it is none of a subscription. */
export function readDeadLetter(
  headers: Readonly<Record<string, string>> | undefined
): DeadLetter | undefined {
  if (headers === undefined) return undefined
  const [subscription, topic, messageId] = [HEADER.subscription, HEADER.topic, HEADER.id].map(
    (name) => headers[name]
  )
  if (subscription === undefined || topic === undefined || messageId === undefined) return undefined
  return {
    subscription,
    topic,
    messageId,
    publisher: headers[HEADER.publisher] ?? '',
    time: new Date(headers[HEADER.time] ?? 0),
    attempts: Number(headers[HEADER.attempts]),
    reason: headers[HEADER.reason] as DeadLetterReason,
    error: headers[HEADER.error]
  }
}

/** The headers that the message itself had. */
export function ownHeaders(
  headers: Readonly<Record<string, string>> | undefined
): Record<string, string> | undefined {
  const own = Object.entries(headers ?? {}).filter(([name]) => !OWN_HEADERS.has(name))
  return own.length === 0 ? undefined : Object.fromEntries(own)
}
