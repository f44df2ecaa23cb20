import { z } from 'zod'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { empty, json, route } from '../api/route.ts'
import { time } from '../api/shapes.ts'
import { webhookStatusSchema } from '../webhooks/webhook.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'

const TAG = 'Work groups'

const groupSchema = z
  .object({
    name: z.string(),
    filter: z.string(),
    onPartition: z.union([z.literal('available'), z.object({ majority: z.int() })]),
    createdAt: time,
    open: z.boolean().meta({ description: 'This node has a member.' }),
    lag: z.int(),
    members: z.array(
      z.object({
        peerId: z.string(),
        node: z.string().optional().meta({ description: 'Name of its node, where it is known.' }),
        state: z
          .enum(['live', 'silent', 'gone'])
          .meta({ description: '`silent`: not heard since this node started.' }),
        slots: z.int().meta({ description: 'Of 256 in all.' })
      })
    ),
    webhook: webhookStatusSchema.optional()
  })
  .meta({ id: 'Group' })

const listGroups = route({
  method: 'GET',
  path: '/v1/groups',
  tag: TAG,
  operation: 'listGroups',
  summary: 'The work groups that this node knows.',
  answers: { 200: json(z.object({ groups: z.array(groupSchema) }), 'The groups.') }
})

const deleteGroup = route({
  method: 'DELETE',
  path: '/v1/groups/{name}',
  tag: TAG,
  operation: 'deleteGroup',
  summary: 'Ends one in the whole mesh, with all that is known of what was done.',
  answers: { 204: empty('It has ended.') },
  errors: ['ERR_SUBSCRIPTION_IN_USE', 'ERR_SUBSCRIPTION_UNKNOWN']
})

export function addGroupRoutes(
  api: Api,
  components: { node: SkeinNode; webhooks: Pick<Webhooks, 'status'> }
): void {
  const { node, webhooks } = components
  api.add(listGroups, async () => {
    const groups = await node.groups()
    return { groups: groups.map((group) => ({ ...group, webhook: webhooks.status(group.name) })) }
  })
  api.add(deleteGroup, ({ path }) => node.forgetGroup(path.name))
}
