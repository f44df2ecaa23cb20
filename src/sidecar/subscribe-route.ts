import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { From, SkeinNode, Subscription } from '../node/contract.ts'
import type { DataEncoding } from './cloud-event.ts'
import { EventStream, eventText } from './event-stream.ts'
import type { OpenSubscriptions, RegistrationOptions } from './open-subscriptions.ts'
import { errorOfRequest } from './problem.ts'
import {
  optionError,
  parseChoice,
  parseFrom,
  parseInteger,
  parseWhere,
  readQuery
} from './query.ts'
import { goneSignal } from './waiting.ts'

export interface SubscribeComponents {
  readonly node: SkeinNode
  readonly logger: Logger
  readonly subscriptions: OpenSubscriptions
  readonly signal: AbortSignal
}

/** A request for an event stream. */
interface StreamRequest {
  readonly filter: string | undefined
  readonly durable: string | undefined
  readonly options: RegistrationOptions
  readonly encoding: DataEncoding
  readonly acknowledge: boolean
}

const PARAMETERS = [
  'filter',
  'from',
  'where',
  'durable',
  'ack',
  'maxInFlight',
  'onGap',
  'data'
] as const

/** `Last-Event-ID` says where a stream broke off; a durable one knows by itself. */
function fromOf(
  request: FastifyRequest,
  from: string | undefined,
  durable: boolean
): From | undefined {
  const lastEventId = request.headers['last-event-id']
  if (!durable && typeof lastEventId === 'string' && lastEventId !== '') {
    return { cursor: lastEventId }
  }
  return from === undefined ? undefined : parseFrom(from, 'from')
}

function readStreamRequest(request: FastifyRequest): StreamRequest {
  const query = readQuery(request.raw.url ?? '', PARAMETERS)
  const filter = query.get('filter')
  const durable = query.get('durable')
  const maxInFlight = query.get('maxInFlight')
  const onGap = query.get('onGap')
  const where = query.get('where')
  const isDurable = durable !== undefined
  const defaultAck = isDurable ? 'manual' : 'auto'
  const ack = parseChoice(query.get('ack') ?? defaultAck, 'ack', ['auto', 'manual'])
  if (!isDurable && ack === 'manual') {
    throw optionError('ack', 'only a durable subscription can be acknowledged; add durable=<name>.')
  }
  if (!isDurable && onGap !== undefined) {
    throw optionError('onGap', 'only a durable subscription waits at gaps; add durable=<name>.')
  }
  if (!isDurable && filter === undefined) {
    throw optionError('filter', 'is missing; add filter=<topic filter>, like filter=orders/%23.')
  }
  return {
    filter,
    durable,
    options: {
      from: fromOf(request, query.get('from'), isDurable),
      maxInFlight:
        maxInFlight === undefined
          ? undefined
          : parseInteger(maxInFlight, 'maxInFlight', [1, LIMITS.cursorRanges]),
      onGap: onGap === undefined ? undefined : parseChoice(onGap, 'onGap', ['wait', 'skip']),
      where: where === undefined ? undefined : parseWhere(where, 'where')
    },
    encoding: parseChoice(query.get('data') ?? 'auto', 'data', ['auto', 'base64']),
    acknowledge: isDurable && ack === 'auto'
  }
}

async function openFor(
  wanted: StreamRequest,
  components: SubscribeComponents
): Promise<{ subscription: Subscription; close: () => Promise<void> }> {
  const { durable, filter, options } = wanted
  if (durable !== undefined) {
    const { subscriptions } = components
    const subscription = await subscriptions.take(durable, filter, options)
    return { subscription, close: () => subscriptions.release(durable, subscription) }
  }
  const subscription = components.node.subscribe(filter ?? '', options)
  try {
    await subscription.ready
  } catch (error) {
    await subscription.stop()
    throw error
  }
  return { subscription, close: () => subscription.stop() }
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
  const { filter, durable } = subscription
  response.write(eventText('ready', JSON.stringify({ filter, durable })))
}

export function addSubscribeRoute(app: FastifyInstance, components: SubscribeComponents): void {
  const { logger } = components
  app.get('/v1/subscribe', async (request, reply) => {
    const wanted = readStreamRequest(request)
    const gone = goneSignal(reply.raw)
    const { subscription, close } = await openFor(wanted, components)
    const signal = AbortSignal.any([components.signal, gone])
    beginStream(reply, subscription)
    const stream = new EventStream(
      { subscription, response: reply.raw, signal },
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
