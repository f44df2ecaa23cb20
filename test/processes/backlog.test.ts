import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LibraryNode } from './library-node.ts'
import { freePort } from './proxied-mesh.ts'
import { eventually, full, loops, randomMesh, temporaryFolder } from './skein-process.ts'

const BACKLOG = loops(1_000_000)
const PAYLOAD = 128
/** Live messages meanwhile. */
const LIVE_PER_SECOND = 1000
const IDLE_SECONDS = full ? 10 : 3

/** Goal of the whole run, and what a tenth of it may not fall below on a busy machine. */
const LEAST_PER_SECOND = full ? 200_000 : 20_000

function quantile(samples: readonly number[], part: number): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(samples.length * part)] ?? NaN
}

async function meshOf(names: readonly string[]): Promise<LibraryNode[]> {
  const folder = await temporaryFolder(onTestFinished)
  const mesh = randomMesh()
  const addresses: string[] = []
  for (const _ of names) addresses.push(`/ip4/127.0.0.1/tcp/${await freePort()}`)
  const nodes = names.map((name, i) => {
    const [address = ''] = addresses.slice(i)
    const others = addresses.filter((other) => other !== address)
    const dataDir = join(folder, name)
    return new LibraryNode({ name, mesh, dataDir, mdns: false, listen: [address], join: others })
  })
  onTestFinished(async () => {
    await Promise.all(nodes.map((node) => node.kill()))
  })
  await Promise.all(nodes.map((node) => node.start()))
  return nodes
}

const subscribeLive = (node: LibraryNode): Promise<void> =>
  node.call({ op: 'subscribe', name: 'live', filter: 'live/#', timed: true })

/** Latencies of live messages for so long, ms. */
async function live(from: LibraryNode, to: LibraryNode, seconds: number): Promise<number[]> {
  await to.call({ op: 'latencies', name: 'live' })
  const count = LIVE_PER_SECOND * seconds
  await from.call({
    op: 'publish',
    topic: 'live/tick',
    count,
    bytes: PAYLOAD,
    perSecond: LIVE_PER_SECOND
  })
  return to.call<number[]>({ op: 'latencies', name: 'live' })
}

const profiled = (name: string): string[] => {
  const folder = process.env['SKEIN_TEST_PROFILE']
  return folder === undefined
    ? []
    : ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}.cpuprofile`]
}

describe('backlog: a peer returns to what was published without it', () => {
  it(
    'gets it at full speed, and live messages go on with about their latency',
    async () => {
      const [publisher, returning, watcher] = (await meshOf([
        'publisher',
        'returning',
        'watcher'
      ])) as [LibraryNode, LibraryNode, LibraryNode]
      const options = { durable: 'all' }
      await returning.call({
        op: 'subscribe',
        name: 'all',
        filter: 'load/#',
        options,
        digests: false
      })
      await subscribeLive(watcher)
      await returning.stop()
      const bulk = { topic: 'load/bulk', count: BACKLOG, bytes: PAYLOAD }
      const { ms } = await publisher.call<{ ms: number }>({ op: 'publish', ...bulk })
      await eventually(
        async () =>
          (await publisher.call<number>({ op: 'members', channel: 'live' })) === 1 || undefined
      )
      await live(publisher, watcher, 1)
      const idle = await live(publisher, watcher, IDLE_SECONDS)

      await returning.start(profiled('returning'))
      const readyAt = Date.now()
      const busy = live(publisher, watcher, full ? 8 : 2)
      await returning.call({
        op: 'subscribe',
        name: 'all',
        filter: 'load/#',
        options,
        digests: false
      })
      const tally = await eventually(
        async () => {
          await new Promise((resolve) => setTimeout(resolve, 100))
          const now = await returning.tally('all')
          return now.handed >= BACKLOG ? now : undefined
        },
        { what: 'the whole backlog', timeoutMs: 120_000 }
      )
      const during = await busy
      await returning.stop()
      const rate = BACKLOG / ((tally.lastAt - readyAt) / 1000)
      const [idleP99, busyP99] = [quantile(idle, 0.99), quantile(during, 0.99)]
      process.stdout.write(
        `${BACKLOG} messages of ${PAYLOAD} B (published at ${Math.round(BACKLOG / (ms / 1000))}/s): ` +
          `${Math.round(rate)}/s to the returning peer; live p50 / p99 ` +
          `${quantile(idle, 0.5).toFixed(2)} / ${idleP99.toFixed(2)} ms idle, ` +
          `${quantile(during, 0.5).toFixed(2)} / ${busyP99.toFixed(2)} ms meanwhile\n`
      )
      expect(tally).toMatchObject({ handed: BACKLOG, repeated: 0, jumps: 0, late: 0 })
      expect(rate).toBeGreaterThan(LEAST_PER_SECOND)
      // Two seconds of a tenth of it say little of one message in a hundred.
      expect(busyP99).toBeLessThan(full ? idleP99 * 5 : 1000)
    },
    5 * 60_000
  )
})
