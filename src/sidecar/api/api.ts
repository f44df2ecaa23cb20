import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import { type MessageHeaders, readMessageHeaders, unknownHeader } from '../message-headers.ts'
import { decodeSegment, pathOf, readQuery } from '../query.ts'
import { readJson } from '../request-body.ts'
import { type HeaderParameters, type Parameters, type ValuesOf, queryValues } from './parameters.ts'
import { type Route, routerPath } from './route.ts'

const JSON_TYPE = 'application/json'

/** The names in a path like `/v1/things/{name}`. */
type PathNames<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `+${infer Plain}` ? Plain : Name) | PathNames<Rest>
  : never

/** A request that fits its route: what it says has been read, except for its body. */
export interface Call<
  Path extends string,
  Query extends Parameters,
  Headers extends HeaderParameters,
  Body extends z.ZodType
> {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** What stands for the names in the path. */
  readonly path: Readonly<Record<PathNames<Path>, string>>
  readonly query: ValuesOf<Query>
  readonly headers: ValuesOf<Headers>
  /** What other headers say of the message in the body, where it is one. */
  readonly message: MessageHeaders
  /** The JSON body. Rejects with ERR_OPTIONS naming the field, ERR_CONTENT_TYPE, ERR_PAYLOAD_TOO_LARGE, ERR_TIMEOUT. */
  readonly readJson: () => Promise<z.output<Body>>
}

/** The routes of one server. */
export class Api {
  readonly #app: FastifyInstance
  readonly #signal: AbortSignal
  readonly #routes: Route[] = []

  /** `signal`: bodies are read no longer. */
  constructor(components: { app: FastifyInstance; signal: AbortSignal }) {
    this.#app = components.app
    this.#signal = components.signal
  }

  /** In the order in which they were added. */
  get routes(): readonly Route[] {
    return this.#routes
  }

  /** Tells of a route that is answered elsewhere. */
  declare(route: Route): void {
    this.#routes.push(route)
  }

  /** The methods that a path takes; empty where there is no such path. */
  methodsOf(path: string): readonly string[] {
    return this.#routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
  }

  /**
   * Answers requests for a route. What `handle` returns is sent, with the status that the route declares; nothing, where
   * it has answered by itself.
   */
  add<
    Path extends string,
    Query extends Parameters,
    Headers extends HeaderParameters,
    Body extends z.ZodType
  >(
    route: Route<Path, Query, Headers, Body>,
    handle: (call: Call<Path, Query, Headers, Body>) => unknown
  ): void {
    this.#routes.push(route as unknown as Route)
    const { access, answers, body, config, method } = route
    const statuses = Object.keys(answers).map(Number)
    const [status] = statuses
    const isState = method === 'GET' && status !== undefined && answers[status]?.type === JSON_TYPE
    const signal = this.#signal
    this.#app.route({
      method,
      url: routerPath(route),
      config: { ...config, access },
      handler: async (request, reply) => {
        const target = request.raw.url ?? ''
        const path = pathValues(route, target)
        const query = queryValues(route.query, readQuery(target, route.allowed))
        const { headers, message } = headerValues(route, request.headers)
        const call: Call<Path, Query, Headers, Body> = {
          request,
          reply,
          path: path as Call<Path, Query, Headers, Body>['path'],
          query: query as ValuesOf<Query>,
          headers: headers as ValuesOf<Headers>,
          message,
          readJson: () => readJson(request.raw, body?.schema as Body, signal)
        }
        if (statuses.length === 1) reply.code(status as number)
        if (isState) reply.header('cache-control', 'no-store')
        const answer: unknown = await handle(call)
        if (answer !== undefined || reply.sent) return answer
        return reply.send()
      }
    })
  }
}

const NO_MESSAGE: MessageHeaders = { contentType: undefined, headers: undefined }

type Shape = Pick<Route, 'body' | 'fallbacks' | 'index' | 'pathNames' | 'pattern'>

function pathValues({ pathNames, pattern }: Shape, target: string): Record<string, string> {
  const values: Record<string, string> = {}
  if (pathNames.length === 0) return values
  const path = pathOf(target)
  const found = pattern.exec(path)
  if (found === null) throw new SkeinError('ERR_NOT_FOUND', `There is no route ${path}.`)
  for (let index = 0; index < pathNames.length; index++) {
    const name = pathNames[index] as string
    values[name] = decodeSegment(found[index + 1] ?? '', name)
  }
  return values
}

/** Throws ERR_OPTIONS naming a header of Skein's that the route does not know: nothing is silently ignored. */
function headerValues(
  { body, fallbacks, index }: Shape,
  given: IncomingHttpHeaders
): { headers: Record<string, unknown>; message: MessageHeaders } {
  const headers: Record<string, unknown> = {}
  const take = (name: string, value: string): void => {
    const known = index.get(name)
    if (known === undefined) throw unknownHeader(name)
    const [key, parameter] = known
    headers[key] = parameter.read(value, parameter.header)
  }
  let message = NO_MESSAGE
  if (body?.kind === 'message') {
    message = readMessageHeaders(given, take, body.takesEvents)
  } else if (index.size > 0) {
    for (const [name, value] of Object.entries(given)) {
      if (typeof value === 'string' && (index.has(name) || name.startsWith('skein-'))) {
        take(name, value)
      }
    }
  }
  for (const [key, fallback] of fallbacks) headers[key] ??= fallback
  return { headers, message }
}
