import { isJsonType } from '../events/cloud-event.ts'
import { jsonMembers } from '../events/json-parts.ts'
import { optionError } from '../query.ts'

/** What a command carries. */
export interface FrameContent {
  readonly data?: unknown
  readonly data_base64?: string | undefined
  readonly contentType?: string | undefined
}

/** A payload, and the content type that goes with it. */
export interface Payload {
  readonly payload: Uint8Array
  readonly contentType: string | undefined
}

/**
 * The payload of a command. `text` is its frame: numbers in JSON go on as they were written. Throws ERR_OPTIONS where
 * both `data` and `data_base64` are given.
 */
export function payloadOf(content: FrameContent, text: string): Payload {
  const { contentType, data, data_base64: base64 } = content
  if (base64 !== undefined) {
    if (data === undefined) return { payload: Buffer.from(base64, 'base64'), contentType }
    throw optionError('data', 'stands beside data_base64; give one of them.')
  }
  if (data === undefined) return { payload: Buffer.alloc(0), contentType }
  if (typeof data === 'string' && !isJsonType(contentType)) {
    return { payload: Buffer.from(data, 'utf8'), contentType: contentType ?? 'text/plain' }
  }
  const json = jsonMembers(text).get('data') ?? JSON.stringify(data)
  return { payload: Buffer.from(json, 'utf8'), contentType: contentType ?? 'application/json' }
}
