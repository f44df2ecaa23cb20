import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { attributeReader, type Subject } from './attributes.ts'
import type { PayloadFields } from './payload-fields.ts'

/** Does a message pass? */
export type Where = (subject: Subject) => boolean

type Compare = (value: string, expected: string) => boolean

const COMPARISONS: Readonly<Record<string, Compare>> = {
  exact: (value, expected) => value === expected,
  prefix: (value, expected) => value.startsWith(expected),
  suffix: (value, expected) => value.endsWith(expected)
}
const DIALECTS = [...Object.keys(COMPARISONS), 'all', 'any', 'not']

/**
 * Compiles what a subscription was given as `where`; undefined where it asks for nothing. Takes anything, since it
 * comes from outside. Throws ERR_OPTIONS with the path of what is wrong in `details.path`, like `where[0].any[1]`.
 */
export function compileWhere(filters: unknown, fields: PayloadFields): Where | undefined {
  if (!Array.isArray(filters)) throw wrong('where', 'is not an array of filters')
  if (filters.length === 0) return undefined
  const where = new Compiler(fields).every(filters, 'where', 1)
  const bytes = Buffer.byteLength(JSON.stringify(filters))
  if (bytes <= LIMITS.whereBytes) return where
  throw wrong('where', `takes ${bytes} bytes as JSON; ${LIMITS.whereBytes} are allowed`)
}

class Compiler {
  readonly #fields: PayloadFields
  #terms = 0

  constructor(fields: PayloadFields) {
    this.#fields = fields
  }

  every(filters: readonly unknown[], path: string, depth: number): Where {
    const parts = this.#list(filters, path, depth)
    const [only] = parts
    if (only !== undefined && parts.length === 1) return only
    return (subject) => parts.every((part) => part(subject))
  }

  #list(filters: readonly unknown[], path: string, depth: number): Where[] {
    return filters.map((filter, index) => this.#filter(filter, `${path}[${index}]`, depth))
  }

  #filter(filter: unknown, path: string, depth: number): Where {
    const entries = isObject(filter) ? Object.entries(filter) : []
    const [entry] = entries
    if (entry === undefined || entries.length > 1) {
      throw wrong(path, `is not an object with one of ${DIALECTS.join(', ')}`)
    }
    if (depth > LIMITS.whereDepth) {
      throw wrong(path, `is nested deeper than ${LIMITS.whereDepth} levels`)
    }
    this.#count(path)
    const [dialect, value] = entry
    const inner = `${path}.${dialect}`
    const compare = Object.hasOwn(COMPARISONS, dialect) ? COMPARISONS[dialect] : undefined
    if (compare !== undefined) return this.#attributes(value, compare, inner)
    if (dialect === 'not') {
      const negated = this.#filter(value, inner, depth + 1)
      return (subject) => !negated(subject)
    }
    if (dialect !== 'all' && dialect !== 'any') {
      throw wrong(inner, `there is no such dialect; there are ${DIALECTS.join(', ')}`)
    }
    if (!Array.isArray(value) || value.length === 0) {
      throw wrong(inner, 'is not an array of one or more filters')
    }
    if (dialect === 'all') return this.every(value, inner, depth + 1)
    const parts = this.#list(value, inner, depth + 1)
    return (subject) => parts.some((part) => part(subject))
  }

  #attributes(value: unknown, compare: Compare, path: string): Where {
    const entries = isObject(value) ? Object.entries(value) : []
    if (entries.length === 0) {
      throw wrong(path, 'is not an object of one or more attributes, each with a text')
    }
    const tests = entries.map(([name, expected]) => {
      const at = `${path}.${name}`
      this.#count(at)
      if (typeof expected !== 'string' || expected === '') {
        throw wrong(at, 'is not a text of one or more characters; numbers are written as text, too')
      }
      const read = attributeReader(name, this.#fields)
      if (read === undefined) throw wrong(at, 'the name of an attribute is missing')
      return (subject: Subject): boolean => {
        const actual = read(subject)
        return actual !== undefined && compare(actual, expected)
      }
    })
    const [only] = tests
    if (only !== undefined && tests.length === 1) return only
    return (subject) => tests.every((test) => test(subject))
  }

  #count(path: string): void {
    if (++this.#terms <= LIMITS.whereTerms) return
    throw wrong(path, `there are more than ${LIMITS.whereTerms} filters and attributes`)
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function wrong(path: string, why: string): SkeinError {
  return new SkeinError('ERR_OPTIONS', `${path}: ${why}`, { details: { option: 'where', path } })
}
