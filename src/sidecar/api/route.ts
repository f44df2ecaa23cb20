import type { z } from 'zod'
import type { ErrorCode } from '../../core/errors.ts'
import type { RouteAccess, RouteConfig } from '../route-config.ts'
import {
  type HeaderIndex,
  type HeaderParameters,
  type Parameters,
  headerIndex
} from './parameters.ts'

/*
 * A route of the HTTP interface is declared once, next to its handler, and everything that is known of it comes from
 * there: what is refused in its query, headers and JSON body, the 405 of other methods, /openapi.json and the page made
 * of it. A route with all there may be:
 *
 *   const putThing = route({
 *     method: 'PUT',
 *     path: '/v1/things/{name}',          // {+name}: the last one, with the slashes in it
 *     tag: 'Things',
 *     operation: 'putThing',
 *     summary: 'Makes a thing, or changes it.',
 *     query: { limit: optional(integer(1, 9), 'Things at once.', 1) },
 *     headers: { ttlMs: header('Skein-TTL', optional(seconds(), 'Seconds that it lasts.')) },
 *     body: jsonBody(z.strictObject({ filter: z.string() })),
 *     answers: { 200: json(thing, 'It was there.'), 201: json(thing, 'It is new.') },
 *     errors: ['ERR_FILTER']              // beside those that any route may answer with
 *   })
 *   api.add(putThing, async ({ headers, path, query, readJson, reply }) => { ... })
 *
 * What a handler returns is sent as JSON, with the one status of success that is declared; where there are several, the
 * handler sets it. Schemas with `.meta({ id })` are named in the documents, and stand there once.
 */

/** One kind of answer. */
export interface Answer {
  readonly description: string
  /** Undefined: no body. */
  readonly type: string | undefined
  /** Of the body where it is JSON; of one event where it is a stream of events. */
  readonly schema: z.ZodType | undefined
  /** What its headers mean, by name. */
  readonly headers: Readonly<Record<string, string>>
}

/** What a route reads of a request's body. */
export interface RouteBody<Schema extends z.ZodType = z.ZodType> {
  /** `json`: as `schema` says. `message`: a payload, whose headers say more. `bytes`: a stream. */
  readonly kind: 'json' | 'message' | 'bytes'
  readonly schema: Schema | undefined
  /** May a message come as a CloudEvent? */
  readonly takesEvents: boolean
  readonly description: string
  /** Media types, with what they are for; any other where there is `*` among them. */
  readonly types: Readonly<
    Record<string, { readonly schema?: z.ZodType; readonly description?: string }>
  >
}

export interface RouteInit<
  Path extends string,
  Query extends Parameters,
  Headers extends HeaderParameters,
  Body extends z.ZodType
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: Path
  /** Where it stands in the page: a section of it. */
  readonly tag: string
  /** Name of the operation for programs that are generated: unique, in camel case. */
  readonly operation: string
  /** One sentence. */
  readonly summary: string
  /** More, in Markdown. */
  readonly description?: string
  /** What the names in the path mean. */
  readonly names?: Readonly<Record<string, string>>
  readonly query?: Query
  readonly headers?: Headers
  readonly body?: RouteBody<Body>
  /** By status; the successful ones. */
  readonly answers: Readonly<Record<number, Answer>>
  readonly errors?: readonly ErrorCode[]
  /** Default `token`. */
  readonly access?: RouteAccess
  readonly config?: Omit<RouteConfig, 'access'>
}

export interface Route<
  Path extends string = string,
  Query extends Parameters = Parameters,
  Headers extends HeaderParameters = HeaderParameters,
  Body extends z.ZodType = z.ZodType
> extends RouteInit<Path, Query, Headers, Body> {
  /** The names of its query parameters. */
  readonly allowed: readonly string[]
  readonly index: HeaderIndex
  /** What headers that are not given mean, where that is not nothing. */
  readonly fallbacks: readonly (readonly [key: string, value: unknown])[]
  /** Matches its paths; the groups are what stands for the names, encoded. */
  readonly pattern: RegExp
  readonly pathNames: readonly string[]
}

type None = Readonly<Record<never, never>>

const NAME = /\{(\+?)(\w+)\}/g

/** Declares a route. */
export function route<
  const Path extends string,
  Query extends Parameters = None,
  Headers extends HeaderParameters = None,
  Body extends z.ZodType = z.ZodNever
>(init: RouteInit<Path, Query, Headers, Body>): Route<Path, Query, Headers, Body> {
  const { headers, path, query } = init
  const pattern = path
    .replaceAll(/[.]/g, '\\.')
    .replaceAll(NAME, (_name, rest: string) => (rest === '' ? '([^/]*)' : '(.*)'))
  return {
    ...init,
    allowed: Object.keys(query ?? {}),
    index: headerIndex(headers ?? {}),
    fallbacks: Object.entries(headers ?? {}).flatMap(([key, { fallback }]) =>
      fallback === undefined ? [] : [[key, fallback] as const]
    ),
    pattern: new RegExp(`^${pattern}$`),
    pathNames: [...path.matchAll(NAME)].map(([, , name = '']) => name)
  }
}

/** The path as the router of the server wants it. */
export function routerPath({ path }: Pick<Route, 'path'>): string {
  return path.replaceAll(NAME, (_name, rest: string, name: string) =>
    rest === '' ? `:${name}` : '*'
  )
}

/** A JSON body; an empty one is `{}`. */
export function jsonBody<Schema extends z.ZodType>(
  schema: Schema,
  description = ''
): RouteBody<Schema> {
  return {
    kind: 'json',
    schema,
    takesEvents: false,
    description,
    types: { 'application/json': { schema } }
  }
}

/**
 * A message in the body: its payload, and what `Content-Type` and `Skein-Header-*` say of it. `types` are media types
 * that mean something to the route.
 */
export function messageBody(
  description: string,
  { takesEvents = false, types = {} }: Partial<Pick<RouteBody, 'takesEvents' | 'types'>> = {}
): RouteBody<z.ZodNever> {
  return {
    kind: 'message',
    schema: undefined,
    takesEvents,
    description: `${description} Each header \`Skein-Header-<name>\` is a header of the message.`,
    types: { '*/*': { description: 'The payload.' }, ...types }
  }
}

/** Bytes that the handler reads while they come. */
export function bytesBody(description: string): RouteBody<z.ZodNever> {
  return { kind: 'bytes', schema: undefined, takesEvents: false, description, types: { '*/*': {} } }
}

/** An answer in JSON. */
export function json(
  schema: z.ZodType,
  description: string,
  headers: Readonly<Record<string, string>> = {}
): Answer {
  return { description, type: 'application/json', schema, headers }
}

/** Server-Sent Events; `schema` is that of the data of one message. */
export function events(schema: z.ZodType, description: string): Answer {
  return { description, type: 'text/event-stream', schema, headers: {} }
}

/** An answer of another type, described no further. */
export function plain(
  type: string,
  description: string,
  headers: Readonly<Record<string, string>> = {}
): Answer {
  return { description, type, schema: undefined, headers }
}

/** An answer without a body. */
export function empty(description: string): Answer {
  return { description, type: undefined, schema: undefined, headers: {} }
}
