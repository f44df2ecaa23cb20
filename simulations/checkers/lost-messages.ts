import { topicMatches } from '../../src/wire/topic.ts'
import type { Checker, Violation } from '../trace.ts'
import { gapsTold } from './gaps-told.ts'

/**
 * Nothing is lost: every message that was confirmed after a durable subscription was registered, and that its
 * filter matches, was handed to it, or it was told of a gap. For a trace whose end has come to rest.
 */
export const lostMessages: Checker = (trace) => {
  const wasTold = gapsTold(trace)
  const handed = new Map<string, Set<string>>()
  for (const event of trace) {
    if (event.kind !== 'handed') continue
    const ids = handed.get(event.subscription) ?? new Set()
    handed.set(event.subscription, ids.add(event.message.id))
  }
  const registered = new Map<string, string>()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind === 'subscribed' && event.durable) {
      registered.set(event.subscription, event.filter)
    }
    if (event.kind !== 'confirmed') continue
    for (const [subscription, filter] of registered) {
      if (!topicMatches(filter, event.topic)) continue
      if (handed.get(subscription)?.has(event.message.id) === true) continue
      if (wasTold(subscription, event.message)) continue
      violations.push({
        checker: 'lost-messages',
        subscription,
        what: `a confirmed message on '${event.topic}' never came, and no gap was told`,
        id: event.message.id
      })
    }
  }
  return violations
}
