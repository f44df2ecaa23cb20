import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import { SkeinError, isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Message } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { encoding } from '../api/parameters.ts'
import { json, jsonBody, route } from '../api/route.ts'
import { cloudEventSchema } from '../api/shapes.ts'
import { cloudEventJson } from '../events/cloud-event.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { goneSignal } from '../waiting.ts'

export interface PullComponents {
  readonly subscriptions: OpenSubscriptions
  /** Pulls wait no longer. */
  readonly draining: AbortSignal
}

const TAG = 'Durable subscriptions'
const ONE = '/v1/subscriptions/{name}'

const pullSchema = z.strictObject({
  max: z.int().min(1).max(LIMITS.pullMessages).default(1),
  waitMs: z.int().min(0).max(LIMITS.pullWaitMs).default(0)
})

const ackSchema = z.strictObject({
  ack: z.array(z.string()).max(LIMITS.cursorRanges).default([]),
  nack: z
    .array(
      z.strictObject({
        id: z.string(),
        delayMs: z.int().min(0).optional(),
        error: z.string().optional().meta({ description: 'Stands in the dead letter.' })
      })
    )
    .max(LIMITS.cursorRanges)
    .default([])
})

const pullMessages = route({
  method: 'POST',
  path: `${ONE}/pull`,
  tag: TAG,
  operation: 'pull',
  summary: 'Takes messages, and waits for them if told to.',
  query: { data: encoding },
  body: jsonBody(pullSchema),
  answers: {
    200: json(
      z.object({ messages: z.array(cloudEventSchema) }),
      'What came; empty where nothing did in time.'
    )
  },
  errors: ['ERR_SUBSCRIPTION_UNKNOWN', 'ERR_SUBSCRIPTION_IN_USE', 'ERR_STORE_FAILED']
})

const acknowledge = route({
  method: 'POST',
  path: `${ONE}/ack`,
  tag: TAG,
  operation: 'acknowledge',
  summary: 'Acknowledges messages, or gives them back.',
  description:
    'Where some are not in flight, `details` has `acked`, `nacked` and `unknown`; the others are done.',
  body: jsonBody(ackSchema),
  answers: { 200: json(z.object({ acked: z.int(), nacked: z.int() }), 'That is written.') },
  errors: ['ERR_MESSAGE_UNKNOWN', 'ERR_SUBSCRIPTION_UNKNOWN']
})

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

function addPullRoute(api: Api, { draining, subscriptions }: PullComponents): void {
  api.add(pullMessages, async ({ path, query, readJson, reply }) => {
    const range = await readJson()
    const until = AbortSignal.any([draining, goneSignal(reply.raw)])
    const messages = await subscriptions.pull(path.name, range, until)
    const events = messages.map((message) => cloudEventJson(message, query.data))
    reply.hijack()
    if (!(await sendWhole(reply, `{"messages":[${events.join(',')}]}`))) await giveBack(messages)
  })
}

function addAckRoute(api: Api, { subscriptions }: PullComponents): void {
  api.add(acknowledge, async ({ path: { name }, readJson }) => {
    const wanted = await readJson()
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
        wanted.nack.map(({ id, ...options }) => settle(id, (message) => message.nack(options)))
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

/** How a client takes messages of a durable subscription, and says what became of them. */
export function addPullRoutes(api: Api, components: PullComponents): void {
  addPullRoute(api, components)
  addAckRoute(api, components)
}
