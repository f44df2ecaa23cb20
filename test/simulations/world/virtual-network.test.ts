import { describe, expect, it } from 'vitest'
import type {
  NodeClock,
  VirtualNetwork,
  VirtualNetworkInit
} from '../../../simulations/world/contract.ts'
import type { Impairment, LinkSet } from '../../../simulations/scenario/step.ts'
import { createVirtualNetwork } from '../../../simulations/world/virtual-network.ts'
import { createVirtualTime } from '../../../simulations/world/virtual-time.ts'
import { seededRandom } from '../../../src/core/random.ts'
import type { Transport } from '../../../src/mesh/contract.ts'
import { PEERS, PEERS_MAX } from '../../../src/mesh/neighbourhood.ts'
import { PRESENCE_CHANNEL } from '../../../src/wire/presence.ts'
import { frame, numberOf } from '../../mesh/harness.ts'
import { transportSuite } from '../../mesh/transport-suite.ts'
import { pumpedNet } from './pumped-net.ts'

transportSuite('virtual', pumpedNet)

const CHANNEL = 'c'

interface Arrival {
  readonly atMs: number
  readonly number: number
}

/** Started nodes n0, n1 and so on, members of one channel; nothing but `run` lets time pass. */
class Trial {
  readonly time = createVirtualTime()
  readonly network: VirtualNetwork
  readonly nodes: Transport[] = []
  readonly clocks: NodeClock[] = []
  readonly arrived: Arrival[][] = []
  #impairments = 0

  constructor(seedOfWorld = 1, init: VirtualNetworkInit = { latencyMs: 10, jitterMs: 0 }) {
    this.network = createVirtualNetwork(
      { time: this.time, random: seededRandom(seedOfWorld) },
      init
    )
  }

  async start(count: number): Promise<this> {
    for (let at = 0; at < count; at++) {
      const clock = this.time.clock()
      const privateKey = new Uint8Array(32).fill(at + 1)
      const node = this.network.transport({ name: `n${at}`, privateKey, clock })
      const arrived: Arrival[] = []
      node.onFrame(({ bytes, complete }) => {
        if (complete) arrived.push({ atMs: this.time.nowMs, number: numberOf(bytes) })
        return 'accept'
      })
      node.join(CHANNEL)
      this.nodes.push(node)
      this.clocks.push(clock)
      this.arrived.push(arrived)
      await node.start()
    }
    await this.run(2000)
    return this
  }

  async run(ms: number): Promise<void> {
    await this.time.run(this.time.nowMs + ms)
  }

  node(at: number): Transport {
    return this.nodes[at] as Transport
  }

  send(from: number, number: number, length = 200): void {
    this.node(from).broadcast(CHANNEL, frame(number, length))
  }

  /** Numbers that have arrived. */
  numbers(at: number): number[] {
    return (this.arrived[at] ?? []).map(({ number }) => number)
  }

  impair(links: LinkSet, impairment: Impairment): number {
    this.network.impair(++this.#impairments, links, impairment)
    return this.#impairments
  }

  connected(one: number, other: number): boolean {
    const { id } = this.node(other).self
    return this.node(one)
      .peers()
      .some((peer) => peer.id === id && peer.connected)
  }
}

const ALL: LinkSet = { kind: 'all' }
const FROM_N0: LinkSet = { kind: 'of', nodes: ['n0'], direction: 'one-way' }

describe('simulations: virtual network', () => {
  it('lets the same seed bring the same arrivals, and another seed others', async () => {
    const arrivals = async (worldSeed: number): Promise<Arrival[][]> => {
      const trial = await new Trial(worldSeed, { latencyMs: 5, jitterMs: 20 }).start(5)
      trial.impair(ALL, { kind: 'loss', perMillion: 100_000 })
      trial.impair(ALL, { kind: 'duplicate', perMillion: 200_000 })
      for (let number = 0; number < 50; number++) {
        trial.send(number % 5, number)
        await trial.run(37)
      }
      await trial.run(20_000)
      return trial.arrived
    }
    const first = await arrivals(1)
    expect(await arrivals(1)).toEqual(first)
    expect(await arrivals(2)).not.toEqual(first)
  })

  it('makes of loss a delay', async () => {
    const trial = await new Trial().start(2)
    trial.impair(ALL, { kind: 'loss', perMillion: 300_000 })
    const sentAt: number[] = []
    for (let number = 0; number < 100; number++) {
      sentAt.push(trial.time.nowMs)
      trial.send(0, number)
      await trial.run(500)
    }
    await trial.run(20_000)
    expect(trial.numbers(1)).toEqual(Array.from({ length: 100 }, (_, i) => i))
    const delays = (trial.arrived[1] ?? []).map(({ atMs, number }) => atMs - (sentAt[number] ?? 0))
    expect(Math.min(...delays)).toBe(10)
    expect(delays.filter((ms) => ms >= 200).length).toBeGreaterThan(10)
  })

  it('sends no faster than the bandwidth', async () => {
    const trial = await new Trial().start(2)
    trial.impair(ALL, { kind: 'bandwidth', bytesPerSecond: 100_000 })
    const beganMs = trial.time.nowMs
    for (let number = 0; number < 10; number++) trial.send(0, number, 100_000)
    await trial.run(60_000)
    expect(trial.numbers(1)).toHaveLength(10)
    const tookMs = (trial.arrived[1]?.at(-1)?.atMs ?? 0) - beganMs
    expect(tookMs).toBeGreaterThan(10_000)
    expect(tookMs).toBeLessThan(11_000)
  })

  it('lets frames come twice, and out of order', async () => {
    const trial = await new Trial().start(2)
    const seen = trial.node(1).stats().framesReceived
    const id = trial.impair(ALL, { kind: 'duplicate', perMillion: 500_000 })
    for (let number = 0; number < 100; number++) trial.send(0, number)
    await trial.run(1000)
    const copies = trial.node(1).stats().framesReceived - seen
    expect(copies).toBeGreaterThan(120)
    expect(trial.numbers(1)).toHaveLength(100)
    trial.network.repair(id)
    trial.impair(ALL, { kind: 'reorder', perMillion: 300_000, byMs: 50 })
    for (let number = 100; number < 200; number++) trial.send(0, number)
    await trial.run(1000)
    const later = trial.numbers(1).slice(100)
    expect(later.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => 100 + i))
    expect(later).not.toEqual(later.toSorted((a, b) => a - b))
  })

  it('carries what a short cut held up, on the same connection', async () => {
    const trial = await new Trial().start(2)
    let downs = 0
    trial.node(0).events.on('peer:down', () => downs++)
    const id = trial.impair(ALL, { kind: 'cut' })
    trial.send(0, 1)
    await trial.run(2000)
    expect(trial.numbers(1)).toEqual([])
    trial.network.repair(id)
    await trial.run(2000)
    expect(trial.numbers(1)).toEqual([1])
    expect(downs).toBe(0)
  })

  it('ends connections on both sides of a long cut, and makes new ones when it heals', async () => {
    const trial = await new Trial().start(3)
    const cut = trial.impair({ kind: 'of', nodes: ['n0'], direction: 'both' }, { kind: 'cut' })
    await trial.run(3900)
    expect(trial.connected(0, 1)).toBe(true)
    await trial.run(4000)
    expect([trial.connected(0, 1), trial.connected(1, 0), trial.connected(1, 2)]).toEqual([
      false,
      false,
      true
    ])
    expect(trial.network.topology()).toHaveLength(1)
    trial.send(1, 1)
    trial.network.repair(cut)
    await trial.run(3000)
    expect(trial.network.topology()).toHaveLength(3)
    trial.send(1, 2)
    await trial.run(100)
    expect([trial.numbers(0), trial.numbers(2)]).toEqual([[2], [1, 2]])
  })

  it('hears one direction of a one-way cut, until the other side hangs up', async () => {
    const trial = await new Trial().start(2)
    trial.impair(FROM_N0, { kind: 'cut' })
    trial.send(0, 1)
    trial.send(1, 2)
    await trial.run(3000)
    expect([trial.numbers(0), trial.numbers(1)]).toEqual([[2], []])
    const deaf: string[] = []
    trial.node(1).events.on('link:deaf', ({ peer }) => deaf.push(peer))
    await trial.run(5000)
    expect(deaf).toEqual([trial.node(0).self.id])
    expect([trial.connected(0, 1), trial.connected(1, 0)]).toEqual([false, false])
  })

  it('keeps what is sent to a paused node for it, and gives it up after a while', async () => {
    const trial = await new Trial().start(2)
    const { id } = trial.node(1).self
    const pause = (): void => {
      trial.network.pause(id)
      trial.clocks[1]?.pause()
    }
    const resume = (): void => {
      trial.network.resume(id)
      trial.clocks[1]?.resume()
    }
    pause()
    trial.send(0, 1)
    await trial.run(3000)
    expect(trial.numbers(1)).toEqual([])
    resume()
    await trial.run(100)
    expect(trial.numbers(1)).toEqual([1])
    expect(trial.connected(0, 1)).toBe(true)
    pause()
    await trial.run(8000)
    expect(trial.connected(0, 1)).toBe(false)
    resume()
    await trial.run(5000)
    expect([trial.connected(0, 1), trial.connected(1, 0)]).toEqual([true, true])
  })

  it('shows neighbours at once that a process is gone', async () => {
    const trial = await new Trial().start(2)
    trial.network.kill(trial.node(1).self.id)
    trial.clocks[1]?.kill()
    await trial.run(11)
    expect(trial.connected(0, 1)).toBe(false)
    await trial.run(60_000)
    expect(trial.network.topology()).toEqual([])
  })

  it('bounds the neighbours of each node of a big network, and reaches all of them', async () => {
    const trial = await new Trial().start(150)
    await trial.run(5000)
    const counts = trial.nodes.map((node) => node.peers().filter((peer) => peer.connected).length)
    expect(Math.max(...counts)).toBeLessThanOrEqual(PEERS_MAX)
    expect(Math.min(...counts)).toBeGreaterThan(PEERS / 2)
    trial.send(0, 1)
    await trial.run(5000)
    expect(trial.arrived.slice(1).every((arrived) => arrived.length === 1)).toBe(true)
  })

  it('leaves announcements with neighbours where it is told to, and nothing else', async () => {
    const trial = await new Trial(1, { neighbours: 4, announcements: 'neighbours' }).start(20)
    const [first] = trial.nodes
    for (const node of trial.nodes) node.join(PRESENCE_CHANNEL)
    await trial.run(2000)
    first?.broadcast(PRESENCE_CHANNEL, frame(1, 200))
    trial.send(0, 2)
    await trial.run(5000)
    const heard = [...trial.nodes.keys()].filter((at) => trial.numbers(at).includes(1))
    expect(heard).toEqual([...trial.nodes.keys()].filter((at) => trial.connected(0, at)))
    expect(heard.length).toBeLessThan(trial.nodes.length - 1)
    expect(trial.arrived.slice(1).every((_, at) => trial.numbers(at + 1).includes(2))).toBe(true)
  })
})
