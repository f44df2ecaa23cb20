import { describe, expect, it, onTestFinished } from 'vitest'
import { type Clock, steadyClock } from '../../src/core/clock.ts'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { DEFAULT_RETENTION } from '../../src/node/options.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import type { Receipt } from '../../src/replication/batch.ts'
import { Publisher } from '../../src/replication/publisher.ts'
import type { Store } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { compareHybrid, HybridClock } from '../../src/wire/hybrid-clock.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { ForeignLog } from '../fixtures/lone-engine.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'

const HOUR_MS = 3_600_000
const JUMPS = [HOUR_MS, -HOUR_MS, 10 * 365 * 24 * HOUR_MS]

/** A machine whose wall clock can be set; no timer of it ever fires. */
class Machine implements Clock {
  #wall = 1_800_000_000_000
  #monotonic = 0

  now(): number {
    return this.#wall
  }

  monotonic(): number {
    return this.#monotonic
  }

  after(): { cancel(): void } {
    return { cancel: () => undefined }
  }

  soon(callback: () => void): void {
    setImmediate(callback)
  }

  /** Time passes; a node looks at its clock all the while. */
  pass(ms: number, look: () => unknown): void {
    for (let rest = ms; rest > 0; rest -= 60_000) {
      this.#wall += Math.min(rest, 60_000)
      this.#monotonic += Math.min(rest, 60_000)
      look()
    }
  }

  jump(ms: number): void {
    this.#wall += ms
  }
}

interface Node {
  readonly store: Store
  readonly publisher: Publisher
  readonly clock: Clock
  publish(text: string, id?: string): Promise<Receipt>
  stop(): Promise<void>
}

const signer = createSigner(new Uint8Array(32).fill(7))

async function nodeOn(machine: Machine, disk = openMemory(), steady = true): Promise<Node> {
  const clock = steady ? steadyClock(machine) : machine
  const transport = new LoneTransport(signer.publicKey)
  const components = { clock, transport, random: seededRandom(1), logger: silentLogger }
  const store = createStore({ ...disk, ...components })
  const publisher = new Publisher(
    { ...components, store, signer, hybridClock: new HybridClock({ clock }) },
    { publisher: transport.self.id, batchMessages: () => 100 },
    new Emitter((error) => {
      throw error
    })
  )
  await store.start()
  await publisher.start()
  const stop = async (): Promise<void> => {
    await publisher.stop()
    await store.stop()
  }
  onTestFinished(stop)
  return {
    store,
    publisher,
    clock,
    stop,
    publish: (text, id) => publisher.publish(outgoing('a', text, { id }, 1000), 'stored')
  }
}

const trim = (node: Node) => node.store.trim('a', DEFAULT_RETENTION)

/** Of the node's own records. */
async function times(node: Node): Promise<{ ms: number; counter: number }[]> {
  const entries = await node.store.readJournal('a', 0)
  return entries.flatMap(({ record }) =>
    record?.header.session === node.publisher.session ? [record.header.time] : []
  )
}

describe('clock jump', () => {
  it.each(JUMPS)('of %d ms: nothing young is trimmed, and the order stays', async (jump) => {
    const machine = new Machine()
    const node = await nodeOn(machine)
    await trim(node)
    await node.publish('1')
    machine.pass(HOUR_MS, () => node.clock.now())
    await node.publish('2')
    machine.jump(jump)
    await node.publish('3')
    const foreign = new ForeignLog('a')
    const arrived = await node.store.append([{ record: foreign.record(['4']), ageMs: HOUR_MS }], {
      sync: true
    })
    expect(arrived).toEqual(['appended'])
    machine.pass(HOUR_MS, () => node.clock.now())
    await node.publish('5')
    expect(await trim(node)).toMatchObject({ records: 0 })
    const own = await times(node)
    expect(own).toHaveLength(4)
    for (const [index, time] of own.slice(1).entries()) {
      expect(compareHybrid(time, own[index] ?? time)).toBeGreaterThan(0)
    }
  })

  it.each(JUMPS)('of %d ms: what is old is trimmed all the same', async (jump) => {
    const machine = new Machine()
    const node = await nodeOn(machine)
    await node.publish('1')
    machine.jump(jump)
    machine.pass(27 * HOUR_MS, () => node.clock.now())
    await node.publish('2')
    expect(await trim(node)).toMatchObject({ records: 1 })
  })

  it('would take everything without a steady clock', async () => {
    const machine = new Machine()
    const node = await nodeOn(machine, openMemory(), false)
    await node.publish('1')
    machine.jump(JUMPS[2] ?? 0)
    expect(await trim(node)).toMatchObject({ records: 1 })
  })

  it.each(JUMPS)('of %d ms: ids stand for what they stood for', async (jump) => {
    const machine = new Machine()
    const disk = openMemory()
    const node = await nodeOn(machine, disk)
    const first = await node.publish('1', 'one')
    machine.jump(jump)
    expect((await node.publish('1', 'one')).id).toBe(first.id)
    machine.pass(9 * 60_000, () => node.clock.now())
    expect((await node.publish('1', 'one')).id).toBe(first.id)
    machine.pass(60_000, () => node.clock.now())
    expect((await node.publish('1', 'one')).id).not.toBe(first.id)
  })

  it('of an hour back while it is off: what a node says is later than what it said before', async () => {
    const machine = new Machine()
    const disk = openMemory()
    const before = await nodeOn(machine, disk)
    await before.publish('1')
    const [first] = await times(before)
    await before.stop()
    machine.jump(-HOUR_MS)
    const after = await nodeOn(machine, disk)
    await after.publish('2')
    const [second] = await times(after)
    if (first === undefined || second === undefined) throw new Error('nothing was written')
    expect(compareHybrid(second, first)).toBeGreaterThan(0)
    // A clock that was wrong by years does not hold the time for years.
    await after.stop()
    machine.jump(-30 * 24 * HOUR_MS)
    const later = await nodeOn(machine, disk)
    await later.publish('3')
    expect((await times(later))[0]?.ms).toBe(machine.now())
  })

  it.each(JUMPS)('of %d ms: sessions go up at every start', async (jump) => {
    const machine = new Machine()
    const disk = openMemory()
    const sessions: string[] = []
    for (const step of [0, jump, -jump]) {
      machine.jump(step)
      const node = await nodeOn(machine, disk)
      await node.publish('x')
      sessions.push(node.publisher.session)
      await node.stop()
    }
    expect(sessions).toEqual(sessions.toSorted())
    expect(new Set(sessions).size).toBe(3)
  })
})
