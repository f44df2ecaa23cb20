import type { IncomingHttpHeaders } from 'node:http'
import { LIMITS } from '../core/limits.ts'
import type { SendOptions } from '../node/contract.ts'
import { headerText, readMessageHeaders, unknownHeader } from './message-headers.ts'
import { decodeSegment, optionError, parseInteger, parseSeconds, pathOf } from './query.ts'

/** A message to one peer, without its body. */
export interface SendRequest {
  readonly peer: string
  readonly topic: string
  readonly options: SendOptions
  /** How long to wait for the recipient's receipt, ms; undefined: not at all. */
  readonly waitMs: number | undefined
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

function parseWait(value: string): number {
  const ms = parseSeconds(value, 'Skein-Wait')
  if (ms <= LIMITS.receiptWaitMs) return ms
  throw optionError(
    'Skein-Wait',
    `'${value}' is more than ${LIMITS.receiptWaitMs / 1000} seconds; look into /v1/outbox later.`
  )
}

function readHeaders(headers: IncomingHttpHeaders): Pick<SendRequest, 'options' | 'waitMs'> {
  const options: Mutable<SendOptions> = {}
  let waitMs: number | undefined
  const message = readMessageHeaders(headers, (name, value) => {
    switch (name) {
      case 'skein-key':
        options.key = headerText(value)
        return
      case 'skein-ttl':
        options.ttlMs = parseSeconds(value, 'Skein-TTL')
        return
      case 'skein-custodians':
        options.custodians = parseInteger(value, 'Skein-Custodians', [0, LIMITS.replicas])
        return
      case 'skein-wait':
        waitMs = parseWait(value)
        return
      default:
        throw unknownHeader(name)
    }
  })
  if (message.headers !== undefined) options.headers = message.headers
  if (message.contentType !== undefined) options.contentType = message.contentType
  return { options, waitMs }
}

/**
 * Reads a request target `<prefix>/<peer>/<topic>` and its headers. Throws ERR_OPTIONS naming what is missing or
 * unknown, or ERR_CONTENT_TYPE.
 */
export function readSendRequest(
  target: string,
  prefix: string,
  headers: IncomingHttpHeaders
): SendRequest {
  const rest = pathOf(target).slice(prefix.length + 1)
  const slash = rest.indexOf('/')
  if (slash < 1 || slash === rest.length - 1) {
    throw optionError('topic', `is missing; POST to ${prefix}/<peer>/<topic>.`)
  }
  return {
    peer: decodeSegment(rest.slice(0, slash), 'peer'),
    topic: decodeSegment(rest.slice(slash + 1), 'topic'),
    ...readHeaders(headers)
  }
}
