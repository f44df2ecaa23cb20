import type { Checker, MessageRef, Violation } from '../trace.ts'

/**
 * In a group the messages of one key that one publisher sent are handed over for the first time in their order, by
 * whichever member; what is marked late is exempt.
 */
export const keyOrder: Checker = (trace) => {
  const groups = new Map<string, string>()
  const newest = new Map<string, MessageRef>()
  const handed = new Set<string>()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind === 'subscribed' && event.group !== undefined) {
      groups.set(event.subscription, event.group)
    }
    if (event.kind !== 'handed' || event.key === undefined || event.late) continue
    const { key, message, subscription } = event
    const group = groups.get(subscription)
    const id = `${group} ${message.id}`
    if (group === undefined || handed.has(id)) continue
    handed.add(id)
    const stream = `${group} ${message.publisher}/${message.channel} ${key}`
    const before = newest.get(stream)
    if (before === undefined || isBefore(before, message)) newest.set(stream, message)
    else {
      const what = `a message of key '${key}' came after ${before.id}, which was published later`
      violations.push({ checker: 'shared-work', subscription, what, id: message.id })
    }
  }
  return violations
}

/** Sessions compare as text in the order of time. */
function isBefore(a: MessageRef, b: MessageRef): boolean {
  return a.session === b.session ? a.sequence < b.sequence : a.session < b.session
}
