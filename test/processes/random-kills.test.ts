import { join } from 'node:path'
import { lostMessages } from '../../simulations/checkers/lost-messages.ts'
import { publisherOrder } from '../../simulations/checkers/publisher-order.ts'
import { repetitions } from '../../simulations/checkers/repeated-messages.ts'
import { silentGaps } from '../../simulations/checkers/silent-gaps.ts'
import type { MessageRef, TraceEvent, Violation } from '../../simulations/trace.ts'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LibraryNode, type Report } from './library-node.ts'
import { freePort } from './proxied-mesh.ts'
import { eventually, full, loops, randomMesh, temporaryFolder } from './skein-process.ts'

const NODES = 5
const KILLS = loops(200)
/** Of each node while it runs. */
const PER_SECOND = full ? 50 : 25
const SEED = Number(process.env['SKEIN_TEST_SEED'] ?? 20_261_121)

/** mulberry32: the same kills for the same seed. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function refOf(id: string): MessageRef {
  const [publisher = '', session = '', sequence = '', channel = ''] = id.split('/')
  return { id, publisher, session, sequence: Number(sequence), channel }
}

/** What the nodes said over all their lives, as the checkers read it. */
class Account {
  readonly trace: TraceEvent[] = []
  readonly confirmed = new Set<string>()
  readonly handed = new Map<string, Set<string>>()
  repeats = 0

  subscribed(node: string): void {
    this.handed.set(node, new Set())
    this.trace.push({
      kind: 'subscribed',
      subscription: node,
      filter: 'load/#',
      durable: true,
      node
    })
  }

  killed(node: string): void {
    this.trace.push({ kind: 'stopped', node, how: 'crash' })
  }

  hear(node: string, report: Report): void {
    if (report.event === 'confirmed') {
      this.confirmed.add(report.id)
      this.trace.push({ kind: 'confirmed', message: refOf(report.id), topic: report.topic })
    } else if (report.event === 'handed') {
      const { attempt, id, late } = report
      const handed = this.handed.get(node)
      if (handed?.has(id) === true) this.repeats++
      handed?.add(id)
      this.trace.push({ kind: 'handed', subscription: node, message: refOf(id), attempt, late })
    } else if (report.event === 'acked') {
      this.trace.push({ kind: 'acknowledged', subscription: node, id: report.id })
    } else if (report.event === 'gap') {
      this.trace.push({ ...report, kind: 'gap', subscription: node })
    }
  }

  /** Confirmed messages that a subscription has not got yet, over all. */
  missing(): number {
    let count = 0
    for (const handed of this.handed.values()) {
      for (const id of this.confirmed) if (!handed.has(id)) count++
    }
    return count
  }

  violations(): Violation[] {
    const checks = [
      lostMessages,
      repetitions(['unacknowledged', 'crash']),
      publisherOrder,
      silentGaps
    ]
    return checks.flatMap((check) => check(this.trace))
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A node that publishes and consumes whenever it runs. */
async function live(node: LibraryNode): Promise<void> {
  await node.start()
  const name = node.options.name ?? ''
  await node.call({
    op: 'subscribe',
    name,
    filter: 'load/#',
    options: { durable: 'all', ack: 'manual' },
    say: true
  })
}

/** Goes on until the node is killed or asked to end. */
function load(node: LibraryNode): void {
  const forever = { count: 1_000_000, bytes: 100, perSecond: PER_SECOND, say: true }
  // Ends with the process.
  node.call({ op: 'publish', topic: `load/${node.options.name ?? ''}`, ...forever }).catch(() => {})
}

async function meshOf(account: Account): Promise<LibraryNode[]> {
  const folder = await temporaryFolder(onTestFinished)
  const mesh = randomMesh()
  const addresses: string[] = []
  for (let i = 0; i < NODES; i++) addresses.push(`/ip4/127.0.0.1/tcp/${await freePort()}`)
  const nodes = addresses.map((address, i) => {
    const name = `node-${i}`
    const others = addresses.filter((other) => other !== address)
    const dataDir = join(folder, name)
    return new LibraryNode({ name, mesh, dataDir, mdns: false, listen: [address], join: others })
  })
  onTestFinished(async () => {
    await Promise.all(nodes.map((node) => node.kill()))
  })
  for (const node of nodes) {
    const name = node.options.name ?? ''
    node.onReport = (report) => account.hear(name, report)
    account.subscribed(name)
  }
  await Promise.all(nodes.map(live))
  return nodes
}

describe('random kills: five nodes under load', () => {
  it(
    'lose nothing, repeat only what was not acknowledged, keep the order and tell their gaps',
    async () => {
      const random = seeded(SEED)
      const account = new Account()
      const startedAt = performance.now()
      const nodes = await meshOf(account)
      nodes.forEach(load)
      const kills = nodes.map(() => 0)
      const back = nodes.map(() => Promise.resolve())
      for (let kill = 0; kill < KILLS; kill++) {
        await pause(random() * 400)
        const victim = Math.floor(random() * NODES)
        await back[victim]
        const node = nodes[victim]
        if (node === undefined) continue
        await node.kill('SIGKILL')
        account.killed(node.options.name ?? '')
        kills[victim] = (kills[victim] ?? 0) + 1
        back[victim] = pause(random() * 400)
          .then(() => live(node))
          .then(() => load(node))
      }
      await Promise.all(back)
      // The load ends as it went, by kills; all come back and only consume.
      for (const node of nodes) {
        await node.kill('SIGKILL')
        account.killed(node.options.name ?? '')
      }
      await Promise.all(nodes.map(live))
      const consumed = async (): Promise<true | undefined> => {
        await pause(200)
        return account.missing() === 0 || undefined
      }
      await eventually(consumed, {
        what: 'everything consumed everywhere',
        timeoutMs: 60_000
      }).catch((error: unknown) => {
        // What is missing is named below.
        process.stdout.write(`${String(error)}: ${account.missing()} are missing\n`)
      })
      process.stdout.write(
        `seed ${SEED}: kills ${kills.join(', ')} of nodes 0 to 4, then all; ${account.confirmed.size} messages ` +
          `confirmed, each to ${NODES} subscribers, ${account.repeats} handed over again; ` +
          `${Math.round((performance.now() - startedAt) / 1000)} s\n`
      )
      expect(account.violations().slice(0, 10)).toEqual([])
      expect(account.confirmed.size).toBeGreaterThan(KILLS * 5)
    },
    20 * 60_000
  )
})
