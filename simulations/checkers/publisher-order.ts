import type { Checker, MessageRef, Violation } from '../trace.ts'
import { Bits } from './bits.ts'

/**
 * First hand-overs keep the order of one publisher in one channel; what is marked late is exempt, and so are members of
 * a group, who keep the order of a key. Whether a message may come again is the business of others: after a loss of
 * power it does, as attempt 1 where the count is lost as well. A node that lost power may have forgotten what it handed
 * over, and what was missing then comes in its place: the order begins anew.
 */
export const publisherOrder: Checker = (trace) => {
  const newest = new Map<string, { readonly message: MessageRef; readonly subscription: string }>()
  const members = new Set<string>()
  const nodeOf = new Map<string, string | undefined>()
  const isFirst = firstHandOvers()
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind === 'subscribed') {
      nodeOf.set(event.subscription, event.node)
      if (event.group !== undefined) members.add(event.subscription)
    }
    if (event.kind === 'stopped' && event.how === 'power-loss') {
      forget(newest, ({ subscription }) => nodeOf.get(subscription) === event.node)
    }
    if (event.kind !== 'handed' || members.has(event.subscription)) continue
    const { attempt, late, message, subscription } = event
    if (!isFirst(subscription, message.id) || attempt > 1 || late) continue
    const stream = `${subscription}\n${message.publisher}/${message.channel}`
    const before = newest.get(stream)?.message
    if (before === undefined || isBefore(before, message)) {
      newest.set(stream, { message, subscription })
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

function forget<Value>(map: Map<string, Value>, isGone: (value: Value) => boolean): void {
  for (const [key, value] of map) if (isGone(value)) map.delete(key)
}

/** Tells once of each message at each subscription. */
function firstHandOvers(): (subscription: string, id: string) => boolean {
  const numbers = new Map<string, number>()
  const handed = new Map<string, Bits>()
  return (subscription, id) => {
    const number = numbers.get(id) ?? numbers.size
    numbers.set(id, number)
    const bits = handed.get(subscription) ?? new Bits()
    handed.set(subscription, bits)
    return bits.add(number)
  }
}

/** Sessions compare as text in the order of time. */
function isBefore(a: MessageRef, b: MessageRef): boolean {
  return a.session === b.session ? a.sequence < b.sequence : a.session < b.session
}
