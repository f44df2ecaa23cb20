import type { Engine } from './engine.ts'
import type { Row } from './metrics.ts'

export type MeshMetricsComponents = Pick<
  Engine,
  | 'holder'
  | 'inbox'
  | 'mesh'
  | 'publisher'
  | 'receiver'
  | 'services'
  | 'slowPaths'
  | 'subscriptions'
  | 'sync'
>

const STATES = ['up', 'suspect', 'down'] as const

/** Counters of what nodes do for each other beyond the fast path. */
export function meshCounters(engine: MeshMetricsComponents): Row[] {
  return [
    ...syncCounters(engine),
    ...inboxCounters(engine),
    ...serviceCounters(engine),
    ...confirmationCounters(engine)
  ]
}

function syncCounters({ holder, mesh, receiver, sync }: MeshMetricsComponents): Row[] {
  const { presence } = mesh
  return [
    ['skein_sync_pulls_total', 'Ranges asked for.', () => sync.stats.pulls],
    ['skein_sync_failures_total', 'Of them, those that failed.', () => sync.stats.failures],
    [
      'skein_sync_pulled_records_total',
      'Records taken from neighbours that were asked for them.',
      () => receiver.stats.pulled
    ],
    [
      'skein_sync_backfilled_records_total',
      'Of them, those from before this node followed their channel.',
      () => sync.stats.backfilled
    ],
    [
      'skein_sync_served_records_total',
      'Records given to neighbours that asked.',
      () => holder.stats.records
    ],
    ['skein_sync_served_bytes_total', 'Bytes of those records.', () => holder.stats.bytes],
    [
      'skein_presence_announced_total',
      'Announcements of this node.',
      () => presence.stats.announced
    ],
    ['skein_presence_heard_total', 'Announcements of others.', () => presence.stats.heard],
    [
      'skein_presence_refused_total',
      'Announcements that could not be read or were not by whom they name.',
      () => presence.stats.malformed + presence.stats.forged
    ]
  ]
}

function inboxCounters({ inbox }: MeshMetricsComponents): Row[] {
  const { custody, outbox } = inbox
  return [
    ['skein_outbox_sent_total', 'Messages sent to single peers.', () => outbox.stats.sent],
    ['skein_outbox_received_total', 'Of them, those received.', () => outbox.stats.received],
    [
      'skein_outbox_expired_total',
      'Of them, those whose time was up before a receipt came.',
      () => outbox.stats.expired
    ],
    ['skein_custody_kept_total', 'Messages taken to keep for others.', () => custody.stats.kept],
    ['skein_custody_refused_total', 'Messages not taken to keep.', () => custody.stats.refused],
    [
      'skein_custody_expired_total',
      'Messages kept for others until their time was up.',
      () => custody.stats.expired
    ]
  ]
}

function serviceCounters({ services }: MeshMetricsComponents): Row[] {
  const { host, requester } = services
  return [
    [
      'skein_requests_total',
      'Requests of this node, one for each node that a scatter asks.',
      () => requester.stats.sent
    ],
    [
      'skein_request_failures_total',
      'Of them, those that ended with an error.',
      () => requester.stats.failed
    ],
    [
      'skein_served_requests_total',
      'Requests that came to the services of this node.',
      () => host.stats.received
    ],
    [
      'skein_served_refused_total',
      'Of them, those refused on arrival: not served here, or too many.',
      () => host.stats.refused
    ]
  ]
}

function confirmationCounters({
  publisher,
  slowPaths,
  subscriptions
}: MeshMetricsComponents): Row[] {
  return [
    [
      'skein_publish_duplicates_total',
      'Publishes that were earlier ones, by their id.',
      () => publisher.ids.duplicates
    ],
    [
      'skein_replicas_confirmed_total',
      'Publishes confirmed by other nodes.',
      () => publisher.replicas.stats.confirmed
    ],
    [
      'skein_replicas_timeouts_total',
      'Publishes not confirmed by enough others in time.',
      () => publisher.replicas.stats.timedOut
    ],
    [
      'skein_delivery_duplicates_total',
      'Messages passed over because one with the same id was handed over.',
      () => subscriptions.stats.duplicates
    ],
    [
      'skein_slow_consumers_total',
      'Times a consumer fell behind what is in memory.',
      () => subscriptions.stats.slow
    ],
    [
      'skein_slow_neighbours_total',
      'Times a neighbour was left behind.',
      () => slowPaths.stats.neighbours
    ],
    ['skein_slow_disk_total', 'Slow writes that were told.', () => slowPaths.stats.disk],
    ['skein_clock_jumps_total', 'Jumps of the wall clock.', () => slowPaths.stats.clockJumps]
  ]
}

/** What there is now. */
export function meshGauges({ inbox, mesh, sync }: MeshMetricsComponents): Row[] {
  const { directory, subscribers } = mesh
  return [
    [
      'skein_peers',
      'Peers, by state.',
      () => {
        const peers = directory.list()
        return () =>
          STATES.map((state) => [{ state }, peers.filter((peer) => peer.state === state).length])
      },
      ['state']
    ],
    [
      'skein_sync_pending_logs',
      'Logs of which something is missing that may be had.',
      () => sync.pending.logs
    ],
    ['skein_outbox_messages', 'Messages to single peers that wait.', () => inbox.outbox.size],
    ['skein_custody_bytes', 'Bytes kept for others.', () => inbox.custody.usedBytes()],
    [
      'skein_subscribers',
      'Durable subscriptions of the mesh, by the state of their node.',
      async () => {
        const all = await subscribers.list()
        return () =>
          STATES.map((state) => [{ state }, all.filter((one) => one.state === state).length])
      },
      ['state']
    ],
    [
      'skein_subscriber_lag_max',
      'Messages that the durable subscription furthest behind is not done with.',
      async () => {
        const all = await subscribers.list()
        return () =>
          STATES.map((state) => [
            { state },
            all.reduce((most, one) => (one.state === state ? Math.max(most, one.lag) : most), 0)
          ])
      },
      ['state']
    ]
  ]
}
