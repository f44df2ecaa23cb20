/** Nobody publishes any more when the cut heals: nothing that follows shows what is missing. */
export const CUT = `
name: cut
description: A node is cut off; what is published meanwhile ends before it is back.
nodes: 3
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 9s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 4s, isolate: n3, for: 10s }
end: 15s
drain: 40s
expect:
  converge: { within: 5s }
`

/** Nobody else has what the reader lacks. */
export const CUT_IN_TWO = CUT.replace('name: cut', 'name: cut-in-two')
  .replace('nodes: 3', 'nodes: 2')
  .replace('isolate: n3', 'isolate: n2')

export const CRASH = `
name: crash
description: A reader crashes in the middle of it and comes back.
nodes: 2
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 9s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 4s, crash: n2, for: 2s }
end: 10s
drain: 10s
`

/** Its application takes long over each message. */
export const LONG_WORK = `
name: long-work
description: A reader crashes while it is at work at a message.
nodes: 2
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 1, from: 1s, until: 9s }
  subscriptions:
    - { nodes: n2, filter: 'orders/#', durable: audit }
timeline:
  - { at: 4700ms, crash: n2, for: 1s }
end: 30s
`

/** Frames overtake each other, and what is missing takes longer to come than what follows. */
export const LAGGING = `
name: lagging
description: Live records arrive in disorder, so that they stand above holes.
nodes: 2
network: { latency: 100ms, jitter: 0ms }
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 9s }
  subscriptions:
    - { nodes: n2, filter: 'orders/#', durable: audit }
timeline:
  - { at: 2s, reorder: 20%, by: 500ms, for: 6s }
end: 10s
drain: 10s
`

/** Of what was published meanwhile, the second session is there before the end of the first. */
export const TWO_SESSIONS = `
name: two-sessions
description: A publisher starts anew while a reader is down that lacks the end of what was published before.
nodes: 2
network: { latency: 300ms, jitter: 0ms }
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 15s }
  subscriptions:
    - { nodes: n2, filter: 'orders/#', durable: audit }
timeline:
  - { at: 5s, crash: n2, for: 3500ms }
  - { at: 8s, restart: n1, down: 1s }
end: 20s
`

/** What the reader lacks stays out of reach for longer than it waits. */
export const HOLE = `
name: hole
description: Records overtake others and are the last to arrive; then the link is cut for good.
nodes: 2
network: { latency: 300ms, jitter: 0ms }
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 3s, until: 9500ms }
  subscriptions:
    - { nodes: n2, filter: 'orders/#', durable: audit, onGap: skip }
timeline:
  - { at: 9s, reorder: 50%, by: 3s }
  - { at: 9900ms, isolate: n2 }
end: 90s
leave: true
expect: { noLoss: false }
`

export const SENDER_GONE = `
name: sender-gone
description: Sender and recipient never meet; a custodian brings the letters.
nodes:
  - writer
  - reader
  - { name: keeper, keep: ['mail/#'], custodian: true }
workload:
  sends:
    - { from: writer, to: reader, topic: letters, rate: 2, starts: 10s, until: 15s, custodians: 1 }
timeline:
  - { at: 5s, crash: reader, for: 20s }
  - { at: 20s, crash: writer }
end: 40s
leave: true
`

export const RECIPIENT_AWAY = `
name: recipient-away
description: A recipient is down while letters are sent to it, and comes back.
nodes: 2
workload:
  sends:
    - { from: n1, to: n2, topic: letters, rate: 2, starts: 3s, until: 10s }
timeline:
  - { at: 5s, crash: n2, for: 10s }
end: 20s
drain: 40s
`

/** Its disk is so slow that a record is with its neighbours long before it is on disk. */
export const POWER_LOSS = `
name: power-loss
description: A publisher on a slow disk loses power while it publishes, cut off at first and connected later.
nodes: 3
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 50, from: 1s, until: 15s }
  subscriptions:
    - { nodes: n2..n3, filter: 'orders/#', durable: audit }
timeline:
  - { at: 2s, slow-disk: n1, by: 50ms, for: 16s }
  - { at: 3s, isolate: n1, for: 2s }
  - { at: 4s, lose-unsynced-writes: n1, for: 500ms }
  - { at: 8s, lose-unsynced-writes: n1, for: 1s }
  - { at: 12010ms, lose-unsynced-writes: n1, for: 1s }
end: 18s
drain: 12s
`

/** It is signed for at once if nothing is synced first, and handed over only when the disk has taken one more write. */
export const RECIPIENT_POWER_LOSS = `
name: recipient-power-loss
description: A recipient with a slow disk loses power right after the first letter has come.
nodes: 2
workload:
  sends:
    - { from: n1, to: n2, topic: letters, rate: 1, starts: 3s, until: 6s }
timeline:
  - { at: 2s, slow-disk: n2, by: 500ms, for: 5s }
  - { at: 3800ms, lose-unsynced-writes: n2, for: 1s }
end: 10s
drain: 60s
`

export const FLOOD = `
name: flood
description: A publisher on a very slow disk is given far more than it can write, and says so.
nodes: 1
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 200, size: 180KiB, from: 1s, until: 5s }
timeline:
  - { at: 500ms, slow-disk: n1, by: 60s }
  - { at: 5500ms, crash: n1 }
end: 6s
drain: 0s
leave: true
expect:
  memory: { perNode: 96MiB }
`
