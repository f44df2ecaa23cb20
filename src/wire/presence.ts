import { z } from 'zod'
import { LIMITS } from '../core/limits.ts'
import { asBuffer } from './protobuf.ts'
import { isSession } from './session.ts'
import { isChannel } from './topic.ts'

/** The channel that announcements are sent in. */
export const PRESENCE_CHANNEL = '$presence'

/** How far one durable subscription of the announcing node is behind, in messages. */
interface SubscriptionLag {
  readonly name: string
  readonly lag: number
}

/**
 * What a node announces of itself, as JSON, on the topic `$presence/<peer id>`. Who announces is the publisher of
 * the record that carries it.
 */
export interface Announcement {
  readonly name: string
  /** 16 lower-case hex digits, another after each start. */
  readonly session: string
  /** The next announcement follows after this time, give or take a tenth. */
  readonly intervalMs: number
  /** It keeps messages for peers that are away. */
  readonly custodian: boolean
  /** Channels it holds for others. */
  readonly channels: readonly string[]
  readonly services: readonly string[]
  readonly groups: readonly string[]
  /** Its durable subscriptions, those that lag most first. */
  readonly subscriptions: readonly SubscriptionLag[]
  readonly addresses: readonly string[]
  /** It stops: nothing follows. */
  readonly bye?: true | undefined
}

/** Names stand in logs, on terminals and in topics. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
/** Bytes of one address: a multiaddr with a DNS name, a relay and two peer ids takes some 250. */
const ADDRESS_BYTES = 512

const isPrintable = (text: string): boolean => !/[\p{Cc}\p{Cs}]/u.test(text)

const subscriptionName = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text) <= LIMITS.nameBytes && !text.includes('/'))

const names = z
  .array(z.string().min(1).max(LIMITS.nameBytes).refine(isPrintable))
  .max(LIMITS.presenceNames)

// Fields that are not known here are left out, so that a later version may add some.
const announcement = z.object({
  name: z.string().max(LIMITS.nameBytes).regex(NAME),
  session: z.string().refine(isSession),
  intervalMs: z.number().int().min(1).max(LIMITS.presenceIntervalMaxMs),
  custodian: z.boolean(),
  channels: z.array(z.string().refine(isChannel)).max(LIMITS.presenceNames),
  services: names,
  groups: names,
  subscriptions: z
    .array(
      z.object({
        name: subscriptionName,
        lag: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)
      })
    )
    .max(LIMITS.presenceSubscriptions),
  addresses: z
    .array(
      z
        .string()
        .max(ADDRESS_BYTES)
        .regex(/^\/[!-~]+$/)
    )
    .max(LIMITS.presenceAddresses),
  bye: z.literal(true).optional()
})

/**
 * The announcement as JSON, within its limits: lists that are too long are cut, subscriptions with the least lag
 * go first, and where all is too large what is least needed is left out.
 */
export function encodeAnnouncement(said: Announcement): Uint8Array {
  const fitting = {
    ...said,
    channels: said.channels.slice(0, LIMITS.presenceNames),
    services: said.services.slice(0, LIMITS.presenceNames),
    groups: said.groups.slice(0, LIMITS.presenceNames),
    subscriptions: said.subscriptions
      .toSorted((a, b) => b.lag - a.lag)
      .slice(0, LIMITS.presenceSubscriptions),
    addresses: said.addresses.slice(0, LIMITS.presenceAddresses)
  }
  // Lags are looked at by people, channels by whoever seeks a holder, services and groups by who sends work.
  const shortened = ['subscriptions', 'channels', 'addresses', 'groups', 'services'] as const
  for (const list of shortened) {
    for (;;) {
      const bytes = Buffer.from(JSON.stringify(fitting))
      if (bytes.length <= LIMITS.presenceBytes) return bytes
      const { length } = fitting[list]
      if (length === 0) break
      Object.assign(fitting, { [list]: fitting[list].slice(0, Math.floor(length * 0.75)) })
    }
  }
  return Buffer.from(JSON.stringify(fitting))
}

/** The announcement in a payload; undefined where it is malformed or breaks a limit. */
export function decodeAnnouncement(payload: Uint8Array): Announcement | undefined {
  if (payload.length > LIMITS.presenceBytes) return undefined
  const result = announcement.safeParse(parseJson(payload))
  return result.success ? result.data : undefined
}

/** undefined, which no JSON stands for, where it is none: JSON.parse has no other way to say so than throwing. */
function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(asBuffer(payload).toString('utf8')) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
