import { z } from 'zod'
import { isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPeerId } from '../wire/peer-id.ts'
import { asBuffer } from '../wire/protobuf.ts'
import { parseFilter } from '../wire/topic.ts'

/** The channel in which every node says what durable subscriptions it has. */
export const SUBSCRIBERS_CHANNEL = '$subscribers'

/** What is said of one durable subscription. */
export interface SubscriptionFacts {
  readonly filter: string
  /** Wall clock of its node, ms. */
  readonly createdAt: number
}

/** Greatest time a Date can hold, ms. */
const GREATEST_MS = 8.64e15

const facts = z.object({
  filter: z.string().refine(isFilter),
  createdAt: z.number().int().nonnegative().max(GREATEST_MS)
})

/**
 * The topic under which a peer's subscription is said, `$subscribers/<peer id>/<name>`, what a topic cannot have in
 * the form %2B; undefined where the name does not fit a topic even so.
 */
export function subscriberTopic(peerId: string, name: string): string | undefined {
  if (/\p{Surrogate}/u.test(name)) return undefined
  const topic = `${SUBSCRIBERS_CHANNEL}/${peerId}/${escapeName(name)}`
  return Buffer.byteLength(topic) <= LIMITS.topicBytes ? topic : undefined
}

/** Whose subscription a topic of the channel is about; undefined where it is no such topic. */
export function parseSubscriberSuffix(
  suffix: string
): { peerId: string; name: string } | undefined {
  const [empty, peerId, escaped, ...more] = suffix.split('/')
  if (empty !== '' || peerId === undefined || escaped === undefined || more.length > 0) {
    return undefined
  }
  const name = escaped.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16))
  )
  // Each name has one topic, or a second value would stand beside the first.
  const isValid = name !== '' && escapeName(name) === escaped && isPeerId(peerId)
  return isValid ? { peerId, name } : undefined
}

export function encodeSubscriptionFacts({ createdAt, filter }: SubscriptionFacts): Uint8Array {
  return Buffer.from(JSON.stringify({ filter, createdAt: Math.floor(createdAt) }))
}

/** undefined where the payload is malformed. */
export function decodeSubscriptionFacts(payload: Uint8Array): SubscriptionFacts | undefined {
  let value: unknown
  try {
    value = JSON.parse(asBuffer(payload).toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  const result = facts.safeParse(value)
  return result.success ? result.data : undefined
}

function escapeName(name: string): string {
  return name.replaceAll(
    /[%+#/\0]/g,
    (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  )
}

function isFilter(text: string): boolean {
  try {
    parseFilter(text)
    return true
  } catch (error) {
    if (isSkeinError(error, 'ERR_FILTER')) return false
    throw error
  }
}
