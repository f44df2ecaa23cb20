import type { IncomingHttpHeaders } from 'node:http'
import { IncomingMessage } from 'node:http'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { empty, route } from '../api/route.ts'
import type { Connections } from '../access/connections.ts'
import type { EventSharing } from '../events/event-sharing.ts'
import type { Figures } from '../figures.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import type { RouteConfig } from '../route-config.ts'
import { problemHeaders, problemOf } from '../problem.ts'
import { optionError, pathOf, readQuery } from '../query.ts'
import { GOODBYE_MS, SocketConnection } from './socket-connection.ts'

export interface WebsocketRouteComponents {
  readonly node: SkeinNode
  readonly subscriptions: OpenSubscriptions
  readonly sharing: EventSharing
  readonly logger: Logger
  readonly figures: Figures
  readonly connections: Pick<Connections, 'upgraded'>
  /** Aborts when the node stops. */
  readonly draining: AbortSignal
}

const PATH = '/v1/ws'
const PROTOCOL = 'skein.v1'
const BEARER = 'bearer.'
const UPGRADE_REQUIRED = 426

const websocketRoute = route({
  method: 'GET',
  path: PATH,
  tag: 'WebSocket',
  operation: 'openWebsocket',
  summary: 'Commands, messages and requests over one connection.',
  description:
    'An upgrade to the protocol `skein.v1`. Web pages, which cannot set headers for it, offer their token as a second protocol, `bearer.<token in base64url>`.',
  answers: { 101: empty('The connection is a WebSocket from here on.') }
})

/**
 * A server that listens for upgrades gets every request that offers one, and clients of some platforms offer HTTP/2 with
 * each. Only those of the WebSocket route are upgrades here; the others are answered as the plain requests that they are,
 * too.
 */
export class UpgradableMessage extends IncomingMessage {
  /** What the parser says. */
  declare asked: boolean | null | undefined

  // The parser sets it before the headers are there, and the server asks for it afterwards.
  get upgrade(): boolean {
    if (this.asked !== true) return false
    return isWebsocket(this.headers) && pathOf(this.url ?? '') === PATH
  }

  set upgrade(asked: boolean | null) {
    this.asked = asked
  }
}

function isWebsocket({ upgrade }: IncomingHttpHeaders): boolean {
  return upgrade?.toLowerCase() === 'websocket'
}

function protocolsOf(headers: IncomingHttpHeaders): readonly string[] {
  const offered = headers['sec-websocket-protocol']
  return offered === undefined ? [] : offered.split(',').map((protocol) => protocol.trim())
}

/**
 * The headers of a request, with the token of an upgrade where the others have it: web pages cannot set headers for a
 * WebSocket, so they offer it as a protocol, `bearer.<token in base64url>`.
 */
export function withBearer(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  if (headers.authorization !== undefined || !isWebsocket(headers)) return headers
  const offered = protocolsOf(headers).find((protocol) => protocol.startsWith(BEARER))
  if (offered === undefined) return headers
  const token = Buffer.from(offered.slice(BEARER.length), 'base64url').toString('utf8')
  return { ...headers, authorization: `Bearer ${token}` }
}

export function addWebsocketRoute(
  { api, app }: { api: Api; app: FastifyInstance },
  components: WebsocketRouteComponents
): void {
  api.declare(websocketRoute)
  app.register(websocket, {
    options: {
      maxPayload: LIMITS.wsFrameBytes,
      // Costs some 300 KiB of memory for each connection.
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false)
    },
    // Connections are told to go when the node begins to stop.
    preClose(done) {
      this.websocketServer.close()
      done()
    },
    errorHandler(_error, socket) {
      // Malformed or too large frames: the reason goes out with the close.
      setTimeout(() => socket.terminate(), GOODBYE_MS).unref()
    }
  })
  app.register(async (scope) => {
    const { clients } = scope.websocketServer
    components.figures.gauge(
      'skein_websocket_buffered_bytes',
      'Bytes that wait for slow WebSocket clients.',
      [],
      () => [...clients].reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0)
    )
    scope.route({
      method: 'GET',
      url: PATH,
      config: { stream: 'websocket' } satisfies RouteConfig,
      preValidation: async ({ headers, raw }) => {
        readQuery(raw.url ?? '', [])
        const offered = protocolsOf(headers)
        // Clients that offer some give up where none of them is taken, and say less of it.
        if (offered.length === 0 || offered.includes(PROTOCOL)) return
        throw optionError('Sec-WebSocket-Protocol', `offer ${PROTOCOL}, beside a token or not.`)
      },
      handler: async (_request, reply) => {
        const error = optionError('Upgrade', 'is missing; open this route as a WebSocket.')
        const headers = { ...problemHeaders(UPGRADE_REQUIRED), upgrade: 'websocket' }
        const problem = problemOf(error, UPGRADE_REQUIRED)
        return reply.code(UPGRADE_REQUIRED).headers(headers).send(JSON.stringify(problem))
      },
      wsHandler: (socket, { raw }) => {
        components.connections.upgraded(raw.socket)
        new SocketConnection({ ...components, socket, connection: raw.socket }).run()
      }
    })
  })
  // Who was refused has its answer, and nobody else looks after a connection that was taken for an upgrade.
  app.addHook('onResponse', async ({ raw }) => {
    if ((raw as UpgradableMessage).upgrade) raw.socket.destroySoon()
  })
}
