import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import { isHidden, parseTopic } from '../wire/topic.ts'
import type { BatchMessage, Data, PublishOptions } from './contract.ts'

/** Makes a message of what `publish` was given. Throws ERR_TOPIC, ERR_PAYLOAD, ERR_PAYLOAD_TOO_LARGE, ERR_OPTIONS. */
export function outgoing(
  topic: string,
  data: Data,
  options: Omit<BatchMessage, 'topic' | 'data'> | PublishOptions,
  payloadBytes: number
): Outgoing {
  const parsed = parseTopic(topic)
  if (isHidden(topic)) {
    throw new SkeinError(
      'ERR_TOPIC',
      `topic '${topic}': first levels that begin with '$' or '@' are Skein's own; choose another first level`
    )
  }
  const { payload, contentType } = encodeData(data, payloadBytes)
  const { headers, id, key, priority, retain, ttlMs } = options
  if (id !== undefined) checkId(id)
  checkNumber('priority', priority, 9)
  if (retain !== undefined && typeof retain !== 'boolean') {
    throw new SkeinError('ERR_OPTIONS', `retain: ${String(retain)} is neither true nor false`, {
      details: { option: 'retain' }
    })
  }
  checkNumber('ttlMs', ttlMs, Number.MAX_SAFE_INTEGER)
  const deliverAt = options.deliverAt?.getTime()
  checkNumber('deliverAt', deliverAt, Number.MAX_SAFE_INTEGER)
  return {
    topic: parsed,
    suffix: parsed.suffix,
    suffixBytes: parsed.suffixBytes,
    payload,
    contentType: options.contentType ?? contentType,
    key,
    headers,
    ttlMs,
    priority: priority === 0 ? undefined : priority,
    deliverAt,
    id
  }
}

function checkId(id: string): void {
  const bytes = Buffer.byteLength(id)
  if (bytes > 0 && bytes <= LIMITS.fieldBytes) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `id: it takes ${bytes} bytes; an idempotency id has 1 to ${LIMITS.fieldBytes}`,
    { details: { option: 'id' } }
  )
}

/** Data as a payload with its content type. Throws ERR_PAYLOAD, ERR_PAYLOAD_TOO_LARGE. */
export function encodeData(
  data: Data,
  payloadBytes: number
): { payload: Uint8Array; contentType: string | undefined } {
  const encoded = encode(data)
  const bytes = encoded.payload.byteLength
  if (bytes <= payloadBytes) return encoded
  throw new SkeinError(
    'ERR_PAYLOAD_TOO_LARGE',
    `the payload has ${bytes} bytes and this node takes at most ${payloadBytes}; send it in parts`,
    { details: { bytes, limit: payloadBytes } }
  )
}

function encode(data: Data): { payload: Uint8Array; contentType: string | undefined } {
  if (data instanceof Uint8Array) return { payload: data, contentType: undefined }
  if (typeof data === 'string') return { payload: Buffer.from(data), contentType: 'text/plain' }
  let text: string | undefined
  try {
    text = JSON.stringify(data)
  } catch (error) {
    throw new SkeinError(
      'ERR_PAYLOAD',
      'data cannot be written as JSON; pass bytes, a string or a JSON value',
      { cause: error }
    )
  }
  if (text === undefined) {
    throw new SkeinError(
      'ERR_PAYLOAD',
      `data is ${typeof data}; pass bytes, a string or a JSON value`
    )
  }
  return { payload: Buffer.from(text), contentType: 'application/json' }
}

function checkNumber(option: string, value: number | undefined, greatest: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= greatest)) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `${option}: ${value} is not a whole number from 0 to ${greatest}`,
    {
      details: { option }
    }
  )
}
