import type { IncomingHttpHeaders } from 'node:http'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Confirm, PublishOptions } from '../node/contract.ts'
import type { EventOptions } from './cloud-event-attributes.ts'
import { hasEventHeaders, readBinaryEvent } from './cloud-event-input.ts'
import { headerText, isEventType, readMessageHeaders, unknownHeader } from './message-headers.ts'
import { optionError, parseChoice, parseInteger, parseMoment, parseSeconds } from './query.ts'

/** How the body of a publish request becomes messages; `event` is one CloudEvent in JSON. */
type BodyMode = 'single' | 'lines' | 'ndjson' | 'event'

/** A publish request without its body. */
export interface PublishRequest {
  readonly mode: BodyMode
  /** For every message of the request. `contentType` counts in modes 'single' and 'lines'. */
  readonly options: PublishOptions
}

const NDJSON = /^application\/(x-)?ndjson\s*(;|$)/i
const EVENT = /^application\/cloudevents\+json\s*(;|$)/i
const CONFIRM = 'Skein-Confirm'

/** `stored`, `sent`, `replicas=2` or `replicas=2;timeout=5`. Throws ERR_OPTIONS. */
function parseConfirm(text: string): Confirm {
  if (text === 'stored' || text === 'sent') return text
  const match = /^replicas=(\d{1,15})(?:\s*;\s*timeout=([\d.]{1,22}))?$/.exec(text)
  if (match === null) {
    throw optionError(CONFIRM, `'${text}' is not stored, sent, or like replicas=2;timeout=5.`)
  }
  const replicas = parseInteger(match[1] ?? '', CONFIRM, [1, LIMITS.replicas])
  return match[2] === undefined
    ? { replicas }
    : { replicas, timeoutMs: parseSeconds(match[2], CONFIRM) }
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

function readOwnHeader(name: string, value: string, options: Mutable<PublishOptions>): void {
  switch (name) {
    case 'skein-key':
      options.key = headerText(value)
      return
    case 'skein-ttl':
      options.ttlMs = parseSeconds(value, 'Skein-TTL')
      return
    case 'skein-priority':
      options.priority = parseInteger(value, 'Skein-Priority', [0, 9])
      return
    case 'skein-deliver-at':
      options.deliverAt = parseMoment(value, 'Skein-Deliver-At')
      return
    case 'skein-retain':
      options.retain = parseChoice(value, 'Skein-Retain', ['true', 'false']) === 'true'
      return
    case 'skein-confirm':
      options.confirm = parseConfirm(value)
      return
    case 'skein-id':
    case 'idempotency-key': {
      const id = headerText(value)
      if (options.id !== undefined && options.id !== id) {
        throw optionError('Skein-Id', 'it differs from Idempotency-Key; give one of them.')
      }
      options.id = id
      return
    }
    default:
      throw unknownHeader(name)
  }
}

/** Reads the headers of a publish request. Throws ERR_OPTIONS naming a header, or ERR_CONTENT_TYPE. */
export function readPublishRequest(
  headers: IncomingHttpHeaders,
  split: string | undefined
): PublishRequest {
  const options: Mutable<PublishOptions> = {}
  const readOwn = (name: string, value: string): void => readOwnHeader(name, value, options)
  const message = readMessageHeaders(headers, readOwn, true)
  if (message.headers !== undefined) options.headers = message.headers
  const type = headers['content-type']
  const mode = modeOf(type, split)
  if (mode === 'event') return { mode, options }
  const isEvent = hasEventHeaders(headers)
  if (message.contentType !== undefined) options.contentType = message.contentType
  if (mode === 'single') {
    if (!isEvent) return { mode, options }
    return { mode, options: withEvent(options, readBinaryEvent(headers)) }
  }
  if (isEvent) throw optionError('ce-id', 'one event has one id, and this body is many messages.')
  if (options.id !== undefined) {
    throw optionError('Skein-Id', 'one id is for one message, and this body is many; leave it out.')
  }
  return { mode, options }
}

/** The options of a request, and what a CloudEvent says of its message. Throws ERR_OPTIONS where both say it. */
export function withEvent(request: PublishOptions, event: EventOptions): PublishOptions {
  if (event.key !== undefined && request.key !== undefined && event.key !== request.key) {
    throw optionError('partitionkey', 'it differs from Skein-Key; give one of them.')
  }
  if (event.ttlMs !== undefined && request.ttlMs !== undefined) {
    throw optionError('expirytime', 'Skein-TTL is given, too; give one of them.')
  }
  for (const name of Object.keys(request.headers ?? {})) {
    if (!Object.hasOwn(event.headers ?? {}, name)) continue
    throw optionError(name, `Skein-Header-${name} is given, too; give one of them.`)
  }
  return { ...request, ...event, headers: { ...request.headers, ...event.headers } }
}

function modeOf(type: string | undefined, split: string | undefined): BodyMode {
  if (split !== undefined) parseChoice(split, 'split', ['lines'])
  if (type !== undefined && isEventType(type)) {
    if (!EVENT.test(type)) {
      throw new SkeinError(
        'ERR_CONTENT_TYPE',
        `'${type}' is not taken here; CloudEvents come as application/cloudevents+json or with ce- headers.`
      )
    }
    if (split !== undefined) throw optionError('split', 'an event is not split into lines.')
    return 'event'
  }
  if (split === 'lines') return 'lines'
  return type !== undefined && NDJSON.test(type) ? 'ndjson' : 'single'
}
