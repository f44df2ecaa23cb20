import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Connections } from './access/connections.ts'
import type { Figures } from './figures.ts'
import type { RouteConfig } from './route-config.ts'

/** What stands for requests that fit no route: paths of strangers must not become labels. */
const NO_ROUTE = 'none'

/** Counts what comes in over HTTP, by the pattern of its route. To be added before the routes are. */
export function addHttpFigures(
  app: FastifyInstance,
  { connections, figures }: { connections: Pick<Connections, 'open'>; figures: Figures }
): void {
  const requests = figures.counter(
    'skein_http_requests_total',
    'HTTP requests that are over; status `lost`: the client went away before the answer began.',
    ['method', 'route', 'status']
  )
  const seconds = figures.histogram(
    'skein_http_request_seconds',
    'How long HTTP requests took, streams left out.',
    ['route']
  )
  const streams = new Map<string, number>([
    ['events', 0],
    ['bytes', 0],
    ['websocket', 0]
  ])
  figures.gauge('skein_http_streams', 'Open streams over HTTP, by kind.', ['kind'], () =>
    Array.from(streams, ([kind, count]) => [[kind], count] as const)
  )
  figures.gauge('skein_http_connections', 'Open HTTP connections.', [], () => connections.open)

  const begin = (request: FastifyRequest, { raw: response }: FastifyReply): void => {
    const since = performance.now()
    const { method, routeOptions } = request
    const route = routeOptions.url ?? NO_ROUTE
    const { stream } = routeOptions.config as RouteConfig
    response.once('close', () => {
      const isUpgraded = request.ws && !response.headersSent
      const status = response.headersSent
        ? String(response.statusCode)
        : isUpgraded
          ? '101'
          : 'lost'
      requests.add([method, route, status])
      if (stream === undefined) seconds.observe((performance.now() - since) / 1000, [route])
    })
  }
  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply)
    done()
  })
  // After the checks: who is refused opens no stream.
  app.addHook('preHandler', (request, { raw: response }, done) => {
    const { stream } = request.routeOptions.config as RouteConfig
    if (stream !== undefined) {
      streams.set(stream, (streams.get(stream) ?? 0) + 1)
      response.once('close', () => streams.set(stream, (streams.get(stream) ?? 0) - 1))
    }
    done()
  })
}
