import type { Checker, Violation } from '../trace.ts'
import {
  type MessageFacts,
  type SubscriptionFacts,
  type TraceIndex,
  indexTrace,
  owes
} from './trace-index.ts'

/**
 * Nothing is lost: every message that was confirmed after a durable subscription was registered, and that its
 * filter matches, was handed to it (to one member of it, if it is a group), or it was told of a gap that can be, or
 * the message expired, was trimmed or replaced. What it was handed and its node did not live to finish must come
 * again. For a trace whose end has come to rest.
 */
export const lostMessages: Checker = (trace) => findLost(indexTrace(trace))

/** As `lostMessages`, over a trace that was indexed already. */
export function findLost(index: TraceIndex): Violation[] {
  const violations: Violation[] = []
  for (const [number, message] of index.messages.entries()) {
    if (message.confirmed === -1) continue
    for (const [first, members] of consumersOf(index.matching(message.topic))) {
      if (!members.some((member) => owes(index, member, message))) continue
      const came = members.filter((member) => member.handed.has(number))
      if (came.some((member) => !member.unfinished.has(message.ref.id))) continue
      if (members.some((member) => member.gaps.has(message.ref))) continue
      violations.push({
        checker: 'lost-messages',
        subscription: first.group === undefined ? first.id : `group ${first.group}`,
        what: describe(message, members, came.length > 0),
        id: message.ref.id
      })
    }
  }
  return violations
}

function describe(
  { ref, topic }: MessageFacts,
  members: readonly SubscriptionFacts[],
  came: boolean
): string {
  if (came)
    return `a message on '${topic}' never came again after its node had stopped before it was done`
  const told = members.some((member) => member.unfounded.has(ref))
  const gap = told ? 'the gap that was told is without cause' : 'no gap was told'
  return `a confirmed message on '${topic}' never came, and ${gap}`
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
