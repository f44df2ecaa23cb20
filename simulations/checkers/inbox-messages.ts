import type { Checker, TraceEvent, Violation } from '../trace.ts'

type Blame = (where: string, what: string) => void

interface Letter {
  readonly to: string
  received: number
  receipt: boolean
  unreceived: boolean
}

/**
 * An inbox message reaches the node it was sent to, and no other, once; the sender gets a receipt for it and for
 * nothing that was not received, or is told that the outcome is unknown. For a trace whose end has come to rest.
 */
export const inboxMessages: Checker = (trace) => {
  const letters = new Map<string, Letter>()
  const violations: Violation[] = []
  const blame =
    (id: string): Blame =>
    (subscription, what) => {
      violations.push({ checker: 'inbox-messages', subscription, what, id })
    }
  for (const event of trace) {
    if (event.kind === 'sent') {
      letters.set(event.id, { to: event.to, received: 0, receipt: false, unreceived: false })
    } else if ('id' in event && typeof event.id === 'string') {
      const letter = letters.get(event.id)
      if (letter !== undefined) follow(letter, event, blame(event.id))
    }
  }
  for (const [id, { received, receipt, to, unreceived }] of letters) {
    // A receipt is for what lies on the recipient's disk: its application may get it later, but must get it.
    if (receipt && received === 0) {
      blame(id)(to, 'a receipt came for an inbox message that never came')
    } else if (!unreceived && received === 0) {
      blame(id)(to, 'an inbox message never came, and its sender was not told')
    } else if (!unreceived && !receipt) {
      blame(id)(to, 'an inbox message was received, and no receipt came back')
    }
  }
  return violations
}

function follow(letter: Letter, event: TraceEvent, blame: Blame): void {
  if (event.kind === 'unreceived') letter.unreceived = true
  else if (event.kind === 'receipt') letter.receipt = true
  else if (event.kind === 'received') {
    if (letter.to !== event.node) {
      blame(event.node, `an inbox message for ${letter.to} came to ${event.node}`)
    } else if (++letter.received > 1) blame(event.node, 'an inbox message was received twice')
  }
}
