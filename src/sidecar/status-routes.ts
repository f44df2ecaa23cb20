import type { FastifyInstance } from 'fastify'
import { SkeinError } from '../core/errors.ts'
import type { SkeinNode } from '../node/contract.ts'
import type { Figures } from './figures.ts'
import { readQuery } from './query.ts'

/** Routes that answer everyone: supervisors have no token, and their Host is whatever they dial. */
export const OPEN_ROUTES: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

/** Answers as long as the process does, a node that is stopping included. */
export const ALIVE_ROUTE = '/healthz'

/** Text format of Prometheus. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export function addStatusRoutes(
  app: FastifyInstance,
  components: { node: SkeinNode; figures: Figures }
): void {
  const { figures, node } = components
  const answers: Readonly<Record<string, () => unknown>> = {
    '/v1/status': async () => {
      const status = node.status()
      // A store that cannot be read keeps nobody from hearing just that.
      return { ...status, subscribers: status.ready ? await node.subscribers() : [] }
    },
    '/v1/peers': () => node.peers(),
    '/v1/topics': () => node.topics(),
    '/v1/topology': async () => ({ nodes: await node.topology() }),
    '/healthz': () => ({ healthy: true }),
    '/readyz': () => {
      if (node.status().ready) return { ready: true }
      throw new SkeinError(
        'ERR_STORE_WRITE',
        'The node does not take messages now: its store is not open or it does not listen.'
      )
    }
  }
  for (const [url, answer] of Object.entries(answers)) {
    app.get(url, async (request, reply) => {
      readQuery(request.raw.url ?? '', [])
      return reply.header('cache-control', 'no-store').send(await answer())
    })
  }
  app.get('/metrics', async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    return reply.type(METRICS_TYPE).send(`${await node.metrics()}${figures.text()}`)
  })
}
