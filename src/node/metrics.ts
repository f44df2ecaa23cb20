import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client'
import type { Transport } from '../mesh/contract.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import type { Gaps } from '../replication/gaps.ts'
import { channelGauges } from './channel-metrics.ts'
import type { Engine } from './engine.ts'
import { meshCounters, meshGauges, type MeshMetricsComponents } from './mesh-metrics.ts'

export type MetricsComponents = Pick<
  Engine,
  'store' | 'transport' | 'gaps' | 'groups' | 'publisher' | 'receiver' | 'subscriptions'
> &
  MeshMetricsComponents

type Reading = number | (() => Iterable<readonly [Record<string, string>, number]>)
export type Row = readonly [
  name: string,
  help: string,
  read: () => Reading | Promise<Reading>,
  labels?: readonly string[]
]

/** Conditions a store can be in; one gauge each, so that an alert can name it. */
const CONDITIONS = ['open', 'full', 'failed', 'broken', 'closed'] as const

/** Prometheus figures of one node, in a registry of its own: read from the components when asked for. */
export function createMetrics(components: MetricsComponents): { text(): Promise<string> } {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'skein_' })
  for (const [name, help, read, labels] of [...counters(components), ...meshCounters(components)]) {
    const counter = new Counter({
      name,
      help,
      labelNames: [...(labels ?? [])],
      registers: [registry],
      async collect() {
        const reading = await read()
        this.reset()
        report(reading, (value, at) => (at === undefined ? this.inc(value) : this.inc(at, value)))
      }
    })
    void counter
  }
  for (const [name, help, read, labels] of [...gauges(components), ...meshGauges(components)]) {
    const gauge = new Gauge({
      name,
      help,
      labelNames: [...(labels ?? [])],
      registers: [registry],
      async collect() {
        const reading = await read()
        // Of what is gone, no last value must stay.
        this.reset()
        report(reading, (value, at) => (at === undefined ? this.set(value) : this.set(at, value)))
      }
    })
    void gauge
  }
  return { text: () => registry.metrics() }
}

function report(
  reading: Reading,
  put: (value: number, labels?: Record<string, string>) => void
): void {
  if (typeof reading === 'number') put(reading)
  else for (const [labels, value] of reading()) put(value, labels)
}

function most(all: ReadonlyArray<{ readonly lag: number }>): number {
  return all.reduce((furthest, { lag }) => Math.max(furthest, lag), 0)
}

function counters({
  gaps,
  publisher,
  receiver,
  subscriptions,
  transport
}: MetricsComponents): Row[] {
  return [
    [
      'skein_published_messages_total',
      'Messages of this node that are stored.',
      () => publisher.stats.messages
    ],
    [
      'skein_published_records_total',
      'Records of this node that are stored.',
      () => publisher.stats.records
    ],
    ['skein_published_bytes_total', 'Bytes of those records.', () => publisher.stats.bytes],
    [
      'skein_publish_failures_total',
      'Messages whose publish was rejected.',
      () => publisher.stats.failed
    ],
    [
      'skein_received_messages_total',
      'Messages of other nodes that were stored.',
      () => receiver.stats.messages
    ],
    [
      'skein_received_records_total',
      'Records of other nodes that were stored.',
      () => receiver.stats.records
    ],
    ['skein_received_bytes_total', 'Bytes of those records.', () => receiver.stats.bytes],
    [
      'skein_received_duplicates_total',
      'Records that came again.',
      () => receiver.stats.duplicates
    ],
    [
      'skein_received_rejected_total',
      'Records that were malformed or wrongly signed.',
      () => receiver.stats.rejected
    ],
    [
      'skein_received_dropped_total',
      'Records that were not stored, by reason.',
      () => () =>
        [...receiver.stats.dropped].map(([reason, count]) => [{ reason }, count] as const),
      ['reason']
    ],
    ...deliveryCounters(gaps, subscriptions.stats),
    ...networkCounters(transport)
  ]
}

function deliveryCounters(gaps: Gaps, delivery: DeliveryStats): Row[] {
  return [
    ['skein_gaps_detected_total', 'Holes seen in logs.', () => gaps.detected],
    [
      'skein_gaps_given_up_total',
      'Missing ranges that are waited for no more, by reason.',
      () => () => [...gaps.givenUp].map(([reason, count]) => [{ reason }, count] as const),
      ['reason']
    ],
    [
      'skein_delivered_messages_total',
      'Messages handed to subscriptions.',
      () => delivery.delivered
    ],
    ['skein_redelivered_messages_total', 'Messages handed over again.', () => delivery.redelivered],
    ['skein_acknowledged_messages_total', 'Messages acknowledged.', () => delivery.acknowledged],
    [
      'skein_expired_messages_total',
      'Messages passed over because their time was up.',
      () => delivery.expired
    ],
    [
      'skein_dead_letters_total',
      'Messages that durable subscriptions handed over too often in vain.',
      () => delivery.deadLetters
    ]
  ]
}

function networkCounters(transport: Transport): Row[] {
  const sent = (): ReturnType<Transport['stats']> => transport.stats()
  return [
    ['skein_network_sent_bytes_total', 'Frame bytes sent to neighbours.', () => sent().bytesSent],
    [
      'skein_network_received_bytes_total',
      'Frame bytes received from neighbours.',
      () => sent().bytesReceived
    ],
    ['skein_network_sent_frames_total', 'Frames sent to neighbours.', () => sent().framesSent],
    [
      'skein_network_received_frames_total',
      'Frames received from neighbours.',
      () => sent().framesReceived
    ],
    [
      'skein_network_dropped_frames_total',
      'Frames not handed to a neighbour whose buffer was full.',
      () => sent().framesDropped
    ],
    ['skein_network_rejected_frames_total', 'Frames refused.', () => sent().framesRejected],
    ['skein_network_dials_total', 'Dials tried.', () => sent().dials],
    ['skein_network_dial_failures_total', 'Dials that failed.', () => sent().dialFailures]
  ]
}

function gauges({
  gaps,
  groups,
  publisher,
  store,
  subscriptions,
  transport
}: MetricsComponents): Row[] {
  return [
    [
      'skein_network_buffered_bytes',
      'Bytes waiting in outbound buffers.',
      () => transport.stats().bufferedBytes
    ],
    [
      'skein_publish_backlog_bytes',
      'Bytes accepted and not yet stored.',
      () => publisher.backlogBytes
    ],
    [
      'skein_subscriptions',
      'Subscriptions being consumed.',
      () => subscriptions.openCount + groups.openCount
    ],
    [
      'skein_subscription_lag_max',
      "Messages that this node's durable subscription furthest behind is not done with.",
      async () => most(await subscriptions.lags())
    ],
    [
      'skein_groups',
      'Work groups that this node holds anything of.',
      async () => (await groups.list()).length
    ],
    [
      'skein_group_lag_max',
      'Messages that the work group furthest behind is not done with, as far as this node knows.',
      async () => most(await groups.list())
    ],
    ['skein_gaps', 'Holes in logs now.', () => gaps.size],
    ['skein_store_bytes', 'Bytes of the records held.', () => store.usage().bytes],
    ['skein_store_records', 'Records held.', () => store.usage().records],
    ...channelGauges(store),
    [
      'skein_store_free_bytes',
      'Free bytes of the file system; NaN without a data dir.',
      () => store.usage().freeBytes ?? Number.NaN
    ],
    [
      'skein_store_condition',
      '1 for the condition the store is in.',
      () => () =>
        CONDITIONS.map(
          (condition) => [{ condition }, store.condition === condition ? 1 : 0] as const
        ),
      ['condition']
    ]
  ]
}
