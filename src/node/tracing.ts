import type * as OpenTelemetry from '@opentelemetry/api'
import type { Attributes, Context, Span, SpanKind } from '@opentelemetry/api'
import { isSkeinError } from '../core/errors.ts'
import { VERSION } from '../core/version.ts'
import type { Message, ServiceHandler, SkeinNode, Subscription } from './contract.ts'

type Api = typeof OpenTelemetry
type Headers = Readonly<Record<string, string>>

/** A span of one kind, with what OpenTelemetry's conventions for messaging and RPC say of it. */
interface SpanInit {
  readonly name: string
  readonly kind: SpanKind
  readonly attributes: Attributes
}

const SYSTEM = { 'messaging.system': 'skein' } as const

/**
 * A node whose messages and requests are traced: spans of OpenTelemetry, and their context in the headers
 * `traceparent` and `tracestate` (W3C). The same node where the package @opentelemetry/api cannot be loaded or no tracer
 * provider is registered by now: nothing is paid for what nobody sees.
 */
export async function withTracing(node: SkeinNode): Promise<SkeinNode> {
  const api = await loadApi()
  return api !== undefined && hasProvider(api) ? traced(node, new Tracing(api)) : node
}

async function loadApi(): Promise<Api | undefined> {
  try {
    return await import('@opentelemetry/api')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}

/** The API hands out tracers that do nothing until an application registers a provider. */
function hasProvider({ ProxyTracerProvider, trace }: Api): boolean {
  const provider = trace.getTracerProvider()
  if (!(provider instanceof ProxyTracerProvider)) return true
  return provider.getDelegate() !== new ProxyTracerProvider().getDelegate()
}

/** Starts spans, and carries their context in the headers of messages. */
class Tracing {
  readonly #api: Api

  constructor(api: Api) {
    this.#api = api
  }

  get kinds(): Api['SpanKind'] {
    return this.#api.SpanKind
  }

  /** Sends something under a span of its own, which `headers` then name. Ends with the promise. */
  outgoing<Result>(
    init: SpanInit,
    headers: Headers | undefined,
    send: (headers: Headers, span: Span) => Promise<Result>
  ): Promise<Result> {
    return this.#run(init, this.#parent(headers), (span, inner) =>
      send(this.#carrier(headers, inner), span)
    )
  }

  /** Handles something that came with `headers`, under a span that continues the one that they name. */
  incoming<Result>(
    init: SpanInit,
    headers: Headers,
    handle: () => Result | Promise<Result>
  ): Promise<Result> {
    return this.#run(init, this.#extracted(headers), handle)
  }

  /** The same for something that is answered many times: the span ends when the iteration does. */
  async *outgoingMany<Result>(
    init: SpanInit,
    headers: Headers | undefined,
    send: (headers: Headers) => AsyncIterable<Result>
  ): AsyncGenerator<Result, void, undefined> {
    const [span, inner] = this.#start(init, this.#parent(headers))
    try {
      yield* send(this.#carrier(headers, inner))
    } catch (error) {
      this.#fail(span, error)
      throw error
    } finally {
      span.end()
    }
  }

  /** What the application is doing at this moment is nearer than what it was handed. */
  #parent(headers: Headers | undefined): Context {
    const active = this.#api.context.active()
    return this.#api.trace.getSpan(active) === undefined ? this.#extracted(headers) : active
  }

  #carrier(headers: Headers | undefined, inner: Context): Headers {
    const carrier = { ...headers }
    this.#api.propagation.inject(inner, carrier)
    return carrier
  }

  #extracted(headers: Headers = {}): Context {
    const { context, propagation } = this.#api
    return propagation.extract(context.active(), headers)
  }

  async #run<Result>(
    init: SpanInit,
    parent: Context,
    work: (span: Span, inner: Context) => Result | Promise<Result>
  ): Promise<Result> {
    const [span, inner] = this.#start(init, parent)
    try {
      return await this.#api.context.with(inner, () => work(span, inner))
    } catch (error) {
      this.#fail(span, error)
      throw error
    } finally {
      span.end()
    }
  }

  #start({ attributes, kind, name }: SpanInit, parent: Context): [Span, Context] {
    const { trace } = this.#api
    const span = trace.getTracer('skein', VERSION).startSpan(name, { kind, attributes }, parent)
    return [span, trace.setSpan(parent, span)]
  }

  #fail(span: Span, thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    span.recordException(error)
    span.setAttribute('error.type', isSkeinError(error) ? error.code : error.name)
    span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: error.message })
  }
}

/** Topics have many values: spans are named by their first level. */
const channelOf = (topic: string): string => topic.split('/', 1)[0] ?? topic

function traced(node: SkeinNode, tracing: Tracing): SkeinNode {
  const own: Partial<SkeinNode> = {
    ...tracedMessages(node, tracing),
    ...tracedRequests(node, tracing)
  }
  return new Proxy(node, {
    get(target, property) {
      const replaced: unknown = Reflect.get(own, property)
      if (replaced !== undefined) return replaced
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
}

type Messages = Pick<SkeinNode, 'publish' | 'publishBatch' | 'send' | 'subscribe'>

function tracedMessages(node: SkeinNode, tracing: Tracing): Messages {
  const producer = (operation: string, topic: string): SpanInit => ({
    name: `${operation} ${channelOf(topic)}`,
    kind: tracing.kinds.PRODUCER,
    attributes: {
      ...SYSTEM,
      'messaging.operation.name': operation,
      'messaging.operation.type': 'send',
      'messaging.destination.name': topic
    }
  })
  return {
    publish: (topic, data, options = {}) =>
      tracing.outgoing(producer('publish', topic), options.headers, async (headers, span) => {
        const published = await node.publish(topic, data, { ...options, headers })
        span.setAttribute('messaging.message.id', published.id)
        return published
      }),
    publishBatch: (messages, options) => {
      const init = producer('publish', messages[0]?.topic ?? '')
      const attributes = { ...init.attributes, 'messaging.batch.message_count': messages.length }
      // One record, one span: its context goes to each message, beside the headers of its own.
      return tracing.outgoing({ ...init, attributes }, undefined, (context) =>
        node.publishBatch(
          messages.map((message) => ({ ...message, headers: { ...message.headers, ...context } })),
          options
        )
      )
    },
    send: (peer, topic, data, options = {}) =>
      tracing.outgoing(producer('send', topic), options.headers, async (headers, span) => {
        const sent = await node.send(peer, topic, data, { ...options, headers })
        span.setAttribute('messaging.message.id', sent.id)
        return sent
      }),
    subscribe: (filter, options) => tracedSubscription(node.subscribe(filter, options), tracing)
  }
}

/** Handlers run under a span. Who iterates or pulls has the context in the headers of each message. */
function tracedSubscription(subscription: Subscription, tracing: Tracing): Subscription {
  const { durable, filter, group } = subscription
  const consumer = group ?? durable
  const processed = ({ id, topic }: Message): SpanInit => ({
    name: `process ${channelOf(topic)}`,
    kind: tracing.kinds.CONSUMER,
    attributes: {
      ...SYSTEM,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': topic,
      'messaging.destination.subscription.name': filter,
      'messaging.message.id': id,
      ...(consumer === undefined ? {} : { 'messaging.consumer.group.name': consumer })
    }
  })
  const onMessage: Subscription['onMessage'] = (handler) =>
    subscription.onMessage((message) =>
      tracing.incoming(processed(message), message.headers, () => handler(message))
    )
  return new Proxy(subscription, {
    get(target, property) {
      if (property === 'onMessage') return onMessage
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    }
  })
}

type Requests = Pick<SkeinNode, 'reply' | 'request' | 'requestMany' | 'scatter'>

function tracedRequests(node: SkeinNode, tracing: Tracing): Requests {
  const init = (service: string, kind: SpanKind): SpanInit => ({
    name: service,
    kind,
    attributes: { 'rpc.system': 'skein', 'rpc.service': service }
  })
  const client = (service: string): SpanInit => init(service, tracing.kinds.CLIENT)
  return {
    request: (service, data, options = {}) =>
      tracing.outgoing(client(service), options.headers, (headers) =>
        node.request(service, data, { ...options, headers })
      ),
    requestMany: (service, data, options = {}) =>
      tracing.outgoingMany(client(service), options.headers, (headers) =>
        node.requestMany(service, data, { ...options, headers })
      ),
    scatter: (service, data, options = {}) =>
      tracing.outgoing(client(service), options.headers, (headers) =>
        node.scatter(service, data, { ...options, headers })
      ),
    reply: (service, handler, options) => {
      const served: ServiceHandler = (request) =>
        tracing.incoming(init(service, tracing.kinds.SERVER), request.headers, () =>
          handler(request)
        )
      return node.reply(service, served, options)
    }
  }
}
