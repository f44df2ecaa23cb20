import type { JSX } from 'preact'
import { isGrowing } from './alerts.ts'
import { ago, count, nameOf } from './format.ts'
import type { OwnSubscription, Snapshot, Subscriber } from './model.ts'
import type { Sample } from './sample.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'

export interface SubscribersProps {
  readonly history: readonly Sample[]
  readonly now: Snapshot
}

/** Every durable subscription of the mesh: who is behind, and who is off. */
export function Subscribers({ history, now }: SubscribersProps): JSX.Element {
  const { subscribers } = now.status
  const own = new Map(now.subscriptions.map((one) => [one.durable, one]))
  const most = Math.max(1, ...subscribers.map(({ lag }) => lag))
  return (
    <Section id="subscribers" title="Durable subscribers" count={String(subscribers.length)}>
      {subscribers.length === 0 ? (
        <Empty>
          Nobody subscribes durably yet: <code>skein sub 'orders/#' --durable billing</code> does,
          and misses nothing while it is off.
        </Empty>
      ) : (
        <Table
          label="Durable subscribers"
          columns={['Subscription', { minor: 'Filter' }, 'State', { number: 'Lag' }]}
        >
          {subscribers.toSorted(worstFirst).map((one) => (
            <Row
              key={`${one.peerId} ${one.subscription}`}
              subscriber={one}
              own={one.peerId === now.status.peerId ? own.get(one.subscription) : undefined}
              share={one.lag / most}
              isGrowing={isGrowing(history, one)}
              at={now.at}
            />
          ))}
        </Table>
      )}
    </Section>
  )
}

interface RowProps {
  readonly subscriber: Subscriber
  readonly own: OwnSubscription | undefined
  /** Of the largest lag. */
  readonly share: number
  readonly isGrowing: boolean
  readonly at: number
}

function Row({ at, isGrowing: grows, own, share, subscriber }: RowProps): JSX.Element {
  const { filter, lag, node, peerId, state, subscription } = subscriber
  const isOff = state === 'down'
  return (
    <tr class={isOff ? 'off' : ''}>
      <th scope="row" class="wrap">
        {subscription}
        <span class="dim"> at {nameOf(peerId, node)}</span>
      </th>
      <td class="wrap minor">
        <code>{filter}</code>
      </td>
      <td>
        <span class={`state ${state}`}>
          <span class="dot" aria-hidden="true" />
          {wordsOf(subscriber, own, at)}
        </span>
      </td>
      <td class={`number lag${grows || (isOff && lag > 0) ? ' bad' : ''}`}>
        <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
          <rect x={100 - share * 100} width={share * 100} height="4" />
        </svg>
        {grows && (
          <span title="It grows">
            <span aria-hidden="true">▲ </span>
            <span class="visually-hidden">growing, </span>
          </span>
        )}
        {count(lag)}
      </td>
    </tr>
  )
}

function wordsOf(
  { lastSeen, state }: Subscriber,
  own: OwnSubscription | undefined,
  at: number
): string {
  if (own !== undefined) {
    if (own.gaps.length > 0) return 'waits for a gap'
    if (own.webhook !== undefined) return `webhook ${own.webhook.state}`
    return own.open ? 'consumed' : 'no consumer'
  }
  if (state === 'up' || lastSeen === undefined) return state
  return `${state} ${ago(at - Date.parse(lastSeen))}`
}

function worstFirst(one: Subscriber, other: Subscriber): number {
  const off = Number(other.state === 'down') - Number(one.state === 'down')
  if (off !== 0) return off
  return other.lag - one.lag || one.subscription.localeCompare(other.subscription)
}
