import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { From, SkeinNode, Subscription } from '../node/contract.ts'
import type { DataEncoding } from './cloud-event.ts'
import { EventStream, eventText } from './event-stream.ts'
import type { GroupOptions, OpenSubscriptions } from './open-subscriptions.ts'
import { errorOfRequest } from './problem.ts'
import {
  optionError,
  parseChoice,
  parseFrom,
  parseInteger,
  parseOnPartition,
  parseWhere,
  readQuery
} from './query.ts'
import type { RouteConfig } from './route-config.ts'
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
  readonly group: string | undefined
  readonly options: GroupOptions
  readonly encoding: DataEncoding
  readonly acknowledge: boolean
}

const PARAMETERS = [
  'filter',
  'from',
  'where',
  'durable',
  'group',
  'onPartition',
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

type Query = ReadonlyMap<string, string>

/** Throws ERR_OPTIONS where parameters do not go together. */
function assertTogether(query: Query): void {
  const durable = query.get('durable')
  const group = query.get('group')
  const isKept = durable !== undefined || group !== undefined
  if (durable !== undefined && group !== undefined) {
    throw optionError('group', 'a group is durable by itself; leave durable=<name> out.')
  }
  if (!isKept && query.get('ack') === 'manual') {
    throw optionError(
      'ack',
      'only a durable subscription or a group can be acknowledged; add durable=<name> or group=<name>.'
    )
  }
  if (!isKept && query.has('onGap')) {
    throw optionError('onGap', 'only a durable subscription waits at gaps; add durable=<name>.')
  }
  if (group === undefined && query.has('onPartition')) {
    throw optionError('onPartition', 'only a group has parts; add group=<name>.')
  }
  if (durable === undefined && !query.has('filter')) {
    throw optionError('filter', 'is missing; add filter=<topic filter>, like filter=orders/%23.')
  }
}

/** What `parse` makes of a parameter, where it is given. */
function optional<Value>(
  query: Query,
  name: string,
  parse: (text: string, name: string) => Value
): Value | undefined {
  const text = query.get(name)
  return text === undefined ? undefined : parse(text, name)
}

function readStreamRequest(request: FastifyRequest): StreamRequest {
  const query = readQuery(request.raw.url ?? '', PARAMETERS)
  const durable = query.get('durable')
  const group = query.get('group')
  const isKept = durable !== undefined || group !== undefined
  const ack = parseChoice(query.get('ack') ?? (isKept ? 'manual' : 'auto'), 'ack', [
    'auto',
    'manual'
  ])
  assertTogether(query)
  return {
    filter: query.get('filter'),
    durable,
    group,
    options: {
      from: fromOf(request, query.get('from'), isKept),
      maxInFlight: optional(query, 'maxInFlight', (text, name) =>
        parseInteger(text, name, [1, LIMITS.cursorRanges])
      ),
      onGap: optional(query, 'onGap', (text, name) => parseChoice(text, name, ['wait', 'skip'])),
      onPartition: optional(query, 'onPartition', parseOnPartition),
      where: optional(query, 'where', parseWhere)
    },
    encoding: parseChoice(query.get('data') ?? 'auto', 'data', ['auto', 'base64']),
    acknowledge: isKept && ack === 'auto'
  }
}

async function openFor(
  wanted: StreamRequest,
  components: SubscribeComponents
): Promise<{ subscription: Subscription; close: () => Promise<void> }> {
  const { durable, filter, group, options } = wanted
  const { subscriptions } = components
  if (durable !== undefined) {
    const subscription = await subscriptions.take(durable, filter, options)
    return { subscription, close: () => subscriptions.release(durable, subscription) }
  }
  if (group !== undefined) {
    const subscription = await subscriptions.join(group, filter ?? '', options)
    return { subscription, close: () => subscriptions.release(group, subscription) }
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
  const { filter, durable, group } = subscription
  response.write(eventText('ready', JSON.stringify({ filter, durable, group })))
}

const config: RouteConfig = { stream: 'events' }

export function addSubscribeRoute(app: FastifyInstance, components: SubscribeComponents): void {
  const { logger } = components
  app.get('/v1/subscribe', { config }, async (request, reply) => {
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
