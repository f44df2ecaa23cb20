import { LIMITS } from '../core/limits.ts'
import { groupOf } from '../groups/group-values.ts'
import { RECEIPTS_CHANNEL } from '../replication/received-vectors.ts'
import { internalRetention, SUBSCRIBERS_CHANNEL } from '../replication/subscriber-registry.ts'
import type { RetentionPolicy } from '../store/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import { RETAINED_CHANNEL } from './retained.ts'

/** A message to one peer waits for as long as its sender wants, within the longest time to live. */
const INBOX = { maxAgeMs: LIMITS.inboxTtlMaxMs, keepLast: undefined, untilReceived: false } as const

/** A last value is kept until there is another one. */
const RETAINED = { maxAgeMs: Infinity, keepLast: 1, untilReceived: false, onFull: 'trim' } as const

/** Do only nodes use the channel, among themselves? */
export function isInternal(channel: string): boolean {
  return isLastValues(channel) || internalRetention(channel) !== undefined
}

/** What is kept of every channel: those of users as they ask, those that nodes use among themselves as they need. */
export function completeRetention(
  asked: (channel: string) => RetentionPolicy
): (channel: string) => RetentionPolicy {
  return (channel) => {
    const internal = internalRetention(isLastValues(channel) ? SUBSCRIBERS_CHANNEL : channel)
    if (internal !== undefined) return internal
    if (channel === RETAINED_CHANNEL) return { ...asked(channel), ...RETAINED }
    return scopeOf(channel) === 'inbox' ? { ...asked(channel), ...INBOX } : asked(channel)
  }
}

/** Vectors of what is received, and what a group's members did, are last values like the registrations of subscribers. */
function isLastValues(channel: string): boolean {
  return channel === RECEIPTS_CHANNEL || groupOf(channel) !== undefined
}
