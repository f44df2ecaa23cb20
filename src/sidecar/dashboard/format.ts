const COUNT = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export function count(value: number): string {
  return COUNT.format(value)
}

/** Messages a second: what is below ten with one decimal. */
export function rate(value: number): string {
  if (value === 0) return '0'
  return value < 10 ? value.toFixed(1) : COUNT.format(value)
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function bytes(value: number): string {
  let unit = 0
  let rest = value
  while (rest >= 1024 && unit < UNITS.length - 1) {
    rest /= 1024
    unit++
  }
  return `${rest < 10 && unit > 0 ? rest.toFixed(1) : Math.round(rest)} ${UNITS[unit] ?? ''}`
}

const STEPS: ReadonlyArray<readonly [number, string]> = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's']
]

/** The two largest units: `3 h 12 min`. */
export function duration(ms: number): string {
  let rest = Math.max(0, Math.floor(ms / 1000))
  const parts: string[] = []
  for (const [seconds, unit] of STEPS) {
    const amount = Math.floor(rest / seconds)
    if (amount > 0) parts.push(`${amount} ${unit}`)
    rest -= amount * seconds
    if (parts.length === 2 || (parts.length === 1 && amount === 0)) break
  }
  return parts.join(' ') || '0 s'
}

/** How long ago, in one unit, so that it does not change with every look. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  for (const [step, unit] of STEPS) {
    if (seconds >= step) return `${Math.floor(seconds / step)} ${unit}`
  }
  return 'now'
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })

/** The time of day; with the day where it was another one. */
export function clock(time: number, now: number): string {
  const text = CLOCK.format(time)
  return DAY.format(time) === DAY.format(now) ? text : `${DAY.format(time)} ${text}`
}

/** A PeerId is long, and its end differs. */
function shortId(peerId: string): string {
  return peerId.length <= 10 ? peerId : `…${peerId.slice(-6)}`
}

export function nameOf(peerId: string, name: string | undefined): string {
  return name ?? shortId(peerId)
}
