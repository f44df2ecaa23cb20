import type { Checker, Violation } from '../trace.ts'

/**
 * In a group with a majority the fence of a slot only rises, and one fence is one member's: whoever keeps the effects can
 * tell a hand-over that comes from a member that has lost the slot.
 */
export const fencedWork: Checker = (trace) => {
  const groups = new Map<string, string>()
  const newest = new Map<string, { token: number; subscription: string }>()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind === 'subscribed' && event.group !== undefined) {
      groups.set(event.subscription, event.group)
    }
    if (event.kind !== 'handed' || event.fence === undefined) continue
    const { fence, message, subscription } = event
    const key = `${groups.get(subscription)} ${fence.slot}`
    const before = newest.get(key)
    if (before === undefined || fence.token > before.token) {
      newest.set(key, { token: fence.token, subscription })
    } else if (fence.token < before.token || before.subscription !== subscription) {
      const what = `slot ${fence.slot} was handed over with fence ${fence.token} after ${before.subscription} had done so with ${before.token}`
      violations.push({ checker: 'shared-work', subscription, what, id: message.id })
    }
  }
  return violations
}
