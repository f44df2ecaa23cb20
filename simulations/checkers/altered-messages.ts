import type { Checker, Violation } from '../trace.ts'

/** An id stands for one message: what is handed over under it is what was published, and nothing else ever is. */
export const alteredMessages: Checker = (trace) => {
  const contents = new Map<string, number>()
  const violations: Violation[] = []
  for (const event of trace) {
    if ((event.kind !== 'confirmed' && event.kind !== 'handed') || event.content === undefined)
      continue
    const { content, kind, message } = event
    const known = contents.get(message.id)
    if (known === undefined) contents.set(message.id, content)
    else if (known !== content) {
      violations.push({
        checker: 'altered-messages',
        subscription: kind === 'handed' ? event.subscription : message.publisher,
        what:
          kind === 'handed'
            ? 'a message came that says something else than what was seen under its id before'
            : 'a message was confirmed under an id that something else was seen under before',
        id: message.id
      })
    }
  }
  return violations
}
