import type { Checker, Violation } from '../trace.ts'
import { type SubscriptionFacts, type TraceIndex, indexTrace, owes } from './trace-index.ts'

/**
 * Nothing is lost: every message that was confirmed after a durable subscription was registered, and that its
 * filter matches, was handed to it (to one member of it, if it is a group), or it was told of a gap, or the message
 * expired, was trimmed or replaced. For a trace whose end has come to rest.
 */
export const lostMessages: Checker = (trace) => findLost(indexTrace(trace))

/** As `lostMessages`, over a trace that was indexed already. */
export function findLost(index: TraceIndex): Violation[] {
  const violations: Violation[] = []
  for (const [number, message] of index.messages.entries()) {
    if (message.confirmed === -1) continue
    for (const [first, members] of consumersOf(index.matching(message.topic))) {
      if (!members.some((member) => owes(index, member, message))) continue
      if (members.some((member) => member.handed.has(number))) continue
      if (members.some((member) => member.gaps.has(message.ref))) continue
      violations.push({
        checker: 'lost-messages',
        subscription: first.group === undefined ? first.id : `group ${first.group}`,
        what: `a confirmed message on '${message.topic}' never came, and no gap was told`,
        id: message.ref.id
      })
    }
  }
  return violations
}

type Consumer = readonly [first: SubscriptionFacts, members: readonly SubscriptionFacts[]]

const consumers = new WeakMap<readonly SubscriptionFacts[], readonly Consumer[]>()

/** Members of one group stand together. Lists of matches are shared, so each is looked at once. */
export function consumersOf(matching: readonly SubscriptionFacts[]): readonly Consumer[] {
  const known = consumers.get(matching)
  if (known !== undefined) return known
  const found = new Map<string, SubscriptionFacts[]>()
  for (const facts of matching.toSorted((a, b) => a.place - b.place)) {
    const key = facts.group === undefined ? `one ${facts.id}` : `group ${facts.group}`
    const members = found.get(key)
    if (members === undefined) found.set(key, [facts])
    else members.push(facts)
  }
  const result = [...found.values()].flatMap((members): Consumer[] => {
    const [first] = members
    return first === undefined ? [] : [[first, members]]
  })
  consumers.set(matching, result)
  return result
}
