import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../core/limits.ts'
import type { HistoryOptions, SkeinNode } from '../node/contract.ts'
import { cloudEventJson } from './cloud-event.ts'
import type { DataEncoding } from './cloud-event.ts'
import { optionError, parseChoice, parseInteger, parseMoment, readQuery } from './query.ts'
import { goneSignal } from './waiting.ts'

export interface HistoryRouteComponents {
  readonly node: SkeinNode
  readonly signal: AbortSignal
}

/** One page that a client asks for. */
interface PageRequest {
  readonly filter: string
  readonly options: HistoryOptions
  readonly limit: number
  readonly encoding: DataEncoding
}

const PARAMETERS = ['filter', 'since', 'until', 'limit', 'after', 'data'] as const

function readPageRequest(target: string): PageRequest {
  const query = readQuery(target, PARAMETERS)
  const filter = query.get('filter')
  if (filter === undefined) {
    throw optionError('filter', 'is missing; add filter=<topic filter>, like filter=orders/%23.')
  }
  const since = query.get('since')
  const until = query.get('until')
  const limit = query.get('limit') ?? String(LIMITS.historyPage)
  return {
    filter,
    options: {
      since: since === undefined ? undefined : parseMoment(since, 'since'),
      until: until === undefined ? undefined : parseMoment(until, 'until'),
      after: query.get('after')
    },
    limit: parseInteger(limit, 'limit', [1, LIMITS.pullMessages]),
    encoding: parseChoice(query.get('data') ?? 'auto', 'data', ['auto', 'base64'])
  }
}

/** The page as JSON: it ends early where it would be long, and says where to go on unless it is the last. */
async function pageOf(node: SkeinNode, wanted: PageRequest, signal: AbortSignal): Promise<string> {
  const { encoding, filter, limit, options } = wanted
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
    const event = cloudEventJson(message, encoding)
    events.push(event)
    length += event.length
    last = message.cursor
  }
  const rest = next === undefined ? '' : `,"next":${JSON.stringify(next)}`
  return `{"messages":[${events.join(',')}]${rest}}`
}

export function addHistoryRoute(app: FastifyInstance, components: HistoryRouteComponents): void {
  const { node, signal } = components
  app.get('/v1/history', async (request, reply) => {
    const wanted = readPageRequest(request.raw.url ?? '')
    const until = AbortSignal.any([signal, goneSignal(reply.raw)])
    const page = await pageOf(node, wanted, until)
    return reply
      .type('application/json; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(page)
  })
}
