import { SkeinError } from '../core/errors.ts'

/** Wrong usage of the command line. */
export function usageError(option: string, why: string): SkeinError {
  return new SkeinError('ERR_OPTIONS', `${option}: ${why}`, { details: { option } })
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000
}

const DURATION = /^(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)?$/

/** Is it written like a duration? */
export function isDuration(text: string): boolean {
  return DURATION.test(text)
}

/** `500ms`, `60s`, `5m`, `1h`, `7d`; a bare number is seconds. Throws ERR_OPTIONS naming `option`. */
export function parseDuration(text: string, option: string): number {
  const match = DURATION.exec(text)
  const ms = Math.round(Number(match?.[1]) * (UNIT_MS[match?.[2] ?? 's'] ?? Number.NaN))
  if (!(ms > 0)) {
    throw usageError(option, `'${text}' is not a duration like 500ms, 60s or 5m (bare = seconds)`)
  }
  return ms
}

/** A whole number of at least `min`. Throws ERR_OPTIONS naming `option`. */
export function parseCount(text: string, option: string, min = 1): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(count >= min)) throw usageError(option, `'${text}' is not a whole number from ${min}`)
  return count
}

/** `name=value`. Throws ERR_OPTIONS naming `option`. */
export function parsePair(text: string, option: string): readonly [string, string] {
  const equals = text.indexOf('=')
  if (equals < 1) throw usageError(option, `'${text}' is not name=value`)
  return [text.slice(0, equals), text.slice(equals + 1)]
}

const SHOWN: ReadonlyArray<readonly [string, number]> = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000]
]

/** A length of time for people, in the largest unit that fits it: `3 h`. */
export function durationText(ms: number): string {
  const [unit, size] = SHOWN.find(([, least]) => ms >= least) ?? ['s', 1000]
  return `${Math.max(0, Math.floor(ms / size))} ${unit}`
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** A number of bytes for people: `1.5 MiB`. */
export function bytesText(bytes: number): string {
  const power = Math.min(SIZES.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const value = bytes / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${SIZES[power]}`
}
