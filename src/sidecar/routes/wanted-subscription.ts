import type { SkeinNode, Subscription } from '../../node/contract.ts'
import type { GroupOptions, OpenSubscriptions, Owner } from '../open-subscriptions.ts'
import { optionError } from '../query.ts'

/** What a client asks to consume. */
export interface WantedSubscription {
  readonly filter: string | undefined
  readonly durable: string | undefined
  readonly group: string | undefined
  readonly options: GroupOptions
}

type Said = Readonly<
  Partial<Record<'filter' | 'durable' | 'group' | 'ack' | 'onGap' | 'onPartition', unknown>>
>

/** Throws ERR_OPTIONS where parameters do not go together. */
export function assertTogether({ ack, durable, filter, group, onGap, onPartition }: Said): void {
  const isKept = durable !== undefined || group !== undefined
  if (durable !== undefined && group !== undefined) {
    throw optionError('group', 'a group is durable by itself; leave durable=<name> out.')
  }
  if (!isKept && ack === 'manual') {
    throw optionError(
      'ack',
      'only a durable subscription or a group can be acknowledged; add durable=<name> or group=<name>.'
    )
  }
  if (!isKept && onGap !== undefined) {
    throw optionError('onGap', 'only a durable subscription waits at gaps; add durable=<name>.')
  }
  if (group === undefined && onPartition !== undefined) {
    throw optionError('onPartition', 'only a group has parts; add group=<name>.')
  }
  if (durable === undefined && filter === undefined) {
    throw optionError('filter', 'is missing; add filter=<topic filter>, like filter=orders/%23.')
  }
}

/** Opens it for a connection, which calls `close` when it has had enough. */
export async function openFor(
  { durable, filter, group, options }: WantedSubscription,
  components: { node: Pick<SkeinNode, 'subscribe'>; subscriptions: OpenSubscriptions },
  owner: Exclude<Owner, 'pull'>
): Promise<{ subscription: Subscription; close: () => Promise<void> }> {
  const { node, subscriptions } = components
  if (durable !== undefined) {
    const subscription = await subscriptions.take(durable, { filter, options, owner })
    return { subscription, close: () => subscriptions.release(durable, subscription) }
  }
  if (group !== undefined) {
    const subscription = await subscriptions.join(group, { filter: filter ?? '', options, owner })
    return { subscription, close: () => subscriptions.release(group, subscription) }
  }
  const subscription = node.subscribe(filter ?? '', options)
  try {
    await subscription.ready
  } catch (error) {
    await subscription.stop()
    throw error
  }
  return { subscription, close: () => subscription.stop() }
}
