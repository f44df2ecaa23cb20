import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { integer, optional, text } from '../api/parameters.ts'
import { json, jsonBody, route } from '../api/route.ts'
import { time } from '../api/shapes.ts'

const TAG = 'Dead letters'

const deadLetterSchema = z
  .object({
    id: z.string().meta({ description: 'That of the dead letter.' }),
    subscription: z.string(),
    topic: z.string(),
    messageId: z.string().meta({ description: 'That of the message.' }),
    publisher: z.string(),
    time,
    attempts: z.int(),
    reason: z.string(),
    error: z.string().optional(),
    since: time.meta({ description: 'When it was put away.' }),
    bytes: z.int()
  })
  .meta({ id: 'DeadLetter' })

const listDeadLetters = route({
  method: 'GET',
  path: '/v1/dlq',
  tag: TAG,
  operation: 'listDeadLetters',
  summary: "Dead letters of this node's durable subscriptions and members of groups.",
  description: 'Those that were not redriven, oldest first within a subscription.',
  query: {
    subscription: optional(text, 'Those of one subscription.'),
    limit: optional(integer(1, LIMITS.deadLettersListed), 'So many.', LIMITS.deadLettersListed)
  },
  answers: { 200: json(z.object({ deadLetters: z.array(deadLetterSchema) }), 'They.') }
})

const redrive = route({
  method: 'POST',
  path: '/v1/dlq/{subscription}/redrive',
  tag: TAG,
  operation: 'redrive',
  summary: 'Offers dead letters again to that subscription.',
  description: 'Without `ids`: all of them. In both errors `details.redriven` says how many were.',
  body: jsonBody(
    z.strictObject({ ids: z.array(z.string()).max(LIMITS.deadLettersListed).optional() })
  ),
  answers: { 200: json(z.object({ redriven: z.int() }), 'How many were.') },
  errors: ['ERR_SUBSCRIPTION_UNKNOWN', 'ERR_MESSAGE_UNKNOWN', 'ERR_BUSY']
})

export function addDeadLetterRoutes(api: Api, components: { node: SkeinNode }): void {
  const { node } = components
  api.add(listDeadLetters, async ({ query: { limit, subscription } }) => ({
    deadLetters: await node.deadLetters({
      limit,
      ...(subscription === undefined ? {} : { subscription })
    })
  }))
  api.add(redrive, async ({ path, readJson }) => {
    const { ids } = await readJson()
    return { redriven: await node.redrive(path.subscription, ids) }
  })
}
