import type { PublishOptions } from '../../node/contract.ts'
import { optionError } from '../query.ts'

/** Marks a message that came in as a CloudEvent: its header of this name is the version. */
export const EVENT_MARK = 'specversion'

type Check = (value: string) => boolean

const isNotEmpty: Check = (value) => value !== ''
/** RFC 3986 characters and escapes. What receivers check is no more than that. */
const URI_TEXT = /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/
const isUriReference: Check = (value) => URI_TEXT.test(value)
const isUri: Check = (value) => /^[a-z][a-z0-9+.-]*:/i.test(value) && URI_TEXT.test(value)
const TIMESTAMP = /^(\d{4})-(\d{2})-(\d{2})[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/

function isTimestamp(value: string): boolean {
  const [, year, month, day] = TIMESTAMP.exec(value) ?? []
  if (day === undefined || Number.isNaN(Date.parse(value.toUpperCase()))) return false
  // Date takes 30 February for 2 March.
  return (
    new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day)
  )
}

/**
 * Attributes that a message keeps as headers of the same name, and shows instead of its own where it came in as a
 * CloudEvent, with what they must be.
 */
export const CONTEXT_ATTRIBUTES: ReadonlyMap<string, Check> = new Map<string, Check>([
  [EVENT_MARK, (value) => value === '1.0'],
  ['id', isNotEmpty],
  ['source', isUriReference],
  ['type', isNotEmpty],
  ['subject', isNotEmpty],
  ['time', isTimestamp],
  ['dataschema', isUri],
  ['sequence', isNotEmpty]
])

/** Attributes that become something else than a header. */
const MAPPED: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['partitionkey', isNotEmpty],
  ['expirytime', isTimestamp],
  ['datacontenttype', (value) => /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(?:;|$)/.test(value)]
])

const REQUIRED = [EVENT_MARK, 'id', 'source', 'type'] as const
const WHAT: Readonly<Record<string, string>> = {
  [EVENT_MARK]: "'1.0'; other versions are not taken",
  source: 'a URI reference like /shop/7 or urn:shop:7',
  time: 'a time like 2030-01-31T12:00:00Z',
  expirytime: 'a time like 2030-01-31T12:00:00Z',
  datacontenttype: 'a media type like application/json',
  dataschema: 'an absolute URI'
}

/** What other nodes, and this one, say of a message on its way out: said anew, not passed on. */
const MARKS: ReadonlySet<string> = new Set([
  'skeinid',
  'skeintopic',
  'skeinattempt',
  'skeinfence',
  'skeinlate'
])
const NAME = /^[a-z0-9]+$/
// oxlint-disable-next-line no-control-regex
const UNSAYABLE = /[\u0000-\u001f\u007f-\u009f\p{Surrogate}]/u

/** What the attributes of a CloudEvent say of the message that it becomes. */
export type EventOptions = Pick<PublishOptions, 'headers' | 'key' | 'ttlMs' | 'contentType'>

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] }

/**
 * Reads the attributes of a CloudEvent as texts; an unset one is left out. `partitionkey`, `expirytime` and
 * `datacontenttype` become key, time to live (from `now`, ms) and content type, the others headers of their names.
 * Throws ERR_OPTIONS naming the attribute that is missing or wrong.
 */
export function eventOptions(
  attributes: Iterable<readonly [string, string]>,
  now: number
): EventOptions {
  const options: Mutable<EventOptions> = {}
  const headers = new Map<string, string>()
  for (const [name, value] of attributes) {
    assertAttribute(name, value)
    if (name === 'partitionkey') options.key = value
    else if (name === 'expirytime') options.ttlMs = ttlOf(value, now)
    else if (name === 'datacontenttype') options.contentType = value
    else if (name === 'skeinheaders') addOtherHeaders(value, headers)
    else if (!MARKS.has(name)) headers.set(name, value)
  }
  for (const name of REQUIRED) {
    if (!headers.has(name)) throw optionError(name, 'the CloudEvent lacks this attribute.')
  }
  return { ...options, headers: Object.fromEntries(headers) }
}

function assertAttribute(name: string, value: string): void {
  if (!NAME.test(name)) {
    throw optionError(name, 'attributes of CloudEvents are named with a to z and 0 to 9 only.')
  }
  if (UNSAYABLE.test(value)) {
    throw optionError(name, 'an attribute has no control characters and no half surrogate pairs.')
  }
  const isRight = CONTEXT_ATTRIBUTES.get(name) ?? MAPPED.get(name)
  if (isRight?.(value) !== false) return
  throw optionError(name, `'${value}' is not ${WHAT[name] ?? 'a text that is not empty'}.`)
}

function ttlOf(value: string, now: number): number {
  const ttlMs = Date.parse(value.toUpperCase()) - now
  if (ttlMs >= 1) return ttlMs
  throw optionError('expirytime', `${value} is past; the event would not be handed over any more.`)
}

/** Headers that were no attributes when a node handed the message over are headers again. */
function addOtherHeaders(text: string, headers: Map<string, string>): void {
  for (const [name, value] of Object.entries(objectOf(text))) {
    if (typeof value !== 'string') throw optionError('skeinheaders', `${name} is not a text.`)
    // Where an attribute has its name, the event's own goes first.
    if (!NAME.test(name)) headers.set(name, value)
  }
}

function objectOf(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (error) {
    throw optionError('skeinheaders', `is not JSON: ${(error as Error).message}.`)
  }
  throw optionError('skeinheaders', 'is not an object, as JSON.')
}
