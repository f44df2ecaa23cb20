import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { SkeinError, isSkeinError } from '../../core/errors.ts'
import { type EventOptions, eventOptions } from './cloud-event-attributes.ts'
import { isJsonType } from './cloud-event.ts'
import { jsonElements, jsonMembers } from './json-parts.ts'
import { headerText, saidContentType } from '../message-headers.ts'
import { optionError } from '../query.ts'

const PREFIX = 'ce-'
const HALF_PAIR = /\p{Surrogate}/u
const ESCAPES = /(?:%[0-9a-f]{2})+/gi

/** An event and its data, ready to be published. */
export interface EventMessage {
  readonly options: EventOptions
  readonly payload: Uint8Array
}

/** Attributes that an event has where it does not say them. */
export type EventDefaults = Readonly<Record<string, string | undefined>>

function withDefaults(
  attributes: readonly (readonly [string, string])[],
  defaults: EventDefaults
): readonly (readonly [string, string])[] {
  const given = new Set(attributes.map(([name]) => name))
  const added = Object.entries(defaults).flatMap(([name, value]) =>
    value === undefined || given.has(name) ? [] : [[name, value] as const]
  )
  return added.length === 0 ? attributes : [...attributes, ...added]
}

/** Do the headers of a request carry a CloudEvent in binary mode? */
export function hasEventHeaders(headers: IncomingHttpHeaders): boolean {
  for (const name in headers) if (name.startsWith(PREFIX)) return true
  return false
}

/**
 * Reads a CloudEvent in binary mode: `ce-*` headers are its attributes, the body is its data. Throws ERR_OPTIONS
 * naming an attribute.
 */
export function readBinaryEvent(
  headers: IncomingHttpHeaders,
  defaults: EventDefaults = {}
): EventOptions {
  const attributes: [string, string][] = []
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith(PREFIX) || typeof value !== 'string') continue
    const name = header.slice(PREFIX.length)
    if (name === 'datacontenttype' || name === 'data') {
      throw optionError(header, 'the data is the body, and its type stands in Content-Type.')
    }
    attributes.push([name, attributeText(value)])
  }
  const contentType = saidContentType(headers['content-type'], true)
  if (contentType !== undefined) attributes.push(['datacontenttype', contentType])
  return eventOptions(withDefaults(attributes, defaults), Date.now())
}

/** Reads one CloudEvent in JSON. Throws ERR_OPTIONS naming an attribute, `data`, or `body`. */
export function readJsonEvent(body: Buffer, defaults: EventDefaults = {}): EventMessage {
  const text = jsonText(body)
  return eventOf(parse(text), text, defaults)
}

/**
 * Reads a batch of CloudEvents in JSON, each as `take` makes it. Throws ERR_OPTIONS naming `body`, or an attribute with
 * the `index` of its event.
 */
export function readJsonBatch<Taken>(body: Buffer, take: (event: EventMessage) => Taken): Taken[] {
  const text = jsonText(body)
  const batch = parse(text)
  if (!Array.isArray(batch)) throw optionError('body', 'a batch of CloudEvents is a JSON array.')
  const texts = jsonElements(text)
  return batch.map((event: unknown, index) => {
    try {
      return take(eventOf(event, texts[index] ?? '', {}))
    } catch (error) {
      if (!isSkeinError(error)) throw error
      throw new SkeinError(error.code, `Event ${index}: ${error.message}`, {
        cause: error,
        details: { ...error.details, index, published: 0 }
      })
    }
  })
}

/** `text` is how the event was written. */
function eventOf(event: unknown, text: string, defaults: EventDefaults): EventMessage {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    throw optionError('body', 'a CloudEvent is a JSON object.')
  }
  const attributes: [string, string][] = []
  for (const [name, value] of Object.entries(event)) {
    // Null stands for an attribute that is not set.
    if (value === null || name === 'data' || name === 'data_base64') continue
    attributes.push([name, textOf(name, value)])
  }
  const options = eventOptions(withDefaults(attributes, defaults), Date.now())
  return dataOf(event as Readonly<Record<string, unknown>>, options, text)
}

/** RFC 3986 escapes stand for UTF-8 (HTTP binding, 3.1.3.2); not every client writes them, so a lone % is itself. */
function attributeText(value: string): string {
  const text = headerText(value)
  const quoted = /^"(.*)"$/.exec(text)
  const plain = quoted === null ? text : (quoted[1] ?? '').replace(/\\(.)/g, '$1')
  return plain.replace(ESCAPES, (escapes) => {
    const bytes = Buffer.from(escapes.replaceAll('%', ''), 'hex')
    return isUtf8(bytes) ? bytes.toString('utf8') : escapes
  })
}

/** Numbers and booleans in the one way that CloudEvents writes them as text. */
function textOf(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number' && value === (value | 0)) {
    return String(value)
  }
  throw optionError(name, 'an attribute is a text, a boolean or an integer of 32 bits.')
}

function dataOf(
  event: Readonly<Record<string, unknown>>,
  options: EventOptions,
  text: string
): EventMessage {
  const { data, data_base64: base64 } = event
  if (base64 !== undefined && base64 !== null) {
    if (data !== undefined && data !== null) {
      throw optionError('data_base64', 'the event has data, too; give one of them.')
    }
    return { options, payload: bytesOf(base64) }
  }
  if (data === undefined) return { options, payload: Buffer.alloc(0) }
  const { contentType = 'application/json' } = options
  if (isJsonType(contentType)) {
    // As it was written, so that numbers and the order of keys stay.
    const written = jsonMembers(text).get('data') ?? ''
    return { options: { ...options, contentType }, payload: Buffer.from(written) }
  }
  if (data === null) return { options, payload: Buffer.alloc(0) }
  if (typeof data === 'string' && !HALF_PAIR.test(data))
    return { options, payload: Buffer.from(data) }
  throw optionError(
    'data',
    `with the datacontenttype '${contentType}' it must be a text, or bytes in data_base64.`
  )
}

function bytesOf(base64: unknown): Buffer {
  if (typeof base64 === 'string') {
    const bytes = Buffer.from(base64, 'base64')
    if (bytes.toString('base64') === base64) return bytes
  }
  throw optionError('data_base64', 'is not base64 with padding.')
}

function jsonText(body: Buffer): string {
  if (isUtf8(body)) return body.toString('utf8')
  throw optionError('body', 'it is not UTF-8.')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw optionError('body', `it is not JSON: ${(error as Error).message}.`)
  }
}
