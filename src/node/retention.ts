import { LIMITS } from '../core/limits.ts'
import { RECEIPTS_CHANNEL } from '../replication/received-vectors.ts'
import { internalRetention, SUBSCRIBERS_CHANNEL } from '../replication/subscriber-registry.ts'
import type { RetentionPolicy } from '../store/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'

/** A message to one peer waits for as long as its sender wants, within the longest time to live. */
const INBOX = { maxAgeMs: LIMITS.inboxTtlMaxMs, keepLast: undefined, untilReceived: false } as const

/** Do only nodes use the channel, among themselves? */
export function isInternal(channel: string): boolean {
  return channel === RECEIPTS_CHANNEL || internalRetention(channel) !== undefined
}

/** What is kept of every channel: those of users as they ask, those that nodes use among themselves as they need. */
export function completeRetention(
  asked: (channel: string) => RetentionPolicy
): (channel: string) => RetentionPolicy {
  return (channel) => {
    // Vectors of what is received are last values like the registrations of those who receive.
    const internal = internalRetention(channel === RECEIPTS_CHANNEL ? SUBSCRIBERS_CHANNEL : channel)
    if (internal !== undefined) return internal
    return scopeOf(channel) === 'inbox' ? { ...asked(channel), ...INBOX } : asked(channel)
  }
}
