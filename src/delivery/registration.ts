import { isDeepStrictEqual } from 'node:util'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Since } from '../replication/membership.ts'
import type { CursorState, JournalState, Registration } from '../store/contract.ts'
import type { ParsedFilter } from '../wire/topic.ts'
import type { From, SubscribeOptions, SubscriptionLimits, WhereFilter } from './contract.ts'

/** Throws ERR_OPTIONS unless a durable subscription may have that name. */
export function assertName(name: string): void {
  if (name !== '' && !name.includes('/') && Buffer.byteLength(name) <= LIMITS.nameBytes) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `durable: a name has 1 to ${LIMITS.nameBytes} bytes and no '/', unlike '${name}'`,
    { details: { option: 'durable' } }
  )
}

/** Throws ERR_SUBSCRIPTION_CONFLICT where a durable subscription is registered with something else. */
export function assertAlike(
  registration: Registration,
  filter: string,
  where: SubscribeOptions['where']
): void {
  const { name, filter: registered } = registration
  if (registered !== filter) {
    throw new SkeinError(
      'ERR_SUBSCRIPTION_CONFLICT',
      `the durable subscription '${name}' is registered with the filter '${registered}', not '${filter}'; use that filter, another name, or delete it first`,
      { details: { name, registered, asked: filter } }
    )
  }
  const before = whereOf({}, registration) ?? []
  if (where === undefined || isDeepStrictEqual(plain(where), before)) return
  const [was, is] = [JSON.stringify(before), JSON.stringify(where)]
  throw new SkeinError(
    'ERR_SUBSCRIPTION_CONFLICT',
    `the durable subscription '${name}' is registered with where ${was}, not ${is}; use that one or none, another name, or delete it first`,
    { details: { name, field: 'where', registered: was, asked: is } }
  )
}

/** What a subscription asks of messages: as registered, else as asked for now. */
export function whereOf(
  options: Pick<SubscribeOptions, 'where'>,
  registration: Registration | undefined
): readonly WhereFilter[] | undefined {
  const where =
    registration === undefined
      ? options.where
      : (registration.options['where'] as readonly WhereFilter[] | undefined)
  return where === undefined || where.length === 0 ? undefined : plain(where)
}

/** What its owner does to it later changes nothing. */
function plain(where: readonly WhereFilter[]): readonly WhereFilter[] {
  return JSON.parse(JSON.stringify(where)) as readonly WhereFilter[]
}

/** The limits of a subscription: as asked for now, else as it was registered, else the defaults. */
export function limitsOf(
  options: SubscribeOptions,
  registration: Registration | undefined
): SubscriptionLimits {
  const registered = (registration?.options ?? {}) as Partial<SubscriptionLimits>
  const pick = (name: 'maxInFlight' | 'ackTimeoutMs' | 'gapTimeoutMs' | 'maxDeliveries'): number =>
    options[name] ?? registered[name] ?? LIMITS[name]
  return {
    maxInFlight: pick('maxInFlight'),
    ackTimeoutMs: pick('ackTimeoutMs'),
    maxDeliveries: pick('maxDeliveries'),
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
