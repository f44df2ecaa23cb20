import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { SkeinError } from '../core/errors.ts'
import { optionError } from './query.ts'

/** What the headers of a request say of a message, whichever route it goes to. */
export interface MessageHeaders {
  readonly contentType: string | undefined
  /** From `Skein-Header-*`, and the trace context; undefined where there are none. */
  readonly headers: Readonly<Record<string, string>> | undefined
}

const HEADER_PREFIX = 'skein-header-'
const CLOUD_EVENTS = /^application\/cloudevents(-batch)?(\+|\s*;|\s*$)/i
const OCTETS = /^application\/octet-stream\s*$/i
/** What curl sends with -d unless told otherwise: it says nothing of the data. */
const FORM = /^application\/x-www-form-urlencoded\s*(;|$)/i

/** HTTP header values arrive as Latin-1; most clients mean UTF-8. */
export function headerText(value: string): string {
  const bytes = Buffer.from(value, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : value
}

/** Is it a media type of CloudEvents, in whatever format? */
export function isEventType(contentType: string): boolean {
  return CLOUD_EVENTS.test(contentType)
}

function assertNoEvent({ 'content-type': type }: IncomingHttpHeaders): void {
  if (type === undefined || !isEventType(type)) return
  throw new SkeinError(
    'ERR_CONTENT_TYPE',
    `'${type}' is not taken here; send the data itself with its own content type.`
  )
}

function assertUncompressed(headers: IncomingHttpHeaders): void {
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new SkeinError(
      'ERR_CONTENT_TYPE',
      `The content encoding '${encoding}' is not taken here; send the body uncompressed.`
    )
  }
}

/** Version, trace, span and flags, as W3C Trace Context writes them. */
const TRACE_PARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-|$)/
/** Of the W3C Trace Context. */
export const TRACE_HEADERS: ReadonlySet<string> = new Set(['traceparent', 'tracestate'])

/** A malformed context is passed over, as its standard asks, and then its state is, too. */
function isTraceContext(name: string, { traceparent }: IncomingHttpHeaders): boolean {
  return TRACE_HEADERS.has(name) && TRACE_PARENT.test(String(traceparent))
}

/** The trace context among a message's headers, as HTTP names it. */
export function traceHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const context = Object.entries(headers).filter(([name]) => TRACE_HEADERS.has(name))
  return Object.fromEntries(context.filter(([, value]) => PRINTABLE.test(value)))
}

/** A header that this route does not know: nothing is silently ignored. */
export function unknownHeader(name: string): SkeinError {
  return optionError(name, 'the header is not supported here; leave it out.')
}

/**
 * Reads the headers of a request that carries a message; `readOwn` gets `Skein-*` and `Idempotency-Key` ones, in
 * lower case, and throws where it knows one not. `takesEvents`: the route takes CloudEvents and reads what is theirs by
 * itself. Throws ERR_OPTIONS naming a header, or ERR_CONTENT_TYPE.
 */
export function readMessageHeaders(
  headers: IncomingHttpHeaders,
  readOwn: (name: string, value: string) => void,
  takesEvents = false
): MessageHeaders {
  assertUncompressed(headers)
  if (!takesEvents) assertNoEvent(headers)
  const messageHeaders: Array<[string, string]> = []
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string') continue
    if (name.startsWith(HEADER_PREFIX)) {
      messageHeaders.push([name.slice(HEADER_PREFIX.length), headerText(value)])
    } else if (isTraceContext(name, headers)) {
      messageHeaders.unshift([name, value])
    } else if (name.startsWith('skein-') || name === 'idempotency-key') readOwn(name, value)
    else if (name.startsWith('ce-') && !takesEvents) throw unknownHeader(name)
  }
  return {
    contentType: saidContentType(headers['content-type']),
    headers: messageHeaders.length === 0 ? undefined : Object.fromEntries(messageHeaders)
  }
}

/** A content type that says something of the data. Of an event it is an attribute, and says that these are bytes. */
export function saidContentType(type: string | undefined, isEvent = false): string | undefined {
  if (type === undefined || FORM.test(type)) return undefined
  return OCTETS.test(type) && !isEvent ? undefined : type
}

/** What may be the name of an HTTP header. */
const TOKEN = /^[a-z0-9!#$%&'*+.^_`|~-]+$/i
const PRINTABLE = /^[\t\u0020-\u007e]+$/
// oxlint-disable-next-line no-control-regex
const UNSAYABLE = /[\u0000-\u001f\u007f]/

/** A message's headers as HTTP ones, in UTF-8 bytes like those of requests; those that HTTP cannot say are left out. */
export function asHttpHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const sayable = Object.entries(headers).filter(
    ([name, value]) => TOKEN.test(name) && !UNSAYABLE.test(value)
  )
  return Object.fromEntries(
    sayable.map(([name, value]) => [HEADER_PREFIX + name, headerBytes(value)])
  )
}

/** A text as the value of an HTTP header: its UTF-8 bytes. */
export function headerBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** A content type as the value of an HTTP header. */
export function asHttpType(contentType: string | undefined): string {
  return PRINTABLE.test(contentType ?? '') ? (contentType as string) : 'application/octet-stream'
}

/** What the headers of an HTTP answer say of a message; others are none of its business. */
export function answerHeaders(headers: IncomingHttpHeaders): MessageHeaders {
  const own = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith(HEADER_PREFIX) && typeof value === 'string'
      ? [[name.slice(HEADER_PREFIX.length), headerText(value)] as const]
      : []
  )
  const type = headers['content-type']
  return {
    contentType: type === undefined || OCTETS.test(type) ? undefined : type,
    headers: own.length === 0 ? undefined : Object.fromEntries(own)
  }
}
