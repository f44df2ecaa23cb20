import { describe, expect, it, onTestFinished } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { PeerDirectory, type PeerDirectoryEvents } from '../../src/replication/peer-directory.ts'
import { Publisher, type PublisherEvents } from '../../src/replication/publisher.ts'
import { internalRetention, SubscriberRegistry } from '../../src/replication/subscriber-registry.ts'
import {
  parseSubscriberSuffix,
  subscriberTopic
} from '../../src/replication/subscriber-registry-rows.ts'
import { SubscriberTable } from '../../src/replication/subscriber-registry-table.ts'
import type { Store } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { decodeMessages } from '../../src/wire/body.ts'
import { HybridClock } from '../../src/wire/hybrid-clock.ts'
import { openRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { ForeignLog } from '../fixtures/lone-engine.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'

const emitter = <Map extends object>(): Emitter<Map> =>
  new Emitter<Map>((error) => {
    throw error
  })

interface World {
  readonly registry: SubscriberRegistry
  readonly directory: PeerDirectory
  readonly store: Store
  readonly publisher: Publisher
  readonly clock: ManualClock
  readonly transport: LoneTransport
  /** Messages that a subscription of this node is behind. */
  readonly lags: Map<string, number>
  readonly register: (name: string, filter: string) => Promise<void>
  /** The topics said in the channel, with their payload. */
  readonly said: () => [string, string][]
  readonly stop: () => Promise<void>
}

interface WorldInit {
  readonly disk?: ReturnType<typeof openMemory>
  readonly clock?: ManualClock
  readonly announce?: boolean
  /** Takes the place of the publisher's. */
  readonly refuse?: () => SkeinError | undefined
}

async function world(init: WorldInit = {}): Promise<World> {
  const clock = init.clock ?? new ManualClock()
  const random = seededRandom(1)
  const signer = createSigner(new Uint8Array(32).fill(7))
  const transport = new LoneTransport(signer.publicKey)
  const self = transport.self.id
  const store = createStore({
    ...(init.disk ?? openMemory()),
    clock,
    random,
    logger: silentLogger
  })
  const hybridClock = new HybridClock({ clock })
  const shared = { clock, random, signer, transport, store, hybridClock, logger: silentLogger }
  const publisher = new Publisher(
    shared,
    { publisher: self, batchMessages: () => 16 },
    emitter<PublisherEvents>()
  )
  const directory = new PeerDirectory(
    shared,
    { name: 'here', custodian: true },
    emitter<PeerDirectoryEvents>()
  )
  const lags = new Map<string, number>()
  const held: string[] = []
  const registry = new SubscriberRegistry(
    {
      ...shared,
      directory,
      publisher: {
        publish: (outgoing, confirm) => {
          const refusal = init.refuse?.()
          return refusal === undefined
            ? publisher.publish(outgoing, confirm)
            : Promise.reject(refusal)
        }
      },
      membership: {
        hold: (channel, since) => {
          held.push(`${channel} ${since}`)
          return () => undefined
        }
      }
    },
    {
      self,
      ownLag: () => Promise.resolve([...lags].map(([name, lag]) => ({ name, lag }))),
      announce: init.announce
    }
  )
  const stop = async (): Promise<void> => {
    await registry.stop()
    await publisher.stop()
    await directory.stop()
    await store.stop()
  }
  onTestFinished(stop)
  await store.start()
  await directory.start()
  await publisher.start()
  await registry.start()
  await settled()
  expect(held).toEqual(['$subscribers all'])
  return {
    registry,
    directory,
    store,
    publisher,
    clock,
    transport,
    lags,
    stop,
    register: async (name, filter) => {
      const createdAt = clock.now()
      await store.register({ name, filter, createdAt, options: {} }, new Map())
      registry.changed()
      await settled()
    },
    said: () =>
      transport.sent.flatMap(({ frame }) => {
        const { body, header } = openRecord(frame.bytes)
        return decodeMessages(body, header.count).map(({ payload, suffix }): [string, string] => [
          header.channel + suffix,
          Buffer.from(payload).toString()
        ])
      })
  }
}

/** A peer's log of `$subscribers`, and what it says there. */
class Peer {
  readonly log: ForeignLog
  readonly id: string
  readonly #world: World

  constructor(world: World, key = 9) {
    this.#world = world
    this.log = new ForeignLog('$subscribers', { key })
    this.id = new LoneTransport(this.log.signer.publicKey).self.id
  }

  async says(name: string, facts: object | undefined, about = this.id): Promise<void> {
    const text = facts === undefined ? '' : JSON.stringify(facts)
    const record = this.log.record([text], `/${about}/${name}`)
    await this.#world.store.append([{ record, ageMs: 0 }], { sync: false })
    await settled()
  }

  announces(subscriptions: { name: string; lag: number }[], bye = false): void {
    this.#world.directory.heard(this.id, {
      name: 'peer',
      session: '018f000000000001',
      intervalMs: 2000,
      custodian: false,
      channels: [],
      services: [],
      groups: [],
      subscriptions,
      addresses: [],
      ...(bye ? { bye: true as const } : {})
    })
  }
}

/** Puts `count` messages into `channel`. */
class Source {
  readonly #world: World
  readonly #log: ForeignLog

  constructor(world: World, channel: string) {
    this.#world = world
    this.#log = new ForeignLog(channel, { key: 11 })
  }

  async brings(count: number): Promise<void> {
    const record = this.#log.record(Array.from({ length: count }, () => 'x'))
    await this.#world.store.append([{ record, ageMs: 0 }], { sync: false })
    await settled()
  }
}

describe('subscriber registry: own subscriptions', () => {
  it('puts a signed last value in the channel, and takes it out by an empty one', async () => {
    const { clock, register, registry, said, store, transport } = await world()
    await register('audit', 'orders/#')
    const topic = `$subscribers/${transport.self.id}/audit`
    const createdAt = clock.now()
    expect(said()).toEqual([[topic, JSON.stringify({ filter: 'orders/#', createdAt })]])
    expect(registry.subscribersOf('orders')).toEqual([{ peerId: transport.self.id, name: 'audit' }])
    await store.unregister('audit')
    registry.changed()
    await settled()
    expect(said().at(-1)).toEqual([topic, ''])
    expect(registry.subscribersOf('orders')).toEqual([])
    expect(await registry.list()).toEqual([])
  })

  it('says nothing again after a restart, and puts right what changed meanwhile', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const first = await world({ disk, clock })
    await first.register('audit', 'orders/#')
    await first.register('gone', 'orders/#')
    await first.stop()
    const second = await world({ disk, clock })
    expect(second.said()).toEqual([])
    expect(second.registry.size).toBe(2)
    await second.registry.stop()
    await second.store.unregister('gone')
    await second.stop()
    const third = await world({ disk, clock })
    expect(third.said()).toEqual([[`$subscribers/${third.transport.self.id}/gone`, '']])
    expect(third.registry.size).toBe(1)
  })

  it('tries again after the store refused, and does not fail with it', async () => {
    let refusal: SkeinError | undefined = new SkeinError('ERR_STORE_FULL', 'full')
    const { clock, register, registry, said } = await world({ refuse: () => refusal })
    await register('audit', 'orders/#')
    expect(said()).toEqual([])
    expect(await registry.list()).toHaveLength(1)
    await clock.advance(5_000)
    expect(said()).toEqual([])
    refusal = undefined
    await clock.advance(5_000)
    expect(said()).toHaveLength(1)
    await clock.advance(60_000)
    expect(said()).toHaveLength(1)
  })

  it('tells nobody of subscriptions that end with the node, and lists them', async () => {
    const { register, registry, said } = await world({ announce: false })
    await register('audit', 'orders/#')
    expect(said()).toEqual([])
    expect(await registry.list()).toMatchObject([{ subscription: 'audit', node: 'here' }])
  })

  it('names the own inbox by the id of this node', async () => {
    const { register, said, transport } = await world()
    await register('mine', '@me/#')
    expect(said()[0]?.[1]).toContain(`"filter":"@${transport.self.id}/#"`)
  })

  it('puts in once what nobody can list: too many of them, or an inbox filter that is too long', async () => {
    const { registry, said, store } = await world()
    const register = (name: string, filter: string): Promise<void> =>
      store.register({ name, filter, createdAt: 1, options: {} }, new Map())
    await register('long', `@me/${'x'.repeat(190)}`)
    const count = LIMITS.subscribersPerPeer + 3
    for (let n = 0; n < count; n++) await register(`s${n}`, 'a')
    registry.changed()
    await settled(100)
    registry.changed()
    await settled(100)
    expect(said()).toHaveLength(count)
    expect(registry.size).toBe(LIMITS.subscribersPerPeer)
    expect(await registry.list()).toHaveLength(count + 1)
  })

  it('escapes what a topic cannot have, and leaves out a name that does not fit', async () => {
    const { register, registry, said, transport } = await world()
    await register('50%+#', 'a')
    await register('+'.repeat(64), 'b')
    const prefix = `$subscribers/${transport.self.id}/`
    expect(said().map(([topic]) => topic)).toEqual([`${prefix}50%25%2B%23`])
    expect(registry.subscribersOf('a')[0]?.name).toBe('50%+#')
    expect(subscriberTopic(transport.self.id, '\ud800')).toBeUndefined()
    const suffix = `/${transport.self.id}`
    expect(parseSubscriberSuffix(`${suffix}/%41`)).toBeUndefined()
    expect(parseSubscriberSuffix(`${suffix}/a/b`)).toBeUndefined()
    expect(parseSubscriberSuffix('/nobody/a')).toBeUndefined()
    expect(parseSubscriberSuffix(`${suffix}/`)).toBeUndefined()
  })
})

describe('subscriber registry: others', () => {
  it('lists what peers say of themselves, on or off, and forgets what they take back', async () => {
    const here = await world()
    const peer = new Peer(here)
    await peer.says('audit', { filter: 'orders/#', createdAt: 5 })
    expect(await here.registry.list()).toEqual([
      {
        peerId: peer.id,
        node: undefined,
        subscription: 'audit',
        filter: 'orders/#',
        lag: 0,
        state: 'down',
        lastSeen: undefined,
        createdAt: new Date(5)
      }
    ])
    peer.announces([])
    expect(await here.registry.list()).toMatchObject([{ node: 'peer', state: 'up' }])
    expect(here.registry.subscribersOf('orders')).toEqual([{ peerId: peer.id, name: 'audit' }])
    expect(here.registry.subscribersOf('billing')).toEqual([])
    await peer.says('audit', undefined)
    expect(await here.registry.list()).toEqual([])
  })

  it('does not believe one peer about another, nor what cannot be read', async () => {
    const here = await world()
    const [peer, liar] = [new Peer(here, 9), new Peer(here, 10)]
    await peer.says('audit', { filter: 'orders/#', createdAt: 5 })
    await liar.says('audit', undefined, peer.id)
    await liar.says('invented', { filter: 'orders/#', createdAt: 5 }, peer.id)
    await liar.says('own', { filter: 'a/#/b', createdAt: 5 })
    await liar.says('own', { filter: 'a', createdAt: -1 })
    await liar.says('a/b', { filter: 'a', createdAt: 1 })
    expect(here.registry.stats).toMatchObject({ forged: 2, malformed: 3 })
    expect(here.registry.subscribersOf('orders')).toEqual([{ peerId: peer.id, name: 'audit' }])
    expect(here.registry.size).toBe(1)
  })

  it('knows after a restart what it knew before', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const first = await world({ disk, clock })
    const peer = new Peer(first)
    await peer.says('audit', { filter: 'orders/#', createdAt: clock.now() })
    await peer.says('gone', { filter: 'orders/#', createdAt: clock.now() })
    await peer.says('gone', undefined)
    peer.announces([{ name: 'audit', lag: 7 }])
    await first.stop()
    await clock.advance(1000)
    const second = await world({ disk, clock })
    expect(await second.registry.list()).toMatchObject([
      { peerId: peer.id, node: 'peer', subscription: 'audit', lag: 7, state: 'down' }
    ])
  })

  it('shows a growing lag for a subscriber that is off', async () => {
    const here = await world()
    const [orders, other] = [new Source(here, 'orders'), new Source(here, 'other')]
    const peer = new Peer(here)
    const lag = async (): Promise<number | undefined> => (await here.registry.list())[0]?.lag
    await peer.says('audit', { filter: 'orders/#', createdAt: here.clock.now() })
    await orders.brings(3)
    peer.announces([{ name: 'audit', lag: 10 }])
    expect(await lag()).toBe(10)
    peer.announces([{ name: 'audit', lag: 12 }], true)
    await orders.brings(4)
    await other.brings(100)
    expect(await lag()).toBe(16)
    await here.clock.advance(600_000)
    await orders.brings(1)
    expect(await here.registry.list()).toMatchObject([{ lag: 17, state: 'down' }])
    peer.announces([{ name: 'audit', lag: 2 }])
    expect(await lag()).toBe(2)
  })

  it('counts from the last sign of life for a channel that came later and after a restart', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const first = await world({ disk, clock })
    const peer = new Peer(first)
    await peer.says('audit', { filter: '#', createdAt: clock.now() })
    await new Source(first, 'early').brings(5)
    await clock.advance(1000)
    peer.announces([{ name: 'audit', lag: 1 }])
    await clock.advance(1000)
    await new Source(first, 'late').brings(2)
    expect(await first.registry.list()).toMatchObject([{ lag: 3 }])
    await first.stop()
    const second = await world({ disk, clock })
    expect(await second.registry.list()).toMatchObject([{ lag: 3 }])
  })

  it('counts from its beginning for a subscription that was never announced', async () => {
    const here = await world()
    const orders = new Source(here, 'orders')
    const peer = new Peer(here)
    peer.announces([{ name: 'older', lag: 100 }])
    await orders.brings(3)
    await here.clock.advance(1000)
    await peer.says('audit', { filter: 'orders', createdAt: here.clock.now() })
    await orders.brings(4)
    expect(await here.registry.list()).toMatchObject([{ subscription: 'audit', lag: 4 }])
    peer.announces([{ name: 'older', lag: 100 }])
    expect(await here.registry.list()).toMatchObject([{ subscription: 'audit', lag: 0 }])
  })
})

describe('subscriber registry: table', () => {
  const facts = { filter: 'a', createdAt: 1 }
  const at = (sequence: number, session = 's1') => ({ session, sequence })

  it('keeps the newest value of its publisher, in whatever order they come', () => {
    const table = new SubscriberTable()
    table.put('p', 'n', at(1, 's2'), { ...facts, filter: 'new' })
    table.put('p', 'n', at(9, 's1'), facts)
    table.put('p', 'n', at(1, 's2'), facts)
    expect([...table.of('p')].map(({ filter }) => filter)).toEqual(['new'])
    table.put('p', 'n', at(2, 's2'), undefined)
    table.put('p', 'n', at(1, 's2'), facts)
    expect(table.size).toBe(0)
  })

  it('takes so many of one peer, deleted ones not counted', () => {
    const table = new SubscriberTable()
    for (let n = 1; n <= LIMITS.subscribersPerPeer + 5; n++) table.put('p', `${n}`, at(n), facts)
    expect(table.size).toBe(LIMITS.subscribersPerPeer)
    expect(table.refused).toBe(5)
    table.put('p', '1', at(5000), undefined)
    table.put('p', 'one more', at(5001), facts)
    table.put('q', 'other', at(1), facts)
    expect([...table.of('p')].map(({ name }) => name)).toContain('one more')
    expect(table.size).toBe(LIMITS.subscribersPerPeer + 1)
  })
})

describe('subscriber registry: retention', () => {
  it('keeps last values for ever, and next to nothing of what is never stored', () => {
    expect(internalRetention('$subscribers')).toMatchObject({ keepLast: 1, maxAgeMs: Infinity })
    expect(internalRetention('$presence')?.maxAgeMs).toBe(60_000)
    expect(internalRetention('orders')).toBeUndefined()
  })
})
