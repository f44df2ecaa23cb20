import { GIB, KIB, MIB } from '../../src/core/limits.ts'

const MS_OF = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const BYTES_OF = { B: 1, KiB: KIB, MiB: MIB, GiB: GIB } as const
const BITS_OF = { bit: 1, kbit: 1000, Mbit: 1_000_000, Gbit: 1_000_000_000 } as const

const MILLION = 1_000_000

/** What a scalar may be, for error messages. */
export const ALLOWED = {
  duration: "a duration such as '500ms', '60s', '10m' or '2h'",
  offset: "a duration with an optional sign, such as '-5s' or '1h'",
  bytes: "bytes such as 256, '64KiB' or '1MiB'",
  bandwidth: "bits a second such as '256kbit' or '10Mbit'",
  share: "a share such as '5%' or 0.05"
} as const

/** ms; undefined where the value is no duration. A number alone is refused: its unit would be a guess. */
export function readDuration(value: unknown): number | undefined {
  if (value === 0) return 0
  return readUnits(value, MS_OF)
}

/** ms, may be negative. */
export function readOffset(value: unknown): number | undefined {
  const negative = typeof value === 'string' && value.startsWith('-')
  const ms = readDuration(typeof value === 'string' ? value.replace(/^[+-]/, '') : value)
  return ms !== undefined && negative ? -ms : ms
}

export function readBytes(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0 ? value : undefined
  return readUnits(value, BYTES_OF)
}

/** Bytes a second. */
export function readBandwidth(value: unknown): number | undefined {
  const bits = readUnits(value, BITS_OF)
  return bits === undefined || bits < 8 ? undefined : Math.floor(bits / 8)
}

/** Parts per million. */
export function readShare(value: unknown): number | undefined {
  const percent = typeof value === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(value) : null
  const share = percent === null ? value : Number(percent[1]) / 100
  if (typeof share !== 'number' || !(share >= 0 && share <= 1)) return undefined
  return Math.round(share * MILLION)
}

export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`
  if (ms === 0) return '0s'
  const unit = (['h', 'm', 's'] as const).find((name) => ms % MS_OF[name] === 0) ?? 'ms'
  return `${ms / MS_OF[unit]}${unit}`
}

export function formatBytes(bytes: number): string | number {
  const unit = (['GiB', 'MiB', 'KiB'] as const).find((name) => bytes % BYTES_OF[name] === 0)
  return unit === undefined || bytes === 0 ? bytes : `${bytes / BYTES_OF[unit]}${unit}`
}

export function formatBandwidth(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8
  const unit = (['Gbit', 'Mbit', 'kbit'] as const).find((name) => bits % BITS_OF[name] === 0)
  return unit === undefined ? `${bits}bit` : `${bits / BITS_OF[unit]}${unit}`
}

export function formatShare(perMillion: number): string {
  return `${perMillion / 10_000}%`
}

function readUnits(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(value)
  const factor = Object.hasOwn(units, match?.[2] ?? '') ? units[match?.[2] ?? ''] : undefined
  if (match === null || factor === undefined) return undefined
  const amount = Math.round(Number(match[1]) * factor)
  return Number.isSafeInteger(amount) ? amount : undefined
}
