import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import {
  type ValuesOf,
  encoding,
  integer,
  moment,
  needed,
  optional,
  text
} from '../api/parameters.ts'
import { json, route } from '../api/route.ts'
import { cloudEventSchema } from '../api/shapes.ts'
import { cloudEventJson } from '../events/cloud-event.ts'
import { goneSignal } from '../waiting.ts'

export interface HistoryRouteComponents {
  readonly node: SkeinNode
  readonly signal: AbortSignal
}

const readHistory = route({
  method: 'GET',
  path: '/v1/history',
  tag: 'History',
  operation: 'readHistory',
  summary: 'Messages that this node holds, in the order of time.',
  description:
    'Oldest first, by the hybrid clock of their publishers. What has expired is left out, and nothing is fetched from other nodes.',
  query: {
    filter: needed(text, 'Topic filter.', 'add filter=<topic filter>, like filter=orders/%23'),
    since: optional(moment, 'Published then or later.'),
    until: optional(moment, 'Published before.'),
    limit: optional(
      integer(1, LIMITS.pullMessages),
      'Messages in this page. It ends early at some 512 KiB.',
      LIMITS.historyPage
    ),
    after: optional(text, '`next` of the page before.'),
    data: encoding
  },
  answers: {
    200: json(
      z.object({
        messages: z.array(cloudEventSchema),
        next: z
          .string()
          .optional()
          .meta({ description: 'Where to go on, on any node; left out on the last page.' })
      }),
      'A page.'
    )
  },
  errors: ['ERR_FILTER', 'ERR_CURSOR_UNKNOWN', 'ERR_ABORTED', 'ERR_STORE_FAILED']
})

/** One page that a client asks for. */
type PageRequest = ValuesOf<typeof readHistory.query & {}>

/** The page as JSON: it ends early where it would be long, and says where to go on unless it is the last. */
async function pageOf(node: SkeinNode, wanted: PageRequest, signal: AbortSignal): Promise<string> {
  const { data, filter, limit, ...options } = wanted
  const events: string[] = []
  let length = 0
  let last: string | undefined
  let next: string | undefined
  // One more tells whether there is one.
  for await (const message of node.history(filter, { ...options, limit: limit + 1, signal })) {
    if (events.length === limit || length > LIMITS.sseBatchBytes) {
      next = last
      break
    }
    const event = cloudEventJson(message, data)
    events.push(event)
    length += event.length
    last = message.cursor
  }
  const rest = next === undefined ? '' : `,"next":${JSON.stringify(next)}`
  return `{"messages":[${events.join(',')}]${rest}}`
}

export function addHistoryRoute(api: Api, components: HistoryRouteComponents): void {
  const { node, signal } = components
  api.add(readHistory, ({ query, reply }) => {
    reply.type('application/json; charset=utf-8')
    return pageOf(node, query, AbortSignal.any([signal, goneSignal(reply.raw)]))
  })
}
