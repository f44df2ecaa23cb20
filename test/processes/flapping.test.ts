import { readFile } from 'node:fs/promises'
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
const SAMPLE_MS = 1000

/**
 * Of what a node holds, heap and external memory together: 26 MiB at its start, 8 of newest records, some 10 of ids
 * that were seen, and what is on its way; 56 in all, measured. A node that keeps what it cannot deliver passes this soon.
 */
const MOST_HELD = 96
/**
 * With free room of the heap (50 MiB or more), write buffers and block cache of the database (40) and Node's own:
 * 138 in all, measured; where pages of files count, 80 more.
 */
const MOST_RESIDENT = 256
/**
 * A minute. Ids that were seen are remembered for up to two minutes: they take 5 or 6 MiB more each minute until then,
 * and nothing more in five minutes, measured. What is published takes 15 MiB a minute by its payloads alone, and at
 * least four times that as records in memory: whoever keeps one in five grows too much.
 */
const HELD_GROWTH = full ? 12 : Infinity
/** The database fills its buffers, 40 MiB, in the first minute, which is passed over: 7 to 15 a minute then, measured. */
const RESIDENT_GROWTH = full ? 32 : Infinity

/**
 * Resident memory without pages of files, where the system tells of it: LevelDB maps its tables while it compacts
 * them, up to a hundred MiB that the system takes back when it likes.
 */
async function anonymous(pid: number, resident: number): Promise<number> {
  if (process.platform !== 'linux') return resident
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** Memory of a process in MiB, once a second, right after a collection of garbage. */
class Samples {
  readonly held: number[] = []
  readonly resident: number[] = []
  readonly #node: LibraryNode
  readonly #done: Promise<void>
  #stopped = false

  constructor(node: LibraryNode) {
    this.#node = node
    this.#done = this.#take()
  }

  /** Idempotent. */
  stop(): Promise<void> {
    this.#stopped = true
    return this.#done
  }

  async #take(): Promise<void> {
    while (!this.#stopped) {
      const usage = await this.#node.call<NodeJS.MemoryUsage>({ op: 'memory', collect: true })
      this.held.push((usage.heapUsed + usage.external) / MIB)
      this.resident.push((await anonymous(this.#node.pid, usage.rss)) / MIB)
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS))
    }
  }
}

/** Growth per minute: the slope of the line with the least squares, without the first `skipped` part. */
function growth(samples: readonly number[], skipped: number): number {
  const values = samples.slice(Math.floor(samples.length * skipped))
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  let above = 0
  let below = 0
  values.forEach((value, i) => {
    above += (i - middle) * (value - mean)
    below += (i - middle) ** 2
  })
  return (above / below) * (60_000 / SAMPLE_MS)
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
      onTestFinished(async () => void (await Promise.all(samples.map((one) => one.stop()))))
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
      await Promise.all(samples.map((one) => one.stop()))
      for (const tally of tallies) {
        expect(tally).toMatchObject({ handed: count * 2, repeated: 0, jumps: 0, late: 0 })
        expect(tally.logs).toEqual(tallies[0]?.logs)
      }
      const memory = samples.map(({ held, resident }) => ({
        held: Math.round(Math.max(...held)),
        heldGrowth: Math.round(growth(held, 1 / 4)),
        resident: Math.round(Math.max(...resident)),
        residentGrowth: Math.round(growth(resident, 1 / 2))
      }))
      process.stdout.write(
        `${flaps} flaps in ${SECONDS} s, ${count * 2} messages at both; MiB, growth a minute: ${JSON.stringify(memory)}\n`
      )
      for (const { held, heldGrowth, resident, residentGrowth } of memory) {
        expect(held).toBeLessThan(MOST_HELD)
        expect(heldGrowth).toBeLessThan(HELD_GROWTH)
        expect(resident).toBeLessThan(MOST_RESIDENT)
        expect(residentGrowth).toBeLessThan(RESIDENT_GROWTH)
      }
    },
    10 * 60_000
  )
})
