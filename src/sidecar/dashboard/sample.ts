import type { Snapshot, Subscriber } from './model.ts'

/** What is kept of a look at the node, to tell how its figures change: the rest would be megabytes after minutes. */
export interface Sample {
  /** By the page's clock, ms. */
  readonly at: number
  readonly published: number
  readonly delivered: number
  /** Next offset of each channel's journal. */
  readonly journals: ReadonlyMap<string, number>
  /** By `subscriberKey`. */
  readonly lags: ReadonlyMap<string, number>
}

export function sampleOf({ at, status, topics }: Snapshot): Sample {
  return {
    at,
    published: status.published,
    delivered: status.delivered,
    journals: new Map(topics.map(({ channel, journal }) => [channel, journal.next])),
    lags: new Map(status.subscribers.map((one) => [subscriberKey(one), one.lag]))
  }
}

export function subscriberKey({ peerId, subscription }: Subscriber): string {
  return `${peerId} ${subscription}`
}
