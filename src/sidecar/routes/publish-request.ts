import type { IncomingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Confirm, PublishOptions } from '../../node/contract.ts'
import {
  type Reader,
  type ValuesOf,
  flag,
  header,
  integer,
  moment,
  optional,
  seconds,
  utf8
} from '../api/parameters.ts'
import type { EventOptions } from '../events/cloud-event-attributes.ts'
import { hasEventHeaders, readBinaryEvent } from '../events/cloud-event-input.ts'
import { type MessageHeaders, TRACE_HEADERS, isEventType } from '../message-headers.ts'
import { optionError, parseInteger, parseSeconds } from '../query.ts'

/** How the body of a publish request becomes messages; `event` is one CloudEvent in JSON, `batch` an array of them. */
type BodyMode = 'single' | 'lines' | 'ndjson' | 'event' | 'batch'

/** A publish request without its body. */
export interface PublishRequest {
  readonly mode: BodyMode
  /** For every message of the request. `contentType` counts in modes 'single' and 'lines'. */
  readonly options: PublishOptions
}

const NDJSON = /^application\/(x-)?ndjson\s*(;|$)/i
const EVENTS = /^application\/cloudevents(-batch)?\+json\s*(?:;|$)/i
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

const confirm: Reader<Confirm> = {
  schema: z.string().regex(/^(stored|sent|replicas=\d+(;timeout=[\d.]+)?)$/),
  read: parseConfirm
}

/** What the headers of a publish say, by the names of its options. */
export const PUBLISH_HEADERS = {
  key: header('Skein-Key', optional(utf8, 'Key: last-value retention goes by topic and key.')),
  ttlMs: header(
    'Skein-TTL',
    optional(seconds(), 'Seconds after which it is not handed over any more. Default: no end.')
  ),
  priority: header(
    'Skein-Priority',
    optional(integer(0, 9), 'Higher goes first within what is ready. Default 0.')
  ),
  deliverAt: header(
    'Skein-Deliver-At',
    optional(moment, 'Time before which durable subscriptions do not hand it over.')
  ),
  retain: header(
    'Skein-Retain',
    optional(flag, 'Keep it as the last value of its topic. Default `false`.')
  ),
  confirm: header(
    CONFIRM,
    optional(
      confirm,
      "`stored` (default): on this node's disk, synced. `sent`: handed to the network. `replicas=2`, `replicas=2;timeout=5`: on so many other nodes' disks, too, within so many seconds (default 10)."
    )
  ),
  id: header(
    'Skein-Id',
    optional(
      utf8,
      'Idempotency id: a repeated request with the same id is the first one for 10 minutes. For single messages only.'
    )
  ),
  idempotencyKey: header('Idempotency-Key', optional(utf8, 'The same as `Skein-Id`.'))
}

/** Makes of the headers what they mean. Throws ERR_OPTIONS naming a header, or ERR_CONTENT_TYPE. */
export function publishRequestOf(
  given: IncomingHttpHeaders,
  headers: ValuesOf<typeof PUBLISH_HEADERS>,
  message: MessageHeaders,
  split: 'lines' | undefined
): PublishRequest {
  const { idempotencyKey, id = idempotencyKey } = headers
  if (idempotencyKey !== undefined && id !== idempotencyKey) {
    throw optionError('Skein-Id', 'it differs from Idempotency-Key; give one of them.')
  }
  // Of one shape, for speed: copies of objects with names that vary cost several microseconds.
  const options = {
    key: headers.key,
    ttlMs: headers.ttlMs,
    priority: headers.priority,
    deliverAt: headers.deliverAt,
    retain: headers.retain,
    confirm: headers.confirm,
    id,
    contentType: message.contentType,
    headers: message.headers
  }
  const mode = modeOf(given['content-type'], split)
  const inBody = mode === 'event' || mode === 'batch'
  // Senders may repeat in headers what stands in an event; the body counts.
  const isEvent = !inBody && hasEventHeaders(given)
  if (mode === 'single') {
    return { mode, options: isEvent ? withEvent(options, readBinaryEvent(given)) : options }
  }
  if (isEvent) throw optionError('ce-id', 'one event has one id, and this body is many messages.')
  if (id !== undefined && mode !== 'event') {
    throw optionError('Skein-Id', 'one id is for one message, and this body is many; leave it out.')
  }
  return { mode, options: inBody ? { ...options, contentType: undefined } : options }
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
    // The trace that an event tells of goes before that of the request.
    if (TRACE_HEADERS.has(name) || !Object.hasOwn(event.headers ?? {}, name)) continue
    throw optionError(name, `Skein-Header-${name} is given, too; give one of them.`)
  }
  return { ...request, ...event, headers: { ...request.headers, ...event.headers } }
}

function modeOf(type: string | undefined, split: 'lines' | undefined): BodyMode {
  if (type !== undefined && isEventType(type)) {
    const json = EVENTS.exec(type)
    if (json === null) {
      throw new SkeinError(
        'ERR_CONTENT_TYPE',
        `'${type}' is not taken here; CloudEvents come as application/cloudevents+json, application/cloudevents-batch+json or with ce- headers.`
      )
    }
    if (split !== undefined) throw optionError('split', 'an event is not split into lines.')
    return json[1] === undefined ? 'event' : 'batch'
  }
  if (split === 'lines') return 'lines'
  return type !== undefined && NDJSON.test(type) ? 'ndjson' : 'single'
}
