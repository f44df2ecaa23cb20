import type { MessageRef, Trace, TraceEvent, Violation } from '../trace.ts'
import { describeEvent } from './event-text.ts'
import { logKey } from './log-ranges.ts'

/** A violation with what happened around it. */
export interface ExplainedViolation extends Violation {
  /** Lines for people, in the order of time: the message, its neighbours in the log, and faults meanwhile. */
  readonly history: readonly string[]
}

/** Events shown for one violation. */
const MOST_LINES = 24

interface Case {
  readonly violation: Violation
  readonly ids: ReadonlySet<string>
  readonly events: { place: number; event: TraceEvent }[]
}

/** Explains the first `most` violations, in two passes over the trace however many there are. */
export function explainViolations(
  trace: Trace,
  violations: readonly Violation[],
  most = 100
): ExplainedViolation[] {
  const cases = openCases(trace, violations.slice(0, most))
  const byId = new Map<string, Case[]>()
  for (const one of cases) {
    for (const id of one.ids) byId.set(id, [...(byId.get(id) ?? []), one])
  }
  const faults: { place: number; event: TraceEvent }[] = []
  for (const [place, event] of trace.entries()) {
    if (isFault(event)) faults.push({ place, event })
    const id = idOf(event)
    if (id === undefined) continue
    for (const one of byId.get(id) ?? []) {
      if (concerns(one.violation, event)) one.events.push({ place, event })
    }
  }
  return cases.map(({ events, violation }) => ({
    ...violation,
    history: linesOf(events, faults)
  }))
}

/** The message itself, and the sequences before and after it in its log. */
function openCases(trace: Trace, violations: readonly Violation[]): Case[] {
  const wanted = new Set(violations.map(({ id }) => id))
  const places = new Map<string, string>()
  const refs = new Map<string, MessageRef>()
  for (const event of trace) {
    if (event.kind !== 'confirmed' && event.kind !== 'handed') continue
    const { message } = event
    if (!wanted.has(message.id)) continue
    refs.set(message.id, message)
  }
  for (const ref of refs.values()) {
    for (const step of [-1, 1]) places.set(`${logKey(ref)}/${ref.sequence + step}`, ref.id)
  }
  const neighbours = new Map<string, Set<string>>()
  if (places.size > 0) {
    for (const event of trace) {
      if (event.kind !== 'confirmed' && event.kind !== 'handed') continue
      const { message } = event
      for (const of of ownersOf(places, message, refs)) {
        const set = neighbours.get(of) ?? new Set()
        neighbours.set(of, set.add(message.id))
      }
    }
  }
  return violations.map((violation) => ({
    violation,
    ids: new Set([violation.id, ...(neighbours.get(violation.id) ?? [])]),
    events: []
  }))
}

/** Violated messages that this one stands beside; two may have the same neighbour. */
function ownersOf(
  places: ReadonlyMap<string, string>,
  message: MessageRef,
  refs: ReadonlyMap<string, MessageRef>
): string[] {
  const owner = places.get(`${logKey(message)}/${message.sequence}`)
  if (owner === undefined) return []
  const [publisher, session, , ...channel] = message.id.split('/')
  return [-1, 1]
    .map((step) => [publisher, session, message.sequence + step, ...channel].join('/'))
    .concat(owner)
    .filter((id, i, all) => refs.has(id) && all.indexOf(id) === i)
}

/**
 * Of other subscriptions only that they got the message itself; at its neighbours only what the same subscription
 * saw: so that the history stays short.
 */
function concerns(violation: Violation, event: TraceEvent): boolean {
  if (!('subscription' in event) || event.subscription === violation.subscription) return true
  return idOf(event) === violation.id && event.kind === 'handed'
}

function linesOf(
  events: readonly { place: number; event: TraceEvent }[],
  faults: readonly { place: number; event: TraceEvent }[]
): string[] {
  const first = events[0]?.place ?? 0
  const last = events.at(-1)?.place ?? Infinity
  const around = faults.filter(({ place }) => place > first && place < last).slice(-8)
  const before = faults.filter(({ place }) => place < first).slice(-3)
  const all = [...before, ...events, ...around].toSorted((a, b) => a.place - b.place)
  const shown = all.length > MOST_LINES ? [...all.slice(0, 12), ...all.slice(-12)] : all
  const lines = shown.map(({ event }) => describeEvent(event))
  if (shown.length < all.length) lines.splice(12, 0, `... ${all.length - shown.length} more`)
  return lines
}

const isFault = (event: TraceEvent): boolean =>
  event.kind === 'fault' || event.kind === 'heal' || event.kind === 'stopped'

function idOf(event: TraceEvent): string | undefined {
  if ('message' in event) return event.message.id
  if (event.kind === 'fault' || event.kind === 'heal') return undefined
  return 'id' in event ? event.id : undefined
}
