import { z } from 'zod'

/** A moment in an answer. */
export const time = z.iso.datetime()

/** Ranges of sequence numbers, ends included. */
export const gapSchema = z
  .object({
    channel: z.string(),
    publisher: z.string(),
    session: z.string(),
    from: z.int(),
    to: z.int(),
    reason: z.enum(['missing', 'skipped', 'lost', 'trimmed', 'expired', 'damaged'])
  })
  .meta({
    id: 'Gap',
    description:
      'Messages that are waited for (`missing`), passed over (`skipped`), or given up. Where retention of this node trimmed them, publisher and session are empty and the numbers are places in this node’s journal.'
  })

export const subscriberSchema = z
  .object({
    peerId: z.string(),
    node: z.string().optional().meta({ description: 'Name of its node, where it is known.' }),
    subscription: z.string(),
    filter: z.string(),
    lag: z.int().meta({
      description: 'What its node said last, and what was published here since.'
    }),
    state: z.enum(['up', 'suspect', 'down']),
    lastSeen: time.optional(),
    createdAt: time
  })
  .meta({ id: 'Subscriber', description: 'A durable subscription somewhere in the mesh.' })

const EVENT_TIME = z.string().meta({ format: 'date-time' })

/** A message as an event: what `cloudEventJson` writes. Extensions of its own stand beside. */
export const cloudEventSchema = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: z.string(),
    source: z.string().meta({ format: 'uri-reference' }),
    type: z.string(),
    subject: z.string().optional(),
    time: EVENT_TIME,
    sequence: z.string(),
    dataschema: z.string().optional(),
    datacontenttype: z.string().optional(),
    expirytime: EVENT_TIME.optional(),
    partitionkey: z.string().optional().meta({ description: 'Key.' }),
    skeinid: z.string().meta({ description: '<publisher>/<session>/<sequence>/<channel>' }),
    skeintopic: z.string(),
    skeinattempt: z.int().meta({ description: '1 at the first hand-over, 0 in history.' }),
    skeinfence: z.int().optional(),
    skeinlate: z.literal(true).optional(),
    skeinheaders: z.string().optional().meta({ description: 'Other headers, as JSON.' }),
    data: z.unknown().optional(),
    data_base64: z.string().optional()
  })
  .meta({ id: 'CloudEvent', description: 'A message as a CloudEvent 1.0.' })

/** A message that was published. */
export const publishedSchema = z
  .object({ id: z.string(), sequence: z.int(), time })
  .meta({ id: 'Published' })
