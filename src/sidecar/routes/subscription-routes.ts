import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import type { From, SkeinNode, WhereFilter } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { empty, json, jsonBody, route } from '../api/route.ts'
import { gapSchema, subscriberSchema, time } from '../api/shapes.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { optionError, parseFrom } from '../query.ts'
import { webhookSchema, webhookStatusSchema } from '../webhooks/webhook.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'

export interface SubscriptionRoutesComponents {
  readonly node: SkeinNode
  readonly subscriptions: OpenSubscriptions
  readonly webhooks: Webhooks
}

const fromSchema = z.union([z.string(), z.strictObject({ cursor: z.string() })])

const registrationSchema = z.strictObject({
  filter: z.string(),
  group: z.boolean().optional().meta({
    description: 'It is the work group of that name, in which this node takes part.'
  }),
  onPartition: z
    .union([
      z.literal('available'),
      z.strictObject({ majority: z.int().min(2).max(LIMITS.groupMajority) })
    ])
    .optional()
    .meta({ description: 'Of a group, when it is made. Default `available`.' }),
  from: fromSchema.optional(),
  maxInFlight: z.int().min(1).max(LIMITS.cursorRanges).optional(),
  ackTimeoutMs: z.int().min(LIMITS.ackTimeoutLeastMs).optional(),
  maxDeliveries: z.int().min(0).optional(),
  gapTimeoutMs: z.int().min(0).optional(),
  onGap: z.enum(['wait', 'skip']).optional(),
  // What stands in it is judged by the node, which names the place of a mistake.
  where: z
    .custom<readonly WhereFilter[]>(Array.isArray, 'is not an array of filters')
    .optional()
    .meta({ type: 'array', items: { type: 'object' } }),
  webhook: webhookSchema.optional().meta({ description: 'An object, or its `url` alone.' })
})

const TAG = 'Durable subscriptions'
const ROOT = '/v1/subscriptions'
const ONE = `${ROOT}/{name}` as const

const limitsSchema = z.object({
  maxInFlight: z.int(),
  ackTimeoutMs: z.int(),
  maxDeliveries: z.int().meta({ description: '0: no limit.' }),
  gapTimeoutMs: z.int(),
  onGap: z.enum(['wait', 'skip'])
})

const subscriptionSchema = z
  .object({
    filter: z.string(),
    durable: z.string().optional(),
    group: z.string().optional(),
    open: z.boolean().meta({ description: 'Somebody consumes it now.' }),
    inFlight: z.int().meta({ description: 'Handed over and not acknowledged.' }),
    lag: z.int().meta({
      description: 'Messages of its channels that it is not done with, counted before the filter.'
    }),
    gaps: z.array(gapSchema).meta({ description: 'It waits for them.' }),
    createdAt: time,
    channels: z.array(z.string()),
    where: z.array(z.unknown()).optional(),
    limits: limitsSchema.optional(),
    webhook: webhookStatusSchema.optional()
  })
  .meta({ id: 'Subscription' })

const listSubscriptions = route({
  method: 'GET',
  path: ROOT,
  tag: TAG,
  operation: 'listSubscriptions',
  summary: 'All durable subscriptions of this node, and those known of the mesh.',
  answers: {
    200: json(
      z.object({
        subscriptions: z.array(subscriptionSchema),
        subscribers: z.array(subscriberSchema)
      }),
      'Those of this node, and every one of the mesh that it knows of.'
    )
  }
})

const getSubscription = route({
  method: 'GET',
  path: ONE,
  tag: TAG,
  operation: 'getSubscription',
  summary: 'One of them.',
  answers: { 200: json(subscriptionSchema, 'The subscription.') },
  errors: ['ERR_SUBSCRIPTION_UNKNOWN']
})

const putSubscription = route({
  method: 'PUT',
  path: ONE,
  tag: TAG,
  operation: 'putSubscription',
  summary: 'Registers one.',
  body: jsonBody(registrationSchema),
  answers: {
    200: json(subscriptionSchema, 'It was there, with the same filter.'),
    201: json(subscriptionSchema, 'It is new.')
  },
  errors: [
    'ERR_FILTER',
    'ERR_CURSOR_UNKNOWN',
    'ERR_SUBSCRIPTION_CONFLICT',
    'ERR_SUBSCRIPTION_IN_USE',
    'ERR_TOO_MANY_CHANNELS',
    'ERR_STORE_WRITE',
    'ERR_STORE_FAILED'
  ]
})

const deleteSubscription = route({
  method: 'DELETE',
  path: ONE,
  tag: TAG,
  operation: 'deleteSubscription',
  summary: 'Deletes it and its cursor; of a work group, ends the part of this node in it.',
  answers: { 204: empty('It is gone.') },
  errors: ['ERR_SUBSCRIPTION_UNKNOWN', 'ERR_SUBSCRIPTION_IN_USE']
})

const skipGaps = route({
  method: 'POST',
  path: `${ONE}/skip`,
  tag: TAG,
  operation: 'skipGaps',
  summary: 'Gives up the gaps that it waits for.',
  body: jsonBody(z.strictObject({})),
  answers: {
    200: json(z.object({ skipped: z.array(gapSchema) }), 'They are given up for this node.')
  },
  errors: ['ERR_SUBSCRIPTION_UNKNOWN']
})

function fromOf(from: z.output<typeof fromSchema> | undefined): From | undefined {
  return typeof from === 'string' ? parseFrom(from, 'from') : from
}

export function addSubscriptionRoutes(api: Api, components: SubscriptionRoutesComponents): void {
  const { node, subscriptions, webhooks } = components
  const describe = async (name: string): Promise<object> => ({
    ...(await subscriptions.describe(name)),
    webhook: webhooks.status(name)
  })
  api.add(listSubscriptions, async () => {
    const [own, subscribers] = await Promise.all([node.subscriptions(), node.subscribers()])
    const shown = own.map((status) => ({
      ...status,
      webhook: webhooks.status(status.durable ?? '')
    }))
    return { subscriptions: shown, subscribers }
  })
  api.add(getSubscription, ({ path }) => describe(path.name))
  api.add(putSubscription, async ({ path: { name }, readJson, reply }) => {
    const { filter, from, group = false, onPartition, webhook, ...limits } = await readJson()
    const options = { ...limits, from: fromOf(from) }
    if (!group && onPartition !== undefined) {
      throw optionError('onPartition', 'only a group has parts; add "group": true.')
    }
    const created = group
      ? await subscriptions.registerGroup(name, filter, { ...options, onPartition })
      : await subscriptions.register(name, filter, options)
    await (webhook === undefined ? webhooks.remove(name) : webhooks.put(name, webhook))
    return reply.code(created ? 201 : 200).send(await describe(name))
  })
  api.add(deleteSubscription, async ({ path: { name } }) => {
    await subscriptions.describe(name)
    await webhooks.remove(name)
    await subscriptions.delete(name)
  })
  api.add(skipGaps, async ({ path, readJson }) => {
    await readJson()
    return { skipped: await node.skipGaps(path.name) }
  })
}
