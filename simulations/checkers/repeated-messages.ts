import type { Checker, Violation } from '../trace.ts'

/** Nothing is handed over again once its acknowledgement was answered. */
export const repeatedMessages: Checker = (trace) => {
  const done = new Set<string>()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind === 'acknowledged') done.add(`${event.subscription}\n${event.id}`)
    if (event.kind !== 'handed') continue
    const { subscription, message } = event
    if (!done.has(`${subscription}\n${message.id}`)) continue
    violations.push({
      checker: 'repeated-messages',
      subscription,
      what: 'a message came again after its acknowledgement had been answered',
      id: message.id
    })
  }
  return violations
}
