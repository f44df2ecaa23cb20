import { setMaxListeners } from 'node:events'
import type { AddressInfo } from 'node:net'
import { fastify } from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { SkeinError } from '../core/errors.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { SkeinNode } from '../node/contract.ts'
import { Api } from './api/api.ts'
import { addDocumentRoutes } from './api/document-routes.ts'
import type { Route } from './api/route.ts'
import { createAccess, isLoopback } from './access/access.ts'
import { answerBrokenRequest } from './access/broken-request.ts'
import { Connections } from './access/connections.ts'
import { EventSharing } from './events/event-sharing.ts'
import { Figures } from './figures.ts'
import { addHttpFigures } from './http-figures.ts'
import { addDaprRoute } from './routes/dapr-route.ts'
import { addDashboardRoutes } from './routes/dashboard-routes.ts'
import { addDeadLetterRoutes } from './routes/dead-letter-routes.ts'
import { OpenSubscriptions } from './open-subscriptions.ts'
import { addGroupRoutes } from './routes/group-routes.ts'
import { addGuards, seldom } from './access/guards.ts'
import { addHistoryRoute } from './routes/history-route.ts'
import { connectionLimit } from './access/open-files.ts'
import { errorOfRequest, problemHeaders, problemOf, statusOf } from './problem.ts'
import { addPublishRoutes } from './routes/publish-route.ts'
import { addPullRoutes } from './routes/pull-routes.ts'
import { pathOf } from './query.ts'
import { addRequestRoute } from './routes/request-route.ts'
import { addSendRoutes } from './routes/send-route.ts'
import { addServiceRoutes } from './routes/service-routes.ts'
import { addStatusRoutes } from './routes/status-routes.ts'
import { addStreamRoutes } from './routes/stream-routes.ts'
import { addSubscribeRoute } from './routes/subscribe-route.ts'
import { addSubscriptionRoutes } from './routes/subscription-routes.ts'
import { WebhookServices } from './webhooks/webhook-services.ts'
import { WebhookFile } from './webhooks/webhook-file.ts'
import type { RetryTimes } from './webhooks/push-session.ts'
import { Webhooks } from './webhooks/webhooks.ts'
import { UpgradableMessage, addWebsocketRoute } from './websocket/websocket-route.ts'

export interface SidecarComponents {
  readonly node: SkeinNode
  readonly logger: Logger
  /** Figures of the node's doors. Default: only those of this one. */
  readonly figures?: Figures | undefined
}

export interface SidecarInit {
  /** Address to listen on. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** True: that port or ERR_LISTEN. False: the next free port when it is taken. */
  readonly exactPort: boolean
  /** Undefined only with `insecure`. */
  readonly token: string | undefined
  readonly allowHosts: readonly string[]
  readonly allowOrigins: readonly string[]
  /** No token is asked for; on loopback only. */
  readonly insecure: boolean
  /** When a push to a webhook that failed is tried again. Default: LIMITS.webhookRetryMinMs and webhookRetryMaxMs. */
  readonly webhookRetry?: RetryTimes | undefined
  /** HTTP connections at once. Default: LIMITS.httpConnections, where so many files may be open. */
  readonly connections?: number | undefined
  /** Default: LIMITS.httpHeadersTimeoutMs. */
  readonly headersTimeoutMs?: number | undefined
}

/** The HTTP interface of a node. */
export interface Sidecar extends Lifecycle {
  /** Where it listens, like `http://127.0.0.1:7400`. Throws ERR_STOPPED before `start`. */
  readonly url: string
  /** What it serves. */
  readonly routes: readonly Route[]
}

/** Ports tried above a taken one. */
const PORT_TRIES = 100
/** At a stop, what is refused has so long to take its answer, ms. */
const CUT_OFF_MS = 500

function assertInit(init: SidecarInit): void {
  if (init.insecure) {
    if (isLoopback(init.host)) return
    throw new SkeinError(
      'ERR_OPTIONS',
      `Without a token the HTTP interface may listen on a loopback address only, not on ${init.host}; leave out --insecure-api or take 127.0.0.1.`,
      { details: { option: 'insecureApi' } }
    )
  }
  if (init.token !== undefined && init.token.length > 0) return
  throw new SkeinError('ERR_OPTIONS', 'The HTTP interface needs a token that is not empty.', {
    details: { option: 'token' }
  })
}

function sendProblem(reply: FastifyReply, error: SkeinError): FastifyReply {
  const status = statusOf(error)
  return reply
    .code(status)
    .headers(problemHeaders(status))
    .send(JSON.stringify(problemOf(error, status)))
}

function notFound(request: FastifyRequest, reply: FastifyReply, api: Api): FastifyReply {
  const path = pathOf(request.raw.url ?? '')
  const allowed = api.methodsOf(path).join(', ')
  if (allowed === '') {
    return sendProblem(reply, new SkeinError('ERR_NOT_FOUND', `There is no route ${path}.`))
  }
  return sendProblem(
    reply.header('allow', allowed),
    new SkeinError('ERR_METHOD', `${path} takes ${allowed}, not ${request.method}.`)
  )
}

class HttpSidecar implements Sidecar {
  readonly #init: SidecarInit
  readonly #log: Logger
  readonly #app: FastifyInstance
  readonly #api: Api
  readonly #subscriptions: OpenSubscriptions
  readonly #services: WebhookServices
  readonly #webhooks: Webhooks
  readonly #file: WebhookFile
  readonly #connections: Connections
  /** Readiness is off: what has no end of its own ends, and nothing new is begun. */
  readonly #draining = new AbortController()
  /** What is under way gives up. */
  readonly #stopping = new AbortController()
  #address: AddressInfo | undefined
  #stopped: Promise<void> | undefined

  constructor(components: SidecarComponents, init: SidecarInit) {
    assertInit(init)
    const { node, logger } = components
    this.#init = init
    this.#log = logger
    this.#subscriptions = new OpenSubscriptions({ node, logger })
    this.#file = new WebhookFile(() => node.status().dataDir)
    const file = this.#file
    this.#services = new WebhookServices({ node, file, logger })
    const figures = components.figures ?? new Figures()
    const refused = figures.counter(
      'skein_http_refused_total',
      'Connections, requests that are none, and wrong tokens that were refused, by reason.',
      ['reason']
    )
    this.#app = this.#build((reason) => refused.add([reason]))
    const tell = seldom((client) =>
      logger.warn({ client }, 'connections to the HTTP interface are refused: there are too many')
    )
    this.#connections = new Connections(this.#app.server, {
      most: init.connections ?? connectionLimit(),
      onRefused: (reason, client) => {
        refused.add([reason])
        tell(client)
      }
    })
    const { signal } = this.#stopping
    const { signal: draining } = this.#draining
    this.#api = new Api({ app: this.#app, signal })
    // Every request listens to them.
    setMaxListeners(0, signal, draining)
    const subscriptions = this.#subscriptions
    const sharing = new EventSharing()
    addHttpFigures(this.#app, { connections: this.#connections, figures })
    const retry = { minMs: LIMITS.webhookRetryMinMs, maxMs: LIMITS.webhookRetryMaxMs }
    const webhooks = new Webhooks(
      { subscriptions: this.#subscriptions, figures, file, logger },
      { retry: init.webhookRetry ?? retry }
    )
    this.#webhooks = webhooks
    const access = createAccess({ ...init, allowHosts: this.#hosts() })
    addGuards(this.#app, { access, logger, refused, draining })
    addPublishRoutes(this.#api, { node, signal, draining })
    addDaprRoute(this.#api, { node, signal })
    addSendRoutes(this.#api, { node, signal, draining })
    addRequestRoute(this.#api, { node, signal })
    addServiceRoutes(this.#api, { services: this.#services })
    addStreamRoutes(this.#api, { node, signal: draining })
    addSubscribeRoute(this.#api, { node, logger, subscriptions, sharing, signal: draining })
    addWebsocketRoute(
      { app: this.#app, api: this.#api },
      { node, logger, figures, connections: this.#connections, subscriptions, sharing, draining }
    )
    addSubscriptionRoutes(this.#api, { node, subscriptions, webhooks })
    addPullRoutes(this.#api, { subscriptions, draining })
    addGroupRoutes(this.#api, { node, webhooks })
    addHistoryRoute(this.#api, { node, signal })
    addDeadLetterRoutes(this.#api, { node })
    addStatusRoutes(this.#api, { node, figures })
    addDashboardRoutes(this.#api)
    addDocumentRoutes(this.#api, { version: () => node.status().version })
  }

  get url(): string {
    if (this.#address === undefined) {
      throw new SkeinError('ERR_STOPPED', 'The HTTP interface does not listen yet.')
    }
    const { address, port, family } = this.#address
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  get routes(): readonly Route[] {
    return this.#api.routes
  }

  async start(): Promise<void> {
    if (this.#address !== undefined) return
    const { port, exactPort } = this.#init
    const last = exactPort || port === 0 ? port : Math.min(port + PORT_TRIES, 65_535)
    try {
      await this.#file.load()
      this.#services.start()
      this.#webhooks.start()
    } catch (error) {
      await this.stop()
      throw error
    }
    for (let next = port; ; next++) {
      const fault = await this.#listen(next)
      if (fault === undefined) break
      if (fault.code === 'EADDRINUSE' && next < last) continue
      await this.stop()
      throw new SkeinError(
        'ERR_LISTEN',
        `The HTTP interface cannot listen on ${this.#init.host}:${next}: ${fault.message}; give another --http address.`,
        { cause: fault, details: { host: this.#init.host, port: next } }
      )
    }
    this.#address = this.#app.server.address() as AddressInfo
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#close()
    return this.#stopped
  }

  /** The address the operator chose to listen on is one that clients name. */
  #hosts(): readonly string[] {
    const { host, allowHosts } = this.#init
    return host === '0.0.0.0' || host === '::' ? allowHosts : [...allowHosts, host]
  }

  #build(onRefused: (reason: string) => void): FastifyInstance {
    const headersTimeout = this.#init.headersTimeoutMs ?? LIMITS.httpHeadersTimeoutMs
    const app = fastify({
      http: {
        headersTimeout,
        connectionsCheckingInterval: Math.min(LIMITS.httpLateCheckMs, headersTimeout),
        maxHeaderSize: LIMITS.httpHeaderBytes,
        IncomingMessage: UpgradableMessage
      },
      // A request that streams lines may last for days; readBody has its own deadline.
      requestTimeout: 0,
      keepAliveTimeout: 72_000,
      return503OnClosing: false,
      exposeHeadRoutes: false,
      clientErrorHandler: (fault, socket) => answerBrokenRequest(fault, socket, onRefused),
      frameworkErrors: (error, _request, reply) => {
        void sendProblem(reply as unknown as FastifyReply, errorOfRequest(error))
      }
    })
    // Their bytes are bounded; none must be ignored because there are many.
    app.server.maxHeadersCount = 0
    app.removeAllContentTypeParsers()
    // Every route reads its body itself: messages are bytes of any type, and may be a stream without end.
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    app.setNotFoundHandler((request, reply) => notFound(request, reply, this.#api))
    app.setErrorHandler((fault, request, reply) => {
      const error = errorOfRequest(fault)
      if (error.code === 'ERR_INTERNAL') {
        this.#log.error({ error: fault, route: request.routeOptions.url }, 'a request failed')
      }
      return sendProblem(reply, error)
    })
    return app
  }

  async #listen(port: number): Promise<NodeJS.ErrnoException | undefined> {
    const host = this.#init.host === 'localhost' ? '127.0.0.1' : this.#init.host
    try {
      await this.#app.listen({ host, port })
      return undefined
    } catch (error) {
      return error as NodeJS.ErrnoException
    }
  }

  async #close(): Promise<void> {
    const stopped = new SkeinError('ERR_STOPPED', 'The node is stopping.')
    this.#draining.abort(stopped)
    // The door stays open meanwhile: whoever asks for readiness is to hear of it rather than to guess.
    const pushed = this.#webhooks.stop()
    await this.#connections.drain(LIMITS.httpDrainMs)
    this.#stopping.abort(stopped)
    // Whoever does not take the rest of an answer is cut off.
    const timer = setTimeout(() => this.#app.server.closeAllConnections(), CUT_OFF_MS)
    try {
      await this.#app.close()
      await Promise.all([this.#services.stop(), pushed])
      await this.#subscriptions.stop()
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Builds the HTTP interface of `components.node`. Throws ERR_OPTIONS; `start` rejects with ERR_LISTEN. */
export function createSidecar(components: SidecarComponents, init: SidecarInit): Sidecar {
  return new HttpSidecar(components, init)
}
