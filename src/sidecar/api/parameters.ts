import { z } from 'zod'
import type { DataEncoding } from '../events/cloud-event.ts'
import { headerText } from '../message-headers.ts'
import type { From, SubscribeOptions, WhereFilter } from '../../node/contract.ts'
import {
  optionError,
  parseChoice,
  parseFrom,
  parseInteger,
  parseMoment,
  parseOnPartition,
  parseSeconds,
  parseWhere
} from '../query.ts'

/** What a text in a query or header stands for. */
export interface Reader<Value> {
  /** What may stand there, for the description of the interface. */
  readonly schema: z.ZodType
  /** Throws ERR_OPTIONS naming `name`. */
  readonly read: (text: string, name: string) => Value
}

/** A query parameter or header of a route. */
export interface Parameter<Value> extends Reader<Value> {
  readonly description: string
  /** What it is where it is not given. */
  readonly fallback: Value
  /** Where it must be given: how to. */
  readonly missing: string | undefined
}

/** A header: `Parameter` is what it stands for, `header` its name as it is written. */
export interface HeaderParameter<Value> extends Parameter<Value> {
  readonly header: string
}

export type Parameters = Readonly<Record<string, Parameter<unknown>>>
export type HeaderParameters = Readonly<Record<string, HeaderParameter<unknown>>>

/** The values of parameters, by name. */
export type ValuesOf<Set extends Parameters> = {
  readonly [Name in keyof Set]: Set[Name] extends Parameter<infer Value> ? Value : never
}

export const text: Reader<string> = { schema: z.string(), read: (value) => value }

/** A text in a header, which means UTF-8 where it can. */
export const utf8: Reader<string> = { schema: z.string(), read: headerText }

/** `true` or `false`. */
export const flag: Reader<boolean> = {
  schema: z.boolean(),
  read: (value, name) => parseChoice(value, name, ['true', 'false']) === 'true'
}

/** How payloads stand in events. */
export const encoding: Parameter<DataEncoding> = optional(
  choice('auto', 'base64'),
  '`base64`: always the exact bytes, in `data_base64`.',
  'auto'
)

export function integer(min: number, max: number): Reader<number> {
  return {
    schema: z.int().min(min).max(max),
    read: (value, name) => parseInteger(value, name, [min, max])
  }
}

export function choice<const Value extends string>(...values: readonly Value[]): Reader<Value> {
  return {
    schema: z.enum(values),
    read: (value, name) => parseChoice(value, name, values)
  }
}

/** Decimal seconds, as ms; `most` in ms, and what to do where more is wanted. */
export function seconds(most?: number, instead = ''): Reader<number> {
  const schema = z.number().positive()
  return {
    schema: most === undefined ? schema : schema.max(most / 1000),
    read: (value, name) => {
      const ms = parseSeconds(value, name)
      if (most === undefined || ms <= most) return ms
      throw optionError(name, `'${value}' is more than ${most / 1000} seconds${instead}.`)
    }
  }
}

export const moment: Reader<Date> = { schema: z.iso.datetime({ offset: true }), read: parseMoment }

export const from: Reader<From> = { schema: z.string(), read: parseFrom }

export const where: Reader<readonly WhereFilter[]> = { schema: z.string(), read: parseWhere }

export const onPartition: Reader<NonNullable<SubscribeOptions['onPartition']>> = {
  schema: z.string().regex(/^(available|majority=\d+)$/),
  read: parseOnPartition
}

/** A parameter that may be left out. */
export function optional<Value>(
  reader: Reader<Value>,
  description: string
): Parameter<Value | undefined>
export function optional<Value>(
  reader: Reader<Value>,
  description: string,
  fallback: Value
): Parameter<Value>
export function optional<Value>(
  reader: Reader<Value>,
  description: string,
  fallback?: Value
): Parameter<Value | undefined> {
  return { ...reader, description, fallback, missing: undefined }
}

/** A parameter that must be given; `hint` says how, like `add filter=<topic filter>`. */
export function needed<Value>(
  reader: Reader<Value>,
  description: string,
  hint: string
): Parameter<Value> {
  // Nobody sees it: without the parameter there are no values.
  return { ...reader, description, fallback: undefined as Value, missing: `is missing; ${hint}.` }
}

/** The header of that name. */
export function header<Value>(name: string, parameter: Parameter<Value>): HeaderParameter<Value> {
  return { ...parameter, header: name }
}

/** What stands in a query, as the parameters say. Throws ERR_OPTIONS naming one that is missing or wrong. */
export function queryValues(
  set: Parameters | undefined,
  query: ReadonlyMap<string, string>
): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const name in set) {
    const { fallback, missing, read } = set[name] as Parameter<unknown>
    const value = query.get(name)
    if (value === undefined && missing !== undefined) throw optionError(name, missing)
    values[name] = value === undefined ? fallback : read(value, name)
  }
  return values
}

/** Headers that a route knows, by their names in lower case: made once, asked for every request. */
export type HeaderIndex = ReadonlyMap<string, readonly [string, HeaderParameter<unknown>]>

export function headerIndex(set: HeaderParameters): HeaderIndex {
  return new Map(
    Object.entries(set).map(([key, parameter]) => [
      parameter.header.toLowerCase(),
      [key, parameter]
    ])
  )
}
