import type { Allowance } from '../scenario/contract.ts'
import type { Trace, Violation } from '../trace.ts'
import { consumersOf } from './lost-messages.ts'
import { type TraceIndex, indexTrace, owes } from './trace-index.ts'

/** Each message of a group is acknowledged by one of its members: not by two (unless `partition` is allowed). */
export function sharedWork(
  trace: Trace,
  { allow = [] }: { allow?: readonly Allowance[] } = {}
): Violation[] {
  return findShared(indexTrace(trace), allow)
}

/** As `sharedWork`, over a trace that was indexed already. */
export function findShared(index: TraceIndex, allow: readonly Allowance[]): Violation[] {
  const violations: Violation[] = []
  const done = new Map<string, string>()
  const unanswered = new Set<string>()
  for (const event of index.trace) {
    if (event.kind !== 'acknowledged' && event.kind !== 'unanswered') continue
    const group = index.byId.get(event.subscription)?.group
    if (group === undefined) continue
    if (event.kind === 'unanswered') {
      unanswered.add(`${group}\n${event.id}`)
      continue
    }
    const key = `${group}\n${event.id}`
    const other = done.get(key)
    if (other === undefined) done.set(key, event.subscription)
    else if (other !== event.subscription && !allow.includes('partition')) {
      const what = `a message of group '${group}' was acknowledged by ${other} and again here`
      violations.push({
        checker: 'shared-work',
        subscription: event.subscription,
        what,
        id: event.id
      })
    }
  }
  if (!index.subscriptions.some(({ group }) => group !== undefined)) return violations
  return [...violations, ...findUndone(index, (key) => done.has(key) || unanswered.has(key))]
}

/** What somebody acknowledged without an answer counts as done: nobody has to hand it over again. */
function findUndone(index: TraceIndex, isDone: (key: string) => boolean): Violation[] {
  const violations: Violation[] = []
  for (const message of index.messages) {
    if (message.confirmed === -1) continue
    for (const [{ group }, members] of consumersOf(index.matching(message.topic))) {
      if (group === undefined || isDone(`${group}\n${message.ref.id}`)) continue
      if (members.every(({ slow }) => slow)) continue
      if (!members.some((member) => owes(index, member, message))) continue
      const what = `no member of group '${group}' acknowledged a message on '${message.topic}'`
      violations.push({
        checker: 'shared-work',
        subscription: `group ${group}`,
        what,
        id: message.ref.id
      })
    }
  }
  return violations
}
