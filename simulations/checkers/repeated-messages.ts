import type { Allowance } from '../scenario/contract.ts'
import type { Checker, TraceEvent, Violation } from '../trace.ts'

/** Nothing is handed over again once its acknowledgement was answered. */
export const repeatedMessages: Checker = (trace) =>
  repetitions(['unacknowledged', 'crash', 'power-loss', 'partition'], { stated: false })(trace)

type Handed = Extract<TraceEvent, { kind: 'handed' }>

/** What is known of one message at one subscription. */
interface Past {
  /** Life of the subscription's node at the last hand-over. */
  life: number
  attempt: number
  /** Losses of power of the node when it was acknowledged; -1 = it was not. */
  acknowledged: number
}

interface NodeLife {
  life: number
  powerLosses: number
}

/**
 * No message is handed to a subscription twice, but for what is allowed: `unacknowledged`: again with a higher
 * attempt before its acknowledgement was answered; `crash`: again after its node stopped before that; `power-loss`:
 * again after its node lost power since. With `stated: false` a repetition of something unacknowledged need not
 * state a higher attempt.
 */
export function repetitions(
  allow: readonly Allowance[],
  { stated = true }: { stated?: boolean } = {}
): Checker {
  return (trace) => {
    const nodes = new Map<string, NodeLife>()
    const nodeOf = new Map<string, NodeLife>()
    const pasts = new Map<string, Map<string, Past>>()
    const violations: Violation[] = []
    for (const event of trace) {
      if (event.kind === 'subscribed') {
        nodeOf.set(event.subscription, lifeOf(nodes, event.node ?? `of ${event.subscription}`))
      } else if (event.kind === 'stopped') {
        const node = lifeOf(nodes, event.node)
        node.life++
        if (event.how === 'power-loss') node.powerLosses++
      } else if (event.kind === 'acknowledged') {
        const losses = nodeOf.get(event.subscription)?.powerLosses ?? 0
        pastOf(pasts, event.subscription, event.id).acknowledged = losses
      } else if (event.kind === 'handed') {
        const node = nodeOf.get(event.subscription) ?? { life: 0, powerLosses: 0 }
        const past = pastOf(pasts, event.subscription, event.message.id)
        const what = judge(event, past, { node, allow, stated })
        if (what !== undefined) violations.push(violation(event, what))
      }
    }
    return violations
  }
}

function pastOf(pasts: Map<string, Map<string, Past>>, subscription: string, id: string): Past {
  let ofSubscription = pasts.get(subscription)
  if (ofSubscription === undefined) pasts.set(subscription, (ofSubscription = new Map()))
  let past = ofSubscription.get(id)
  if (past === undefined) {
    past = { life: -1, attempt: 0, acknowledged: -1 }
    ofSubscription.set(id, past)
  }
  return past
}

/** Says what is wrong with a hand-over, and remembers it. */
function judge(
  event: Handed,
  past: Past,
  { allow, node, stated }: { allow: readonly Allowance[]; node: NodeLife; stated: boolean }
): string | undefined {
  const { acknowledged, attempt, life } = past
  past.life = node.life
  past.attempt = event.attempt
  past.acknowledged = -1
  if (acknowledged !== -1) {
    if (allow.includes('power-loss') && node.powerLosses > acknowledged) return undefined
    past.acknowledged = acknowledged
    return 'a message came again after its acknowledgement had been answered'
  }
  if (attempt === 0) return undefined
  if (allow.includes('crash') && life !== node.life) return undefined
  if (!allow.includes('unacknowledged')) return 'a message came twice, which nothing here allows'
  if (!stated || event.attempt > attempt) return undefined
  return `a message came twice as attempt ${event.attempt}, and its node had not stopped in between`
}

function violation({ message, subscription }: Handed, what: string): Violation {
  return { checker: 'repeated-messages', subscription, what, id: message.id }
}

function lifeOf(nodes: Map<string, NodeLife>, node: string): NodeLife {
  let life = nodes.get(node)
  if (life === undefined) nodes.set(node, (life = { life: 0, powerLosses: 0 }))
  return life
}
