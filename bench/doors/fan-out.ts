import type { Door, DoorKind } from './client-role.ts'
import type { NodeAnswer, Resources } from './node-role.ts'
import { Role } from './role.ts'

// What event streams and WebSockets cost a node: memory for each, and how many events it gives to all of them in a second.
//   npm run bench -- --doors fan-out          SKEIN_BENCH_SUBSCRIBERS=100,1000,10000 SKEIN_BENCH_KINDS=sse,ws

const COUNTS = (process.env['SKEIN_BENCH_SUBSCRIBERS'] ?? '100,1000,10000').split(',').map(Number)
const KINDS = (process.env['SKEIN_BENCH_KINDS'] ?? 'sse,ws').split(',') as readonly DoorKind[]
/** Events of one measurement, all subscribers together. */
const EVENTS = 400_000
const PAYLOAD_BYTES = 128
/** Processes that hold the other ends. */
const CLIENTS = 2

const KIB = 1024

async function measure(kind: DoorKind, subscribers: number): Promise<string> {
  const node = new Role('node-role.js')
  const clients = Array.from({ length: CLIENTS }, () => new Role('client-role.js'))
  try {
    const mesh = `doors-${process.pid}`
    const door = await node.call<NodeAnswer>('open', { name: 'a', mesh, join: [], http: true })
    // One of them has been there before: what the first one costs is the door's, not the stream's.
    await clients[0]?.call('open', { count: 1, door: door satisfies Door, kind })
    const before = await node.call<Resources>('resources')
    const openedAt = performance.now()
    const share = Math.ceil((subscribers - 1) / CLIENTS)
    await Promise.all(
      clients.map((client, i) =>
        client.call('open', { count: Math.min(share, subscribers - 1 - i * share), door, kind })
      )
    )
    const openMs = performance.now() - openedAt
    const open = await node.call<Resources>('resources')
    const count = Math.max(20, Math.round(EVENTS / subscribers))
    const startedAt = performance.now()
    await node.call('publish', { bytes: PAYLOAD_BYTES, count, window: 64 })
    const due = count * subscribers
    const got = async (): Promise<number> => {
      const counts = await Promise.all(clients.map((client) => client.call<number>('events')))
      return counts.reduce((a, b) => a + b, 0)
    }
    while ((await got()) < due) await new Promise((resolve) => setTimeout(resolve, 5))
    const seconds = (performance.now() - startedAt) / 1000
    const after = await node.call<Resources>('resources')
    const each = (what: 'rssBytes' | 'heapBytes' | 'externalBytes'): string =>
      ((open[what] - before[what]) / (subscribers - 1) / KIB).toFixed(1)
    const cells = [
      kind,
      subscribers,
      each('rssBytes'),
      each('heapBytes'),
      each('externalBytes'),
      ((1000 * subscribers) / openMs).toFixed(0),
      (due / seconds).toFixed(0),
      ((1e3 * (after.cpuMs - open.cpuMs)) / due).toFixed(1),
      (after.rssBytes / KIB / KIB).toFixed(0)
    ]
    return `| ${cells.join(' | ')} |`
  } finally {
    await Promise.all([node, ...clients].map((role) => role.stop()))
  }
}

console.log(
  '| door | subscribers | memory each, KiB | of it heap | beside it, buffers | opened a second | events a second | CPU of the node, µs an event | memory after, MiB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|'
)
for (const kind of KINDS) for (const count of COUNTS) console.log(await measure(kind, count))
