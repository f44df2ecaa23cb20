import { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { json, plain, route } from '../api/route.ts'
import { subscriberSchema, time } from '../api/shapes.ts'
import type { Figures } from '../figures.ts'

const TAG = 'Node'

/** Answers as long as the process does, a node that is stopping included. */
export const ALIVE_ROUTE = '/healthz'

/** Text format of Prometheus. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const statusSchema = z
  .object({
    peerId: z.string(),
    name: z.string(),
    mesh: z.string(),
    version: z.string(),
    startedAt: time,
    ready: z.boolean(),
    addresses: z.array(z.string()),
    dataDir: z.string().optional(),
    networkKeyId: z.string().optional().meta({ description: 'Left out in an open mesh.' }),
    peers: z.object({ connected: z.int(), known: z.int() }),
    store: z.object({
      condition: z.string(),
      epoch: z.string(),
      bytes: z.int(),
      records: z.int(),
      freeBytes: z.int().optional(),
      reserveBytes: z.int()
    }),
    topics: z.array(z.string()).meta({ description: 'Channels held.' }),
    subscriptions: z.int().meta({ description: 'Consumed now.' }),
    published: z.int().meta({ description: 'Since the start.' }),
    delivered: z.int().meta({ description: 'Since the start.' }),
    outbox: z.int().meta({ description: 'Messages to single peers that wait.' }),
    subscribers: z.array(subscriberSchema)
  })
  .meta({ id: 'NodeStatus' })

const peerSchema = z
  .object({
    peerId: z.string(),
    name: z.string().optional().meta({ description: 'Left out until it has told it.' }),
    state: z.enum(['up', 'suspect', 'down']),
    since: time.optional().meta({ description: 'When it changed to that state.' }),
    lastSeen: time.optional(),
    custodian: z.boolean().meta({ description: 'It keeps messages for peers that are away.' }),
    addresses: z.array(z.string()),
    connected: z.boolean().meta({ description: 'It is a neighbour.' }),
    channels: z.array(z.string()),
    services: z.array(z.string()),
    roundTripMs: z.number().optional()
  })
  .meta({ id: 'Peer' })

const topicSchema = z
  .object({
    channel: z.string(),
    joined: z.boolean(),
    members: z.int().meta({ description: 'Other connected nodes.' }),
    messages: z.int(),
    bytes: z.int(),
    journal: z.object({ first: z.int(), next: z.int() }),
    logs: z.array(
      z.object({
        publisher: z.string(),
        session: z.string(),
        floor: z.int(),
        head: z.int(),
        missing: z.array(z.object({ from: z.int(), to: z.int() }))
      })
    )
  })
  .meta({ id: 'Channel' })

const topologySchema = z
  .object({
    peerId: z.string(),
    name: z.string().optional(),
    state: z.enum(['up', 'suspect', 'down']),
    lastSeen: time.optional(),
    downSince: time.optional().meta({ description: 'When it went down, where it is.' }),
    connectedTo: z
      .array(z.string())
      .optional()
      .meta({ description: 'PeerIds; left out where it did not tell.' })
  })
  .meta({ id: 'MeshNode' })

const getStatus = route({
  method: 'GET',
  path: '/v1/status',
  tag: TAG,
  operation: 'getStatus',
  summary: 'The node.',
  answers: { 200: json(statusSchema, 'What it is and does.') }
})

const listPeers = route({
  method: 'GET',
  path: '/v1/peers',
  tag: TAG,
  operation: 'listPeers',
  summary: 'Peers it knows.',
  answers: { 200: json(z.array(peerSchema), 'The peers.') }
})

const listTopics = route({
  method: 'GET',
  path: '/v1/topics',
  tag: TAG,
  operation: 'listTopics',
  summary: 'Channels it holds or is a member of.',
  answers: { 200: json(z.array(topicSchema), 'The channels.') }
})

const getTopology = route({
  method: 'GET',
  path: '/v1/topology',
  tag: TAG,
  operation: 'getTopology',
  summary: 'Who is connected to whom in the mesh, as far as the node knows.',
  answers: { 200: json(z.object({ nodes: z.array(topologySchema) }), 'The nodes, its own first.') }
})

const getMetrics = route({
  method: 'GET',
  path: '/metrics',
  tag: TAG,
  operation: 'getMetrics',
  summary: 'Prometheus figures.',
  answers: { 200: plain('text/plain', 'In the text format of Prometheus.') }
})

const isAlive = route({
  method: 'GET',
  path: ALIVE_ROUTE,
  tag: TAG,
  operation: 'isAlive',
  summary: 'Answers while the process does.',
  access: 'anyone',
  answers: { 200: json(z.object({ healthy: z.literal(true) }), 'It does.') }
})

const isReady = route({
  method: 'GET',
  path: '/readyz',
  tag: TAG,
  operation: 'isReady',
  summary: 'Does the node take messages? Peers do not matter.',
  access: 'anyone',
  answers: { 200: json(z.object({ ready: z.literal(true) }), 'It does.') },
  errors: ['ERR_STORE_WRITE']
})

export function addStatusRoutes(api: Api, components: { node: SkeinNode; figures: Figures }): void {
  const { figures, node } = components
  api.add(getStatus, async () => {
    const status = node.status()
    // A store that cannot be read keeps nobody from hearing just that.
    return { ...status, subscribers: status.ready ? await node.subscribers() : [] }
  })
  api.add(listPeers, () => node.peers())
  api.add(listTopics, () => node.topics())
  api.add(getTopology, async () => ({ nodes: await node.topology() }))
  api.add(isAlive, () => ({ healthy: true }))
  api.add(isReady, () => {
    if (node.status().ready) return { ready: true }
    throw new SkeinError(
      'ERR_STORE_WRITE',
      'The node does not take messages now: its store is not open or it does not listen.'
    )
  })
  api.add(getMetrics, async ({ reply }) => {
    reply.type(METRICS_TYPE)
    return `${await node.metrics()}${figures.text()}`
  })
}
