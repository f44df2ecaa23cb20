import { describe, expect, it, onTestFinished } from 'vitest'
import type { LibraryNode } from './library-node.ts'
import { ProxiedMesh } from './proxied-mesh.ts'
import { eventually, full, loops, temporaryFolder } from './skein-process.ts'

const MINUTES = loops(20) / 10
const SECONDS = MINUTES * 60
const FLAP_MS = 2000
/** Of each node. */
const PER_SECOND = 500
const PAYLOAD = 256
const MIB = 2 ** 20
/** What is on its way differs from second to second. */
const SPREAD_MIB = 16
/** Of 12 s, in which what is kept in memory on purpose still fills: newest records, ids that were seen. */
const MOST_MIB = 128

/** Memory of a process, once a second, right after a collection of garbage. */
class Samples {
  readonly held: number[] = []
  readonly resident: number[] = []
  readonly #timer: NodeJS.Timeout

  constructor(node: LibraryNode) {
    this.#timer = setInterval(() => {
      void node.call<NodeJS.MemoryUsage>({ op: 'memory', collect: true }).then((usage) => {
        this.held.push((usage.heapUsed + usage.external) / MIB)
        this.resident.push(usage.rss / MIB)
      })
    }, 1000)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

describe('flapping: a link that is cut and healed every 2 s', () => {
  it(
    'loses nothing under load, keeps the order, and memory stays flat',
    async () => {
      const folder = await temporaryFolder(onTestFinished)
      const mesh = new ProxiedMesh()
      onTestFinished(() => mesh.stop())
      await mesh.start(2, folder, {}, ['--expose-gc'])
      for (const node of mesh.nodes) {
        const options = { durable: 'all' }
        await node.call({ op: 'subscribe', name: 'all', filter: 'load/#', options })
      }
      await eventually(async () => {
        const members = await Promise.all(
          mesh.nodes.map((node) => node.call<number>({ op: 'members', channel: 'load' }))
        )
        return members.every((count) => count === 1) || undefined
      })

      const samples = mesh.nodes.map((node) => new Samples(node))
      const count = SECONDS * PER_SECOND
      const load = mesh.nodes.map((node, i) =>
        node.call({
          op: 'publish',
          topic: `load/${i}`,
          count,
          bytes: PAYLOAD,
          perSecond: PER_SECOND
        })
      )
      let flaps = 0
      const end = performance.now() + SECONDS * 1000
      while (performance.now() < end) {
        // By turns the connection outlives the cut and breaks.
        if (flaps % 2 === 1) mesh.drop(0, 1)
        mesh.cut(0, 1)
        await new Promise((resolve) => setTimeout(resolve, FLAP_MS))
        mesh.heal(0, 1)
        flaps++
        await new Promise((resolve) => setTimeout(resolve, FLAP_MS))
      }
      await Promise.all(load)
      const tallies = await eventually(
        async () => {
          const all = await Promise.all(mesh.nodes.map((node) => node.tally('all')))
          return all.every(({ handed }) => handed >= count * 2) ? all : undefined
        },
        { what: 'everything at both', timeoutMs: 60_000 }
      )
      for (const one of samples) one.stop()
      for (const tally of tallies) {
        expect(tally).toMatchObject({ handed: count * 2, repeated: 0, jumps: 0, late: 0 })
        expect(tally.logs).toEqual(tallies[0]?.logs)
      }
      const halves = samples.map(({ held, resident }) => ({
        first: Math.max(...held.slice(0, held.length / 2)),
        last: Math.max(...held.slice(held.length / 2)),
        resident: Math.max(...resident)
      }))
      const texts = halves.map(
        ({ first, last, resident }) =>
          `${first.toFixed(0)} MiB held in the first half, ${last.toFixed(0)} in the second, ${resident.toFixed(0)} resident`
      )
      process.stdout.write(
        `${flaps} flaps in ${SECONDS} s, ${count * 2} messages at both; ${texts.join('; ')}\n`
      )
      for (const { first, last } of halves) {
        expect(last).toBeLessThan(full ? first + SPREAD_MIB : MOST_MIB)
      }
    },
    10 * 60_000
  )
})
