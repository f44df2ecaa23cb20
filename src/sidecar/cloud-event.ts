import { isUtf8 } from 'node:buffer'
import type { Message } from '../node/contract.ts'

/** `auto`: JSON and text stand as such, other bytes as base64. `base64`: always the exact bytes. */
export type DataEncoding = 'auto' | 'base64'

/** Attribute names that a message header must not take over. */
export const EVENT_ATTRIBUTES: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'subject',
  'time',
  'datacontenttype',
  'dataschema',
  'data',
  'data_base64',
  'skeinid',
  'skeintopic',
  'skeinattempt',
  'skeinfence',
  'skeinlate',
  'skeinheaders',
  'expirytime',
  'partitionkey',
  'sequence'
])

const EXTENSION = /^[a-z0-9]{1,20}$/
const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i
const TEXT_TYPE = /^text\//i

/** Is it a media type whose bytes are JSON? */
export function isJsonType(contentType: string | undefined): boolean {
  return contentType !== undefined && JSON_TYPE.test(contentType)
}

/** Is it a media type whose bytes are text? */
export function isTextType(contentType: string | undefined): boolean {
  return contentType !== undefined && TEXT_TYPE.test(contentType)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function headersJson(headers: Readonly<Record<string, string>>): string {
  let json = ''
  let rest: Record<string, string> | undefined
  for (const [name, value] of Object.entries(headers)) {
    if (EXTENSION.test(name) && !EVENT_ATTRIBUTES.has(name)) {
      json += `,"${name}":${JSON.stringify(value)}`
    } else {
      rest ??= {}
      Object.defineProperty(rest, name, { value, enumerable: true })
    }
  }
  return rest === undefined
    ? json
    : `${json},"skeinheaders":${JSON.stringify(JSON.stringify(rest))}`
}

function dataJson(message: Message, encoding: DataEncoding): string {
  const { payload, contentType } = message
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (encoding === 'auto' && contentType !== undefined && isUtf8(bytes)) {
    if (isTextType(contentType)) return `,"data":${JSON.stringify(bytes.toString('utf8'))}`
    if (isJsonType(contentType)) {
      const text = bytes.toString('utf8')
      // Numbers stay as they were written. A line break in JSON is only space, and would end an event's line.
      if (isJson(text)) return `,"data":${text.replace(/[\r\n]+/g, ' ')}`
    }
  }
  return `,"data_base64":"${bytes.toString('base64')}"`
}

/**
 * The message as a CloudEvent 1.0 in JSON, on one line. Built by hand: this is done for every message of every
 * stream, and `JSON.stringify` of an object costs three times as much.
 */
export function cloudEventJson(message: Message, encoding: DataEncoding): string {
  const id = JSON.stringify(message.id)
  const topic = JSON.stringify(message.topic)
  let json =
    `{"specversion":"1.0","id":${id},"source":"skein:${message.publisher}","type":"skein.message"` +
    `,"subject":${topic},"time":"${message.time.toISOString()}"` +
    `,"sequence":"${String(message.sequence).padStart(16, '0')}"` +
    `,"skeinid":${id},"skeintopic":${topic},"skeinattempt":${message.attempt}`
  if (message.fence !== undefined) json += `,"skeinfence":${message.fence}`
  if (message.late) json += ',"skeinlate":true'
  if (message.contentType !== undefined) {
    json += `,"datacontenttype":${JSON.stringify(message.contentType)}`
  }
  if (message.expiresAt !== undefined) {
    json += `,"expirytime":"${message.expiresAt.toISOString()}"`
  }
  if (message.key !== undefined) json += `,"partitionkey":${JSON.stringify(message.key)}`
  return `${json}${headersJson(message.headers)}${dataJson(message, encoding)}}`
}
