import type { Checker, MessageRef, Violation } from '../trace.ts'

/** First hand-overs keep the order of one publisher in one channel; what is marked late is exempt. */
export const publisherOrder: Checker = (trace) => {
  const newest = new Map<string, MessageRef>()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind !== 'handed') continue
    const { attempt, late, message, subscription } = event
    if (attempt > 1 || late) continue
    const stream = `${subscription}\n${message.publisher}/${message.channel}`
    const before = newest.get(stream)
    if (before === undefined || isBefore(before, message)) {
      newest.set(stream, message)
      continue
    }
    violations.push({
      checker: 'publisher-order',
      subscription,
      what: `a message came after ${before.id}, which was published later`,
      id: message.id
    })
  }
  return violations
}

/** Sessions compare as text in the order of time. */
function isBefore(a: MessageRef, b: MessageRef): boolean {
  return a.session === b.session ? a.sequence < b.sequence : a.session < b.session
}
