import { z } from 'zod'
import type { NodeSelector } from './contract.ts'
import { SELECTOR_ALLOWED } from './selectors.ts'
import { ALLOWED, readBandwidth, readBytes, readDuration, readOffset, readShare } from './units.ts'

type Scalar<T> = z.ZodPipe<z.ZodUnknown, z.ZodTransform<T, unknown>>

/** A YAML scalar that `read` understands; the error says what is allowed. */
function scalar<T>(read: (value: unknown) => T | undefined, allowed: string): Scalar<T> {
  return z.unknown().transform((value, context): T => {
    const result = read(value)
    if (result !== undefined) return result
    const what = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`
    context.addIssue({ code: 'custom', message: `${what}; allowed is ${allowed}` })
    return z.NEVER
  })
}

const positive =
  (read: (value: unknown) => number | undefined) =>
  (value: unknown): number | undefined => {
    const result = read(value)
    return result === undefined || result <= 0 ? undefined : result
  }

export const duration = scalar(readDuration, ALLOWED.duration)
export const span = scalar(positive(readDuration), `${ALLOWED.duration}, above 0`)
export const offset = scalar(readOffset, ALLOWED.offset)
export const bytes = scalar(readBytes, ALLOWED.bytes)
export const bandwidth = scalar(readBandwidth, ALLOWED.bandwidth)
export const share = scalar(readShare, ALLOWED.share)

/** A whole number between two bounds, both included. */
export const whole = (least: number, most: number): Scalar<number> =>
  scalar(
    (value) =>
      Number.isInteger(value) && (value as number) >= least && (value as number) <= most
        ? (value as number)
        : undefined,
    `a whole number from ${least} to ${most}`
  )

/** Events a second. */
export const rate = scalar(
  (value) => (typeof value === 'number' && value > 0 && value <= 1e6 ? value : undefined),
  'a number a second, above 0 and at most 1000000'
)

export const text = scalar(
  (value) => (typeof value === 'string' && value !== '' ? value : undefined),
  'a text that is not empty'
)

export const flag = scalar(
  (value) => (typeof value === 'boolean' ? value : undefined),
  'true or false'
)

export const oneOf = <const T extends string>(...words: readonly T[]): Scalar<T> =>
  scalar(
    (value) => words.find((word) => word === value),
    words.map((word) => `'${word}'`).join(' or ')
  )

/** One term, or a list of terms whose union is meant. */
export const selector = scalar(readSelector, `${SELECTOR_ALLOWED}, or a list of these`)

/** One selector for each group: `half`, `[[a, b], [c]]`. */
export const groups = scalar((value): NodeSelector[] | undefined => {
  const list = (Array.isArray(value) ? value : [value]).map(readSelector)
  return list.length > 0 && list.every((item) => item !== undefined) ? list : undefined
}, 'a list of groups of nodes, such as [[n1, n2], [n3]], or one group that stands against the rest')

/** An object without unknown keys; the error names those that are allowed. */
export function strict<T extends z.ZodRawShape>(shape: T): z.ZodObject<T, z.core.$strict> {
  const allowed = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return `must be a map with the keys ${allowed}`
      const keys = (issue as unknown as { keys: readonly string[] }).keys
      return `has the unknown key '${keys.join("', '")}'; allowed are ${allowed}`
    }
  })
}

export const listOf = <T extends z.ZodType>(item: T): z.ZodArray<T> =>
  z.array(item, { error: () => 'must be a list' })

function readSelector(value: unknown): NodeSelector | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  const terms = list.map((term) =>
    typeof term === 'string' || typeof term === 'number' ? String(term) : ''
  )
  return terms.length > 0 && terms.every((term) => term !== '') ? terms : undefined
}
