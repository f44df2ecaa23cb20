import type { Report } from './contract.ts'

/** 1234567 as `1,234,567`. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** ms as people say it: `0.4 ms`, `312 ms`, `4.21 s`, `1 m 30 s`, `1 h 6 m`. */
export function time(ms: number): string {
  if (ms < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(ms < 10_000 ? 2 : 1))} s`
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} m ${Math.round((ms % 60_000) / 1000)} s`
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} m`
}

/** A moment of a run: `12 s`, `2:05`, `1:06:00`. */
export function moment(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)]
  return hours === 0
    ? `${minutes}:${two(seconds % 60)}`
    : `${hours}:${two(minutes % 60)}:${two(seconds % 60)}`
}

export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

/** Time to convergence: `never` where its rule was broken. */
export function convergenceText({
  convergenceMs,
  rules
}: Pick<Report, 'convergenceMs' | 'rules'>): string {
  if (rules.some(({ rule, violations }) => rule === 'convergence' && violations > 0)) {
    return convergenceMs === null ? 'never' : `${time(convergenceMs)}, too late`
  }
  return convergenceMs === null ? '\u2013' : time(convergenceMs)
}
