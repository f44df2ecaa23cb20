import type { IncomingHttpHeaders } from 'node:http'
import { LIMITS } from '../core/limits.ts'
import type { Confirm, PublishOptions } from '../node/contract.ts'
import { headerText, readMessageHeaders, unknownHeader } from './message-headers.ts'
import { optionError, parseChoice, parseInteger, parseMoment, parseSeconds } from './query.ts'

/** How the body of a publish request becomes messages. */
type BodyMode = 'single' | 'lines' | 'ndjson'

/** A publish request without its body. */
export interface PublishRequest {
  readonly mode: BodyMode
  /** For every message of the request. `contentType` does not count in mode 'ndjson'. */
  readonly options: PublishOptions
}

const NDJSON = /^application\/(x-)?ndjson\s*(;|$)/i
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
  const message = readMessageHeaders(headers, (name, value) => readOwnHeader(name, value, options))
  if (message.headers !== undefined) options.headers = message.headers
  if (message.contentType !== undefined) options.contentType = message.contentType
  const mode = modeOf(headers['content-type'], split)
  if (mode !== 'single' && options.id !== undefined) {
    throw optionError('Skein-Id', 'one id is for one message, and this body is many; leave it out.')
  }
  return { mode, options }
}

function modeOf(type: string | undefined, split: string | undefined): BodyMode {
  if (split !== undefined) parseChoice(split, 'split', ['lines'])
  if (split === 'lines') return 'lines'
  return type !== undefined && NDJSON.test(type) ? 'ndjson' : 'single'
}
