import type {
  DeadLetterEntry,
  GroupStatus,
  NodeStatus,
  OutboxEntry,
  PeerStatus,
  SubscriberStatus,
  TopicStatus
} from '../../node/contract.ts'
import type { ApiClient } from '../api-client.ts'
import type { Json } from '../question.ts'

/** What a node says of itself at one moment. */
export interface Snapshot {
  readonly status: Json<NodeStatus> & {
    readonly subscribers: ReadonlyArray<Json<SubscriberStatus>>
  }
  readonly peers: ReadonlyArray<Json<PeerStatus>>
  readonly topics: ReadonlyArray<Json<TopicStatus>>
  readonly groups: ReadonlyArray<Json<GroupStatus>>
  readonly deadLetters: ReadonlyArray<Json<DeadLetterEntry>>
  readonly outbox: ReadonlyArray<Json<OutboxEntry>>
}

/** Dead letters that are listed; who has more needs `skein dlq list`. */
const DEAD_LETTERS = 100

/** Asks a node for everything at once. The outbox may be long, and is left out unless it is wanted. */
export async function takeSnapshot(client: ApiClient, wantsOutbox: boolean): Promise<Snapshot> {
  const [status, peers, topics, { groups }, { deadLetters }, { entries }] = await Promise.all([
    client.json<Snapshot['status']>('GET', '/v1/status'),
    client.json<Snapshot['peers']>('GET', '/v1/peers'),
    client.json<Snapshot['topics']>('GET', '/v1/topics'),
    client.json<Pick<Snapshot, 'groups'>>('GET', '/v1/groups'),
    client.json<Pick<Snapshot, 'deadLetters'>>('GET', `/v1/dlq?limit=${DEAD_LETTERS}`),
    wantsOutbox
      ? client.json<{ entries: Snapshot['outbox'] }>('GET', '/v1/outbox')
      : { entries: [] }
  ])
  return { status, peers, topics, groups, deadLetters, outbox: entries }
}

/** A snapshot, when it was taken, and what happened a second since the one before. */
export interface Sample {
  readonly snapshot: Snapshot
  /** Wall clock, ms. */
  readonly at: number
  /** Messages a second; undefined with the first snapshot, and after a restart of the node. */
  readonly rates: Rates | undefined
}

export interface Rates {
  readonly published: number
  readonly delivered: number
  /** Messages that came into the journal of a channel, this node's own included. */
  readonly channels: ReadonlyMap<string, number>
}

/** What happened between two snapshots of the same life of a node. */
export function ratesBetween(
  before: Pick<Sample, 'snapshot' | 'at'> | undefined,
  now: Pick<Sample, 'snapshot' | 'at'>
): Rates | undefined {
  const seconds = (now.at - (before?.at ?? now.at)) / 1000
  if (before === undefined || seconds <= 0) return undefined
  const [was, is] = [before.snapshot, now.snapshot]
  if (was.status.startedAt !== is.status.startedAt) return undefined
  const heads = new Map(was.topics.map(({ channel, journal }) => [channel, journal.next]))
  const rate = (from: number, to: number): number => Math.max(0, to - from) / seconds
  return {
    published: rate(was.status.published, is.status.published),
    delivered: rate(was.status.delivered, is.status.delivered),
    channels: new Map(
      is.topics.map(({ channel, journal }) => [
        channel,
        rate(heads.get(channel) ?? journal.first, journal.next)
      ])
    )
  }
}
