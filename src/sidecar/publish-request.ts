import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { SkeinError } from '../core/errors.ts'
import type { PublishOptions } from '../node/contract.ts'
import { optionError, parseChoice, parseInteger, parseSeconds } from './query.ts'

/** How the body of a publish request becomes messages. */
type BodyMode = 'single' | 'lines' | 'ndjson'

/** A publish request without its body. */
export interface PublishRequest {
  readonly mode: BodyMode
  /** For every message of the request. `contentType` does not count in mode 'ndjson'. */
  readonly options: PublishOptions
}

const HEADER_PREFIX = 'skein-header-'
const CLOUD_EVENTS = /^application\/cloudevents(-batch)?(\+|\s*;|\s*$)/i
const NDJSON = /^application\/(x-)?ndjson\s*(;|$)/i
const OCTETS = /^application\/octet-stream\s*$/i
/** What curl sends with -d unless told otherwise: it says nothing of the data. */
const FORM = /^application\/x-www-form-urlencoded\s*(;|$)/i

/** HTTP header values arrive as Latin-1; most clients mean UTF-8. */
function headerText(value: string): string {
  const bytes = Buffer.from(value, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : value
}

function assertContent(headers: IncomingHttpHeaders): void {
  const type = headers['content-type']
  if (type !== undefined && CLOUD_EVENTS.test(type)) {
    throw new SkeinError(
      'ERR_CONTENT_TYPE',
      `'${type}' is not taken here; publish the data itself with its own content type.`
    )
  }
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new SkeinError(
      'ERR_CONTENT_TYPE',
      `The content encoding '${encoding}' is not taken here; send the body uncompressed.`
    )
  }
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

function readSkeinHeader(name: string, value: string, options: Mutable<PublishOptions>): void {
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
    case 'skein-confirm':
      options.confirm = parseChoice(value, 'Skein-Confirm', ['stored', 'sent'])
      return
    default:
      throw optionError(name, 'there is no such publish header; see the list of Skein-* headers.')
  }
}

/** Reads the headers of a publish request. Throws ERR_OPTIONS naming a header, or ERR_CONTENT_TYPE. */
export function readPublishRequest(
  headers: IncomingHttpHeaders,
  split: string | undefined
): PublishRequest {
  assertContent(headers)
  const options: Mutable<PublishOptions> = {}
  const messageHeaders: Array<[string, string]> = []
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string') continue
    if (name.startsWith(HEADER_PREFIX)) {
      messageHeaders.push([name.slice(HEADER_PREFIX.length), headerText(value)])
    } else if (name.startsWith('skein-')) {
      readSkeinHeader(name, value, options)
    } else if (name === 'idempotency-key' || name.startsWith('ce-')) {
      throw optionError(name, 'the header is not supported here; leave it out.')
    }
  }
  if (messageHeaders.length > 0) options.headers = Object.fromEntries(messageHeaders)
  const type = headers['content-type']
  if (type !== undefined && !OCTETS.test(type) && !FORM.test(type)) options.contentType = type
  if (split !== undefined) parseChoice(split, 'split', ['lines'])
  if (split === 'lines') return { mode: 'lines', options }
  return { mode: type !== undefined && NDJSON.test(type) ? 'ndjson' : 'single', options }
}
