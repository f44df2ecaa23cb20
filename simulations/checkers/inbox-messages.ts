import type { Checker, TraceEvent, Violation } from '../trace.ts'

type Blame = (where: string, what: string) => void

interface Letter {
  readonly from: string
  readonly to: string
  received: number
  /** Losses of power of its recipient when it was last received: they take acknowledgements that were not synced. */
  powerLosses: number
  receipt: boolean
  unreceived: boolean
}

/**
 * An inbox message reaches the node it was sent to, and no other, once, or again after that node lost power; the
 * sender gets a receipt for it and for nothing that was not received, or is told that the outcome is unknown. A
 * sender that is down at the end can be told nothing. For a trace whose end has come to rest.
 */
export const inboxMessages: Checker = (trace) => {
  const letters = new Map<string, Letter>()
  const down = new Set<string>()
  const powerLosses = new Map<string, number>()
  const violations: Violation[] = []
  const blame =
    (id: string): Blame =>
    (subscription, what) => {
      violations.push({ checker: 'inbox-messages', subscription, what, id })
    }
  for (const event of trace) {
    if (event.kind === 'sent') {
      const { from, id, to } = event
      letters.set(id, { from, to, received: 0, receipt: false, unreceived: false, powerLosses: 0 })
    } else if (event.kind === 'stopped') {
      const { how, node } = event
      down.add(node)
      if (how === 'power-loss') powerLosses.set(node, (powerLosses.get(node) ?? 0) + 1)
    } else if (event.kind === 'started') down.delete(event.node)
    else if ('id' in event && typeof event.id === 'string') {
      const letter = letters.get(event.id)
      if (letter !== undefined) follow(letter, event, { blame: blame(event.id), powerLosses })
    }
  }
  for (const [id, letter] of letters) {
    const what = judge(letter, down)
    if (what !== undefined) blame(id)(letter.to, what)
  }
  return violations
}

/** What is wrong with the end of a letter's story. */
function judge(
  { from, received, receipt, unreceived }: Letter,
  down: ReadonlySet<string>
): string | undefined {
  // A receipt is for what lies on the recipient's disk: its application may get it later, but must get it.
  if (receipt && received === 0) return 'a receipt came for an inbox message that never came'
  if (unreceived) return undefined
  if (received === 0) return 'an inbox message never came, and its sender was not told'
  if (receipt || down.has(from)) return undefined
  return 'an inbox message was received, and no receipt came back'
}

function follow(
  letter: Letter,
  event: TraceEvent,
  { blame, powerLosses }: { blame: Blame; powerLosses: ReadonlyMap<string, number> }
): void {
  if (event.kind === 'unreceived') letter.unreceived = true
  else if (event.kind === 'receipt') letter.receipt = true
  else if (event.kind === 'received') {
    if (letter.to !== event.node) {
      blame(event.node, `an inbox message for ${letter.to} came to ${event.node}`)
      return
    }
    const losses = powerLosses.get(event.node) ?? 0
    if (letter.received++ > 0 && losses === letter.powerLosses) {
      blame(event.node, 'an inbox message was received twice')
    }
    letter.powerLosses = losses
  }
}
