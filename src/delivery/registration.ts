import { LIMITS } from '../core/limits.ts'
import type { Since } from '../replication/membership.ts'
import type { CursorState, JournalState, Registration } from '../store/contract.ts'
import type { ParsedFilter } from '../wire/topic.ts'
import type { From, SubscribeOptions, SubscriptionLimits } from './contract.ts'

/** The limits of a subscription: as asked for now, else as it was registered, else the defaults. */
export function limitsOf(
  options: SubscribeOptions,
  registration: Registration | undefined
): SubscriptionLimits {
  const registered = (registration?.options ?? {}) as Partial<SubscriptionLimits>
  const pick = (name: 'maxInFlight' | 'ackTimeoutMs' | 'gapTimeoutMs'): number =>
    options[name] ?? registered[name] ?? LIMITS[name]
  return {
    maxInFlight: pick('maxInFlight'),
    ackTimeoutMs: pick('ackTimeoutMs'),
    gapTimeoutMs: pick('gapTimeoutMs'),
    onGap: options.onGap ?? registered.onGap ?? 'wait'
  }
}

/** Where a subscription begins that does not say: what waits in an inbox was sent to whoever asks for it first. */
export function defaultFrom({ channel }: ParsedFilter, durable: string | undefined): From {
  return durable !== undefined && channel?.startsWith('@') === true ? 'earliest' : 'now'
}

/** From when on a subscription wants its channels. */
export function sinceOf(
  from: From,
  createdAt: number,
  registration: Registration | undefined
): Since {
  const registered = registration?.options['since']
  if (registered === 'all' || typeof registered === 'number') return registered
  if (from === 'earliest' || from === 'last') return 'all'
  return from instanceof Date ? from.getTime() : createdAt
}

/** Messages not done with; what was acknowledged above the cursor does not count. */
export function lagOf(cursor: CursorState | undefined, journal: JournalState): number {
  if (cursor === undefined) return journal.next - journal.first
  const acknowledged = cursor.acknowledged.reduce((sum, { from, to }) => sum + to - from + 1, 0)
  return Math.max(0, journal.next - cursor.offset - acknowledged)
}
