import type { FastifyReply } from 'fastify'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { SkeinNode, Subscription } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import {
  type ValuesOf,
  choice,
  encoding,
  from,
  header,
  integer,
  onPartition,
  optional,
  text,
  where
} from '../api/parameters.ts'
import { events, route } from '../api/route.ts'
import { cloudEventSchema } from '../api/shapes.ts'
import type { DataEncoding } from '../events/cloud-event.ts'
import type { EventSharing } from '../events/event-sharing.ts'
import { EventStream, eventText } from '../events/event-stream.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { errorOfRequest } from '../problem.ts'
import { goneSignal } from '../waiting.ts'
import { type WantedSubscription, assertTogether, openFor } from './wanted-subscription.ts'

export interface SubscribeComponents {
  readonly node: SkeinNode
  readonly logger: Logger
  readonly subscriptions: OpenSubscriptions
  readonly sharing: EventSharing
  readonly signal: AbortSignal
}

const PARAMETERS = {
  filter: optional(text, 'Topic filter. Needed, except for a `durable` that is registered.'),
  from: optional(
    from,
    '`now` (default), `earliest`, `last` (newest message of each topic, then live), an RFC 3339 time, or `cursor:<cursor>`. For a durable one it counts only when it is created.'
  ),
  where: optional(where, 'Filters by attributes, as JSON.'),
  durable: optional(text, 'Name of a durable subscription: registered if it is new.'),
  group: optional(text, 'Name of a work group that this node takes part in: made if it is new.'),
  onPartition: optional(onPartition, 'Of a group, when it is made. Default `available`.'),
  ack: optional(
    choice('auto', 'manual'),
    'Only with `durable` or `group`. `manual` (its default): by the ack route. `auto`: when the socket has taken it.'
  ),
  maxInFlight: optional(
    integer(1, LIMITS.cursorRanges),
    'Messages handed over and not acknowledged. Default 256.'
  ),
  onGap: optional(
    choice('wait', 'skip'),
    'Only with `durable` or `group`. `wait` (default) for messages that are missing, or `skip` them.'
  ),
  data: encoding
}

const subscribe = route({
  method: 'GET',
  path: '/v1/subscribe',
  tag: 'Subscribe',
  operation: 'subscribe',
  summary: 'Messages as Server-Sent Events.',
  query: PARAMETERS,
  headers: {
    lastEventId: header(
      'Last-Event-ID',
      optional(
        text,
        'Resumes a stream without `durable` or `group` after the event of that id. Goes before `from`.'
      )
    )
  },
  answers: { 200: events(cloudEventSchema, 'Events `ready`, `message`, `gap` and `error`.') },
  errors: [
    'ERR_FILTER',
    'ERR_CURSOR_UNKNOWN',
    'ERR_SUBSCRIPTION_UNKNOWN',
    'ERR_SUBSCRIPTION_IN_USE',
    'ERR_SUBSCRIPTION_CONFLICT',
    'ERR_TOO_MANY_CHANNELS',
    'ERR_STORE_WRITE',
    'ERR_STORE_FAILED'
  ],
  config: { stream: 'events' }
})

type Query = ValuesOf<typeof PARAMETERS>

/** A request for an event stream. */
interface StreamRequest extends WantedSubscription {
  readonly encoding: DataEncoding
  readonly acknowledge: boolean
}

/** `lastEventId` says where a stream broke off; a durable one knows by itself. */
function streamRequestOf(query: Query, lastEventId = ''): StreamRequest {
  assertTogether(query)
  const { ack, data, durable, filter, group, ...options } = query
  const isKept = durable !== undefined || group !== undefined
  const resumes = !isKept && lastEventId !== ''
  return {
    filter,
    durable,
    group,
    options: resumes ? { ...options, from: { cursor: lastEventId } } : options,
    encoding: data,
    acknowledge: isKept && ack === 'auto'
  }
}

/** Sends the head of an event stream; from here on the response is written by hand. */
function beginStream(reply: FastifyReply, subscription: Subscription): void {
  reply.hijack()
  const response = reply.raw
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) response.setHeader(name, value)
  }
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no'
  })
  const { filter, durable, group } = subscription
  response.write(eventText('ready', JSON.stringify({ filter, durable, group })))
}

export function addSubscribeRoute(api: Api, components: SubscribeComponents): void {
  const { logger } = components
  api.add(subscribe, async ({ headers, query, reply }) => {
    const wanted = streamRequestOf(query, headers.lastEventId)
    const gone = goneSignal(reply.raw)
    const { subscription, close } = await openFor(wanted, components, 'stream')
    const signal = AbortSignal.any([components.signal, gone])
    beginStream(reply, subscription)
    const stream = new EventStream(
      { subscription, response: reply.raw, sharing: components.sharing, signal },
      { encoding: wanted.encoding, acknowledge: wanted.acknowledge }
    )
    try {
      await stream.run(errorOfRequest)
    } finally {
      await close().catch((error: unknown) => {
        logger.warn({ error, filter: subscription.filter }, 'a subscription could not be closed')
      })
    }
  })
}
