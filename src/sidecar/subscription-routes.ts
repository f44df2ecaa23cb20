import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { From, Message, SkeinNode, WhereFilter } from '../node/contract.ts'
import { cloudEventJson } from './cloud-event.ts'
import type { OpenSubscriptions } from './open-subscriptions.ts'
import { decodeSegment, parseChoice, parseFrom, pathOf, readQuery } from './query.ts'
import { readJson } from './request-body.ts'
import { goneSignal } from './waiting.ts'
import { webhookSchema } from './webhooks/webhook.ts'
import type { Webhooks } from './webhooks/webhooks.ts'

export interface SubscriptionRoutesComponents {
  readonly node: SkeinNode
  readonly subscriptions: OpenSubscriptions
  readonly webhooks: Webhooks
  readonly signal: AbortSignal
  /** Pulls wait no longer. */
  readonly draining: AbortSignal
}

const fromSchema = z.union([z.string(), z.strictObject({ cursor: z.string() })])

const registrationSchema = z.strictObject({
  filter: z.string(),
  from: fromSchema.optional(),
  maxInFlight: z.int().min(1).max(LIMITS.cursorRanges).optional(),
  ackTimeoutMs: z.int().min(LIMITS.ackTimeoutLeastMs).optional(),
  maxDeliveries: z.int().min(0).optional(),
  gapTimeoutMs: z.int().min(0).optional(),
  onGap: z.enum(['wait', 'skip']).optional(),
  // What stands in it is judged by the node, which names the place of a mistake.
  where: z.custom<readonly WhereFilter[]>(Array.isArray, 'is not an array of filters').optional(),
  webhook: webhookSchema.optional()
})

const pullSchema = z.strictObject({
  max: z.int().min(1).max(LIMITS.pullMessages).default(1),
  waitMs: z.int().min(0).max(LIMITS.pullWaitMs).default(0)
})

const ackSchema = z.strictObject({
  ack: z.array(z.string()).max(LIMITS.cursorRanges).default([]),
  nack: z
    .array(z.strictObject({ id: z.string(), delayMs: z.int().min(0).optional() }))
    .max(LIMITS.cursorRanges)
    .default([])
})

const ROOT = '/v1/subscriptions'

function nameOf(request: FastifyRequest): string {
  const rest = pathOf(request.raw.url ?? '').slice(ROOT.length + 1)
  const slash = rest.indexOf('/')
  return decodeSegment(slash === -1 ? rest : rest.slice(0, slash), 'name')
}

function fromOf(from: z.output<typeof fromSchema> | undefined): From | undefined {
  return typeof from === 'string' ? parseFrom(from, 'from') : from
}

/** Gives messages back for which no client stands any more. */
async function giveBack(messages: readonly Message[]): Promise<void> {
  await Promise.allSettled(messages.map((message) => message.nack()))
}

/**
 * Sends a JSON answer. False: the connection was lost before the socket had taken all of it. A destroyed socket
 * completes its pending writes without an error, and the response then emits 'finish', so neither tells alone.
 */
function sendWhole(reply: FastifyReply, json: string): Promise<boolean> {
  const response = reply.raw
  const { socket } = response
  return new Promise((resolve) => {
    if (socket === null || socket.destroyed) {
      resolve(false)
      return
    }
    response.once('close', () => resolve(false))
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) response.setHeader(name, value)
    }
    response.writeHead(200, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(json)
    })
    response.write(json, 'utf8', (error) => resolve(!error && !socket.destroyed))
    response.end()
  })
}

function addPullRoute(app: FastifyInstance, components: SubscriptionRoutesComponents): void {
  const { draining, subscriptions, signal } = components
  app.post(`${ROOT}/:name/pull`, async (request, reply) => {
    const query = readQuery(request.raw.url ?? '', ['data'])
    const encoding = parseChoice(query.get('data') ?? 'auto', 'data', ['auto', 'base64'])
    const range = await readJson(request.raw, pullSchema, signal)
    const response = reply.raw
    const until = AbortSignal.any([draining, goneSignal(response)])
    const messages = await subscriptions.pull(nameOf(request), range, until)
    const events = messages.map((message) => cloudEventJson(message, encoding))
    reply.hijack()
    if (!(await sendWhole(reply, `{"messages":[${events.join(',')}]}`))) await giveBack(messages)
  })
}

function addAckRoute(app: FastifyInstance, components: SubscriptionRoutesComponents): void {
  const { subscriptions, signal } = components
  app.post(`${ROOT}/:name/ack`, async (request) => {
    readQuery(request.raw.url ?? '', [])
    const name = nameOf(request)
    const wanted = await readJson(request.raw, ackSchema, signal)
    const unknown: string[] = []
    const settle = async (
      id: string,
      how: (message: Message) => Promise<void>
    ): Promise<number> => {
      const message = subscriptions.inFlight(name, id)
      if (message === undefined) {
        unknown.push(id)
        return 0
      }
      try {
        await how(message)
        return 1
      } catch (error) {
        if (!isSkeinError(error, 'ERR_MESSAGE_UNKNOWN')) throw error
        unknown.push(id)
        return 0
      }
    }
    const [acks, nacks] = await Promise.all([
      Promise.all(wanted.ack.map((id) => settle(id, (message) => message.ack()))),
      Promise.all(
        wanted.nack.map(({ id, delayMs }) =>
          settle(id, (message) => message.nack(delayMs === undefined ? {} : { delayMs }))
        )
      )
    ])
    const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0)
    const done = { acked: sum(acks), nacked: sum(nacks) }
    if (unknown.length === 0) return done
    await subscriptions.describe(name)
    throw new SkeinError(
      'ERR_MESSAGE_UNKNOWN',
      `${unknown.length} of the messages are not in flight on '${name}' (acknowledged already, or their time ran out); the others are done.`,
      { details: { ...done, unknown } }
    )
  })
}

export function addSubscriptionRoutes(
  app: FastifyInstance,
  components: SubscriptionRoutesComponents
): void {
  const { node, subscriptions, signal, webhooks } = components
  const describe = async (name: string): Promise<object> => ({
    ...(await subscriptions.describe(name)),
    webhook: webhooks.status(name)
  })
  app.get(ROOT, async (request) => {
    readQuery(request.raw.url ?? '', [])
    const [own, subscribers] = await Promise.all([node.subscriptions(), node.subscribers()])
    const shown = own.map((status) => ({
      ...status,
      webhook: webhooks.status(status.durable ?? '')
    }))
    return { subscriptions: shown, subscribers }
  })
  app.get(`${ROOT}/:name`, async (request) => {
    readQuery(request.raw.url ?? '', [])
    return describe(nameOf(request))
  })
  app.put(`${ROOT}/:name`, async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    const name = nameOf(request)
    const { filter, from, webhook, ...limits } = await readJson(
      request.raw,
      registrationSchema,
      signal
    )
    const created = await subscriptions.register(name, filter, { ...limits, from: fromOf(from) })
    await (webhook === undefined ? webhooks.remove(name) : webhooks.put(name, webhook))
    return reply.code(created ? 201 : 200).send(await describe(name))
  })
  app.delete(`${ROOT}/:name`, async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    const name = nameOf(request)
    await subscriptions.describe(name)
    await webhooks.remove(name)
    await subscriptions.delete(name)
    return reply.code(204).send()
  })
  app.post(`${ROOT}/:name/skip`, async (request) => {
    readQuery(request.raw.url ?? '', [])
    const name = nameOf(request)
    await readJson(request.raw, z.strictObject({}), signal)
    return { skipped: await node.skipGaps(name) }
  })
  addPullRoute(app, components)
  addAckRoute(app, components)
}
