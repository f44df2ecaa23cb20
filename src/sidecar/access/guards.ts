import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isSkeinError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { Access, AccessKind } from './access.ts'
import { clientOf } from './client-address.ts'
import type { Counter } from '../figures.ts'
import { pathOf } from '../query.ts'
import type { RouteConfig } from '../route-config.ts'
import { ALIVE_ROUTE } from '../routes/status-routes.ts'
import { withBearer } from '../websocket/websocket-route.ts'
import { WrongTokens } from './wrong-tokens.ts'

export interface GuardComponents {
  readonly access: Access
  readonly logger: Logger
  readonly refused: Counter
  /** Nothing new is begun. */
  readonly draining: AbortSignal
}

/** What a client may still send of a request that has been answered, ms. */
const REST_MS = 2000
/** What clients do wrong is told so often at most, ms: the figures have the number. */
const TELL_MS = 60_000

/** Runs at most once in TELL_MS. */
export function seldom(tell: (client: string) => void): (client: string) => void {
  let toldAt = Number.NEGATIVE_INFINITY
  return (client) => {
    if (performance.now() - toldAt < TELL_MS) return
    toldAt = performance.now()
    tell(client)
  }
}

/**
 * A refused upload is read on for a moment, so that the client sees the answer instead of a reset, and then
 * cut off, so that it cannot send for ever.
 */
function limitRest(request: FastifyRequest): void {
  const { raw, routeOptions } = request
  if (raw.complete || raw.destroyed || (routeOptions.config as RouteConfig).isDuplex) return
  raw.resume()
  const timer = setTimeout(() => raw.socket.destroy(), REST_MS)
  timer.unref()
  raw.once('end', () => clearTimeout(timer))
}

/** Lets in who has the token, and no more than some who show a wrong one. */
function createDoorkeeper({
  access,
  logger,
  refused
}: GuardComponents): (client: string, headers: IncomingHttpHeaders, kind: AccessKind) => void {
  const tokens = new WrongTokens()
  const tell = seldom((client) =>
    logger.warn({ client }, 'a client of the HTTP interface shows a wrong token')
  )
  return (client, headers, kind) => {
    if (kind !== 'call') {
      access.check(headers, kind)
      return
    }
    tokens.assertFew(client)
    try {
      access.check(headers, kind)
    } catch (error) {
      // To show none is no guess.
      if (!isSkeinError(error, 'ERR_TOKEN') || headers.authorization === undefined) throw error
      refused.add(['token'])
      tell(client)
      tokens.wrong(client)
      throw error
    }
    tokens.right(client)
  }
}

/** The headers of a request, whose token may stand in one of another name. */
function withToken(headers: IncomingHttpHeaders, name: string | undefined): IncomingHttpHeaders {
  const token = name === undefined ? undefined : headers[name]
  if (typeof token !== 'string' || headers.authorization !== undefined) return headers
  return { ...headers, authorization: `Bearer ${token}` }
}

/** What every request passes before its route. */
export function addGuards(app: FastifyInstance, components: GuardComponents): void {
  const { access, draining } = components
  const check = createDoorkeeper(components)
  app.addHook('onRequest', async (request, reply) => {
    const path = pathOf(request.raw.url ?? '')
    // Whoever is told to come back later must not come on a connection that is about to be closed.
    if (draining.aborted) reply.header('connection', 'close')
    if (draining.aborted && path !== ALIVE_ROUTE) throw draining.reason
    const config = request.routeOptions.config as RouteConfig | undefined
    const kind = config?.access ?? 'token'
    if (kind === 'anyone') return undefined
    const preflight = request.method === 'OPTIONS'
    check(
      clientOf(request.raw.socket.remoteAddress),
      withBearer(withToken(request.headers, config?.tokenHeader)),
      preflight ? 'preflight' : kind === 'page' ? 'page' : 'call'
    )
    const origin = access.allowedOrigin(request.headers)
    if (origin === undefined) return undefined
    reply.header('access-control-allow-origin', origin).header('vary', 'origin')
    if (!preflight) return undefined
    return reply
      .code(204)
      .header('access-control-allow-methods', 'GET, POST, PUT, DELETE')
      .header(
        'access-control-allow-headers',
        request.headers['access-control-request-headers'] ?? 'authorization, content-type'
      )
      .header('access-control-max-age', '600')
      .send()
  })
  app.addHook('onResponse', async (request) => limitRest(request))
}
