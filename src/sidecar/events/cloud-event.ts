import { isUtf8 } from 'node:buffer'
import type { Message } from '../../node/contract.ts'
import { CONTEXT_ATTRIBUTES, EVENT_MARK } from './cloud-event-attributes.ts'

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
/** Events may be given longer names than those that are recommended. */
const OWN_EXTENSION = /^[a-z0-9]+$/
const JSON_TYPE = /^[\w.+-]+\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i
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

/** The headers of a message as an event shows them. */
interface Shown {
  /** Attributes that the event came in with and that go before those of the message, by name. */
  readonly context: Readonly<Record<string, string>> | undefined
  /** The other attributes, and `skeinheaders`, as they stand in JSON. */
  readonly json: string
}

function shownHeaders(headers: Readonly<Record<string, string>>): Shown {
  const context: Record<string, string> | undefined =
    headers[EVENT_MARK] === undefined ? undefined : {}
  const extension = context === undefined ? EXTENSION : OWN_EXTENSION
  let json = ''
  let rest: Record<string, string> | undefined
  // Headers inherit nothing, and a list of entries would be made for every message.
  for (const name in headers) {
    const value = headers[name] as string
    if (EVENT_ATTRIBUTES.has(name)) {
      if (context !== undefined && CONTEXT_ATTRIBUTES.get(name)?.(value) === true) {
        context[name] = value
        continue
      }
    } else if (extension.test(name)) {
      json += `,"${name}":${JSON.stringify(value)}`
      continue
    }
    rest ??= {}
    Object.defineProperty(rest, name, { value, enumerable: true })
  }
  return rest === undefined
    ? { context, json }
    : { context, json: `${json},"skeinheaders":${JSON.stringify(JSON.stringify(rest))}` }
}

/** The members `data` or `data_base64` that show a payload, with a comma before them. */
export function dataJson(
  message: Pick<Message, 'payload' | 'contentType'>,
  encoding: DataEncoding
): string {
  const { payload, contentType } = message
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (encoding === 'auto' && contentType !== undefined && isUtf8(bytes)) {
    if (isJsonType(contentType)) {
      const text = bytes.toString('utf8')
      // Numbers stay as they were written. A line break in JSON is only space, and would end an event's line.
      if (isJson(text)) return `,"data":${text.replace(/[\r\n]+/g, ' ')}`
    } else if (isTextType(contentType)) return `,"data":${JSON.stringify(bytes.toString('utf8'))}`
  }
  return `,"data_base64":"${bytes.toString('base64')}"`
}

/** An event that came in without data goes out without. */
function ownDataJson(message: Message, encoding: DataEncoding): string {
  if (message.payload.length > 0 || encoding === 'base64') return dataJson(message, encoding)
  const { contentType } = message
  return isTextType(contentType) && !isJsonType(contentType) ? ',"data":""' : ''
}

/** The attributes that every event has, for one that did not come in as such. */
function contextJson(message: Message, id: string, topic: string): string {
  return (
    `{"specversion":"1.0","id":${id},"source":"skein:${message.publisher}","type":"skein.message"` +
    `,"subject":${topic},"time":"${message.time.toISOString()}"` +
    `,"sequence":"${sequenceOf(message)}"`
  )
}

/** The same for one that came in as an event: its own, and what it must have. */
function ownContextJson(message: Message, own: Readonly<Record<string, string>>): string {
  const shown = {
    specversion: '1.0',
    id: message.id,
    source: `skein:${message.publisher}`,
    type: 'skein.message',
    time: message.time.toISOString(),
    sequence: sequenceOf(message),
    ...own
  }
  return JSON.stringify(shown).slice(0, -1)
}

function sequenceOf(message: Message): string {
  return String(message.sequence).padStart(16, '0')
}

/** The attributes of the message as a CloudEvent, its data left out. */
export function eventAttributes(message: Message): Record<string, string | number | boolean> {
  return JSON.parse(`${attributesJson(message, shownHeaders(message.headers))}}`) as Record<
    string,
    string | number | boolean
  >
}

/**
 * The message as a CloudEvent 1.0 in JSON, on one line. Built by hand: this is done for every message of every
 * stream, and `JSON.stringify` of an object costs three times as much.
 */
export function cloudEventJson(message: Message, encoding: DataEncoding): string {
  const shown = shownHeaders(message.headers)
  const data =
    shown.context === undefined ? dataJson(message, encoding) : ownDataJson(message, encoding)
  return `${attributesJson(message, shown)}${data}}`
}

function attributesJson(message: Message, shown: Shown): string {
  const id = JSON.stringify(message.id)
  const topic = JSON.stringify(message.topic)
  const { context } = shown
  let json =
    context === undefined ? contextJson(message, id, topic) : ownContextJson(message, context)
  json += `,"skeinid":${id},"skeintopic":${topic},"skeinattempt":${message.attempt}`
  if (message.fence !== undefined) json += `,"skeinfence":${message.fence}`
  if (message.late) json += ',"skeinlate":true'
  if (message.contentType !== undefined) {
    json += `,"datacontenttype":${JSON.stringify(message.contentType)}`
  }
  if (message.expiresAt !== undefined) {
    json += `,"expirytime":"${message.expiresAt.toISOString()}"`
  }
  if (message.key !== undefined) json += `,"partitionkey":${JSON.stringify(message.key)}`
  return json + shown.json
}
