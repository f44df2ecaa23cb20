import type { Trace, Violation } from '../trace.ts'
import { type TraceIndex, owes } from './trace-index.ts'

/** From a moment in which nothing was broken any more to the next fault. */
export interface QuietTime {
  readonly fromMs: number
  /** Infinity when no fault followed. */
  readonly untilMs: number
  /** When the last message that was confirmed before `fromMs` was handed over; `fromMs` when nothing was missing. */
  convergedMs: number
  /** Hand-overs that had not happened at `fromMs`. */
  missing: number
}

/**
 * After every heal that leaves nothing broken, every durable subscriber that is not slow on purpose has all that was
 * confirmed before, within `withinMs`; not looked at where the next fault came sooner. Needs `at` in the trace.
 */
export function findUnconverged(
  index: TraceIndex,
  withinMs: number
): { violations: Violation[]; times: readonly QuietTime[] } {
  const times = quietTimes(index.trace)
  const late = new Map<string, Late>()
  if (times.length === 0) return { violations: [], times }
  const handedAt = firstHandOvers(index)
  for (const [number, message] of index.messages.entries()) {
    if (message.confirmed === -1) continue
    const confirmedAt = index.trace[message.confirmed]?.at ?? 0
    for (const reader of index.matching(message.topic)) {
      if (reader.slow || reader.group !== undefined || !owes(index, reader, message)) continue
      const at = handedAt.get(reader.place)?.get(number) ?? Infinity
      const time = note(times, { confirmedAt, at, withinMs })
      if (time === undefined) continue
      const key = `${reader.place} ${time.fromMs}`
      const known = late.get(key)
      if (known !== undefined) known.count++
      else late.set(key, { reader: reader.id, id: message.ref.id, fromMs: time.fromMs, count: 1 })
    }
  }
  return { violations: [...late.values()].map((one) => violationOf(one, withinMs)), times }
}

/** What one subscriber still lacked too long after one heal. */
interface Late {
  readonly reader: string
  /** The first of them. */
  readonly id: string
  readonly fromMs: number
  count: number
}

function violationOf({ count, fromMs, id, reader }: Late, withinMs: number): Violation {
  const missing = count === 1 ? 'a message' : `${count} messages`
  const [within, heal] = [withinMs / 1000, fromMs / 1000]
  return {
    checker: 'convergence',
    subscription: reader,
    what: `${within} s after the heal at ${heal} s, ${missing} from before it had not come`,
    id
  }
}

/** Longest time from a heal to convergence, ms; undefined when there was no heal, or it was never reached. */
export function convergenceMs(times: readonly QuietTime[]): number | undefined {
  const took = times.map(({ convergedMs, fromMs }) => convergedMs - fromMs)
  const longest = took.reduce((a, b) => Math.max(a, b), 0)
  return times.length === 0 || longest === Infinity ? undefined : longest
}

/** Enters one hand-over into every quiet time that it kept waiting; answers the first that it made fail. */
function note(
  times: readonly QuietTime[],
  { at, confirmedAt, withinMs }: { at: number; confirmedAt: number; withinMs: number }
): QuietTime | undefined {
  for (let i = firstFrom(times, confirmedAt); i < times.length; i++) {
    const time = times[i]
    if (time === undefined || time.fromMs >= at) return undefined
    time.missing++
    const interrupted = at > time.untilMs
    if (!interrupted) time.convergedMs = Math.max(time.convergedMs, at)
    const deadline = time.fromMs + withinMs
    if (at > deadline && deadline <= time.untilMs) return time
  }
  return undefined
}

/** The first quiet time that begins at `ms` or later. */
function firstFrom(times: readonly QuietTime[], ms: number): number {
  let low = 0
  let high = times.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((times[middle]?.fromMs ?? Infinity) < ms) low = middle + 1
    else high = middle
  }
  return low
}

function quietTimes(trace: Trace): QuietTime[] {
  const times: { fromMs: number; untilMs: number; convergedMs: number; missing: number }[] = []
  const active = new Set<number>()
  for (const event of trace) {
    if (event.kind !== 'fault' && event.kind !== 'heal') continue
    const at = event.at ?? 0
    if (event.kind === 'fault') {
      active.add(event.id)
      const last = times.at(-1)
      if (last?.untilMs === Infinity) last.untilMs = at
    } else if (active.delete(event.id) && active.size === 0) {
      times.push({ fromMs: at, untilMs: Infinity, convergedMs: at, missing: 0 })
    }
  }
  return times
}

/** By place of the subscription, then by number of the message. */
function firstHandOvers({ byId, numbers, trace }: TraceIndex): Map<number, Map<number, number>> {
  const found = new Map<number, Map<number, number>>()
  for (const event of trace) {
    if (event.kind !== 'handed') continue
    const place = byId.get(event.subscription)?.place
    const number = numbers.get(event.message.id)
    if (place === undefined || number === undefined) continue
    let ofReader = found.get(place)
    if (ofReader === undefined) found.set(place, (ofReader = new Map()))
    if (!ofReader.has(number)) ofReader.set(number, event.at ?? 0)
  }
  return found
}
