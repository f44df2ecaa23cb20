import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { From, SubscribeOptions, WhereFilter } from '../node/contract.ts'

/** A parameter or header that is missing, unknown or out of its range. */
export function optionError(name: string, why: string): SkeinError {
  return new SkeinError('ERR_OPTIONS', `${name}: ${why}`, { details: { option: name } })
}

/** The part of a request target before the query. */
export function pathOf(target: string): string {
  const mark = target.indexOf('?')
  return mark === -1 ? target : target.slice(0, mark)
}

/** Percent-decodes a path segment. Throws ERR_OPTIONS naming it. */
export function decodeSegment(segment: string, name: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw optionError(name, 'its percent-encoding is malformed; encode it as UTF-8.')
  }
}

/**
 * In a form-encoded query a plus sign is a space, but people write filters with `+` as they are. A level that
 * is nothing but a plus is the wildcard: nobody means a level of one space.
 */
function keepPlusLevels(value: string): string {
  return value.replace(/(^|\/|%2f)\+(?=$|\/|%2f)/gi, '$1%2B')
}

/**
 * The query of a request target, by name. Throws ERR_OPTIONS naming a parameter that is not `allowed`, stands
 * twice or is malformed.
 */
export function readQuery(target: string, allowed: readonly string[]): ReadonlyMap<string, string> {
  const mark = target.indexOf('?')
  const query = new Map<string, string>()
  if (mark === -1) return query
  for (const part of target.slice(mark + 1).split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const rawName = equals === -1 ? part : part.slice(0, equals)
    const rawValue = equals === -1 ? '' : part.slice(equals + 1)
    const name = decodeSegment(rawName.replaceAll('+', ' '), 'query')
    if (!allowed.includes(name)) {
      const known = allowed.length === 0 ? 'none' : allowed.join(', ')
      throw optionError(name, `there is no such query parameter here (known: ${known}).`)
    }
    if (query.has(name)) throw optionError(name, 'the query parameter is given twice.')
    query.set(name, decodeSegment(keepPlusLevels(rawValue).replaceAll('+', ' '), name))
  }
  return query
}

const DECIMAL = /^\d{1,12}(\.\d{1,9})?$/

/** Decimal seconds as ms, at least 1. Throws ERR_OPTIONS naming `name`. */
export function parseSeconds(text: string, name: string): number {
  const ms = DECIMAL.test(text) ? Math.round(Number(text) * 1000) : 0
  if (ms < 1)
    throw optionError(name, `'${text}' is not a positive number of seconds like 60 or 0.5.`)
  return ms
}

/** An integer within [min, max]. Throws ERR_OPTIONS naming `name`. */
export function parseInteger(text: string, name: string, range: readonly [number, number]): number {
  const [min, max] = range
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    throw optionError(name, `'${text}' is not a whole number from ${min} to ${max}.`)
  }
  return value
}

/** One of `values`. Throws ERR_OPTIONS naming `name`. */
export function parseChoice<const Value extends string>(
  text: string,
  name: string,
  values: readonly Value[]
): Value {
  const value = values.find((candidate) => candidate === text)
  if (value === undefined) throw optionError(name, `'${text}' is not one of ${values.join(', ')}.`)
  return value
}

/** `available` or `majority=<n>`. Throws ERR_OPTIONS naming `name`. */
export function parseOnPartition(
  text: string,
  name: string
): NonNullable<SubscribeOptions['onPartition']> {
  if (text === 'available') return text
  const [key, count = ''] = text.split('=')
  if (key === 'majority') {
    return { majority: parseInteger(count, name, [2, LIMITS.groupMajority]) }
  }
  throw optionError(name, `'${text}' is not available or majority=<members>, like majority=3.`)
}

/** An array in JSON, whose filters are judged by the node. Throws ERR_OPTIONS naming `name`. */
export function parseWhere(text: string, name: string): readonly WhereFilter[] {
  let filters: unknown
  try {
    filters = JSON.parse(text)
  } catch (error) {
    throw optionError(name, `is not JSON (${(error as Error).message}).`)
  }
  if (!Array.isArray(filters)) {
    throw optionError(name, 'is not an array like [{"exact":{"type":"order.created"}}].')
  }
  return filters as readonly WhereFilter[]
}

const MOMENT = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:\d{2})?)?$/

/** `now`, `earliest`, `last`, an RFC 3339 moment, or `cursor:<cursor>`. Throws ERR_OPTIONS naming `name`. */
export function parseFrom(text: string, name: string): From {
  if (text === 'now' || text === 'earliest' || text === 'last') return text
  if (text.startsWith('cursor:')) return { cursor: text.slice('cursor:'.length) }
  const moment = momentOf(text)
  if (moment !== undefined) return moment
  throw optionError(
    name,
    `'${text}' is not now, earliest, last, a time like 2030-01-31T12:00:00Z or cursor:<cursor>.`
  )
}

/** An RFC 3339 moment. Throws ERR_OPTIONS naming `name`. */
export function parseMoment(text: string, name: string): Date {
  const moment = momentOf(text)
  if (moment !== undefined) return moment
  throw optionError(name, `'${text}' is not a time like 2030-01-31T12:00:00Z.`)
}

function momentOf(text: string): Date | undefined {
  const moment = MOMENT.test(text) ? new Date(text) : undefined
  return Number.isNaN(moment?.getTime()) ? undefined : moment
}
