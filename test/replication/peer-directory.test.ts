import { describe, expect, it, onTestFinished } from 'vitest'
import { isSkeinError, SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import {
  PeerDirectory,
  type PeerDirectoryEvents,
  type PeerEntry
} from '../../src/replication/peer-directory.ts'
import { similarNames } from '../../src/replication/peer-directory-names.ts'
import type { ValueSpace } from '../../src/store/contract.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import type { Announcement } from '../../src/wire/presence.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

const idOf = (key: number): string => peerIdFromPublicKey(new Uint8Array(32).fill(key))
const PEER = idOf(1)
const OTHER = idOf(2)

const said = (changes: Partial<Announcement> = {}): Announcement => ({
  name: 'orders-1',
  session: '018f000000000001',
  intervalMs: 2000,
  custodian: false,
  channels: [],
  services: [],
  groups: [],
  subscriptions: [],
  addresses: [],
  ...changes
})

/** Values in memory that can be made to fail. */
class Values implements ValueSpace {
  readonly rows = new Map<string, Uint8Array>()
  puts = 0
  failure: Error | undefined

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.rows.get(key))
  }

  put(key: string, value: Uint8Array): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.puts++
    this.rows.set(key, value)
    return Promise.resolve()
  }

  delete(key: string): Promise<void> {
    this.rows.delete(key)
    return Promise.resolve()
  }

  entries(): Promise<ReadonlyArray<readonly [string, Uint8Array]>> {
    return Promise.resolve([...this.rows])
  }
}

interface World {
  readonly directory: PeerDirectory
  readonly clock: ManualClock
  readonly values: Values
  /** Changes of state, as `name-or-id state`. */
  readonly changes: string[]
  readonly connect: (peer: string) => void
  readonly disconnect: (peer: string) => void
}

async function world(init: { clock?: ManualClock; values?: Values } = {}): Promise<World> {
  const clock = init.clock ?? new ManualClock()
  const values = init.values ?? new Values()
  const transport = new LoneTransport(new Uint8Array(32).fill(7))
  const emitter = new Emitter<PeerDirectoryEvents>((error) => {
    throw error
  })
  const directory = new PeerDirectory(
    { transport, store: { values: () => values }, clock, logger: silentLogger },
    { name: 'here', custodian: true },
    emitter
  )
  const changes: string[] = []
  for (const state of ['up', 'suspect', 'down'] as const) {
    emitter.on(state, (peer: PeerEntry) => {
      expect(peer.state).toBe(state)
      changes.push(`${peer.name ?? peer.id} ${state}`)
    })
  }
  await directory.start()
  onTestFinished(() => directory.stop())
  return {
    directory,
    clock,
    values,
    changes,
    connect: (peer) => transport.events.emit('peer:up', { peer, addresses: ['/ip4/10.0.0.9'] }),
    disconnect: (peer) => transport.events.emit('peer:down', { peer })
  }
}

describe('peer directory: states', () => {
  it('knows a peer as up when it connects or announces itself, and says so once', async () => {
    const { changes, connect, directory } = await world()
    connect(PEER)
    directory.heard(PEER, said())
    directory.heard(PEER, said())
    directory.heard(OTHER, said({ name: 'other' }))
    expect(changes).toEqual([`${PEER} up`, 'other up'])
    expect(directory.presentCount).toBe(3)
    expect(directory.get(PEER)).toMatchObject({
      name: 'orders-1',
      connected: true,
      addresses: ['/ip4/10.0.0.9']
    })
  })

  it('suspects a peer that is no neighbour after two intervals, and takes it for down after three', async () => {
    const { changes, clock, directory } = await world()
    directory.heard(PEER, said({ intervalMs: 4000 }))
    await clock.advance(7_999)
    expect(changes).toEqual(['orders-1 up'])
    await clock.advance(2)
    expect(changes).toEqual(['orders-1 up', 'orders-1 suspect'])
    await clock.advance(3_997)
    expect(directory.get(PEER)?.state).toBe('suspect')
    await clock.advance(3)
    expect(changes).toEqual(['orders-1 up', 'orders-1 suspect', 'orders-1 down'])
    expect(directory.presentCount).toBe(1)
    directory.heard(PEER, said())
    expect(changes.at(-1)).toBe('orders-1 up')
  })

  it('keeps a peer up for as long as it announces itself', async () => {
    const { changes, clock, directory } = await world()
    for (let n = 0; n < 20; n++) {
      directory.heard(PEER, said())
      await clock.advance(2_200)
    }
    expect(changes).toEqual(['orders-1 up'])
  })

  it('never takes a connected peer for down, however silent it is', async () => {
    const { changes, clock, connect, directory } = await world()
    directory.heard(PEER, said())
    connect(PEER)
    await clock.advance(3_600_000)
    expect(changes).toEqual(['orders-1 up'])
  })

  it('suspects a neighbour whose connection dropped at once, and takes it for down after 2.5 s', async () => {
    const { changes, clock, connect, directory, disconnect } = await world()
    connect(PEER)
    directory.heard(PEER, said({ intervalMs: 60_000 }))
    disconnect(PEER)
    expect(changes.at(-1)).toBe('orders-1 suspect')
    await clock.advance(2_499)
    expect(changes.at(-1)).toBe('orders-1 suspect')
    await clock.advance(2)
    expect(changes.at(-1)).toBe('orders-1 down')
  })

  it('takes a neighbour that comes back in time for up again', async () => {
    const { changes, clock, connect, disconnect } = await world()
    connect(PEER)
    disconnect(PEER)
    await clock.advance(2_400)
    connect(PEER)
    await clock.advance(60_000)
    expect(changes).toEqual([`${PEER} up`, `${PEER} suspect`, `${PEER} up`])
  })

  it('takes a lost neighbour that is heard through others for up, by its announcements from then on', async () => {
    const { changes, clock, connect, directory, disconnect } = await world()
    connect(PEER)
    directory.heard(PEER, said())
    disconnect(PEER)
    await clock.advance(1_000)
    directory.heard(PEER, said())
    expect(changes.at(-1)).toBe('orders-1 up')
    await clock.advance(3_999)
    expect(changes.at(-1)).toBe('orders-1 up')
    await clock.advance(2)
    expect(changes.at(-1)).toBe('orders-1 suspect')
  })

  it('believes a goodbye at once, from a neighbour too, until it is met again', async () => {
    const { changes, clock, connect, directory, disconnect } = await world()
    connect(PEER)
    directory.heard(PEER, said())
    directory.heard(PEER, said({ bye: true }))
    expect(changes.at(-1)).toBe('orders-1 down')
    disconnect(PEER)
    await clock.advance(60_000)
    expect(changes).toHaveLength(2)
    directory.heard(PEER, said({ session: '018f000000000002' }))
    expect(changes.at(-1)).toBe('orders-1 up')
  })

  it('measures by the monotonic clock: a wall clock that jumps changes nothing', async () => {
    const { changes, clock, directory } = await world()
    directory.heard(PEER, said())
    clock.jump(86_400_000)
    await clock.advance(3_000)
    clock.jump(-2 * 86_400_000)
    await clock.advance(900)
    expect(changes).toEqual(['orders-1 up'])
  })

  it('does not blame others for having stood still itself', async () => {
    const values = new Values()
    const clock = new ManualClock()
    const { changes, directory } = await world({ clock, values })
    directory.heard(PEER, said())
    // As after a suspend: the timer fires long after it was due, and only then what was sent meanwhile is read.
    let ahead = 0
    const monotonic = clock.monotonic.bind(clock)
    clock.monotonic = () => monotonic() + ahead
    ahead = 20_000
    await clock.advance(4_001)
    expect(changes).toEqual(['orders-1 up'])
    directory.heard(PEER, said())
    await clock.advance(3_000)
    expect(changes).toEqual(['orders-1 up'])
    await clock.advance(4_000)
    expect(changes.at(-1)).toBe('orders-1 down')
  })
})

describe('peer directory: memory', () => {
  it('remembers peers that are off over a restart, with what they said', async () => {
    const values = new Values()
    const clock = new ManualClock()
    const before = await world({ clock, values })
    const lags = [{ name: 'audit', lag: 7 }]
    before.directory.heard(PEER, said({ custodian: true, subscriptions: lags }))
    await clock.advance(1_000)
    await before.directory.stop()
    const seen = clock.now() - 1_000
    await clock.advance(3_600_000)
    const after = await world({ clock, values })
    expect(after.directory.get(PEER)).toMatchObject({
      name: 'orders-1',
      state: 'down',
      custodian: true,
      lastSeen: seen,
      subscriptions: lags
    })
    expect(after.directory.resolve('orders-1')).toBe(PEER)
    expect(after.directory.presentCount).toBe(1)
    expect(after.changes).toEqual([])
  })

  it('writes what changes every 5 s at most, and nothing for announcements that bring nothing new', async () => {
    const { clock, directory, values } = await world()
    for (let second = 0; second < 120; second++) {
      directory.heard(PEER, said())
      await clock.advance(1_000)
    }
    expect(values.puts).toBe(1)
    directory.heard(PEER, said({ name: 'renamed' }))
    directory.heard(PEER, said({ name: 'renamed-again' }))
    await clock.advance(5_000)
    expect(values.puts).toBe(2)
  })

  it('writes again what the store refused', async () => {
    const { clock, directory, values } = await world()
    values.failure = new SkeinError('ERR_STORE_WRITE', 'no')
    directory.heard(PEER, said())
    await clock.advance(5_000)
    expect(values.rows.size).toBe(0)
    values.failure = undefined
    await clock.advance(5_000)
    expect(values.rows.size).toBe(1)
  })

  it('forgets who was off for 30 days, and rows that it cannot read', async () => {
    const values = new Values()
    const clock = new ManualClock()
    const before = await world({ clock, values })
    before.directory.heard(PEER, said())
    await before.directory.stop()
    values.rows.set(OTHER, Buffer.from('{"name":7}'))
    clock.jump(LIMITS.knownPeersMs + 1)
    const after = await world({ clock, values })
    expect(after.directory.knownCount).toBe(0)
    await clock.advance(5_000)
    expect(values.rows.size).toBe(0)
  })

  it('forgets the one that was off for longest when there are too many, never a neighbour', async () => {
    const { clock, connect, directory } = await world()
    connect(PEER)
    directory.heard(OTHER, said({ bye: true }))
    await clock.advance(10)
    for (let n = 0; directory.knownCount < LIMITS.knownPeers; n++) {
      directory.heard(`peer ${n}`, said({ name: `n${n}`, bye: true }))
    }
    expect(directory.get(OTHER)).toBeDefined()
    directory.heard('one more', said({ name: 'one-more' }))
    expect(directory.knownCount).toBe(LIMITS.knownPeers)
    expect(directory.get(OTHER)).toBeUndefined()
    expect(directory.get(PEER)).toBeDefined()
    expect(directory.get('one more')?.state).toBe('up')
  })
})

describe('peer directory: names', () => {
  it('takes a peer id for itself, known or not', async () => {
    const { directory } = await world()
    expect(directory.resolve(OTHER)).toBe(OTHER)
  })

  it('finds peers by name, on or off, and itself', async () => {
    const { directory } = await world()
    directory.heard(PEER, said({ bye: true }))
    expect(directory.resolve('orders-1')).toBe(PEER)
    expect(directory.resolve('here')).toBe(idOf(7))
    expect(directory.list().map(({ id }) => id)).toEqual([PEER])
  })

  it('says which names are like one that is unknown', async () => {
    const { directory } = await world()
    ;['orders-1', 'orders-2', 'billing', 'audit'].forEach((name, index) =>
      directory.heard(idOf(10 + index), said({ name }))
    )
    const suggested = (name: string): readonly string[] => {
      try {
        directory.resolve(name)
      } catch (error) {
        if (!isSkeinError(error, 'ERR_PEER_UNKNOWN')) throw error
        return error.details['candidates'] as readonly string[]
      }
      throw new Error(`'${name}' was found`)
    }
    expect(suggested('orders').slice(0, 2)).toEqual(['orders-1', 'orders-2'])
    expect(suggested('biling')[0]).toBe('billing')
    expect(suggested('zzz')).toHaveLength(5)
  })

  it('lists the ids where a name is not enough', async () => {
    const { directory } = await world()
    directory.heard(PEER, said())
    directory.heard(OTHER, said({ bye: true }))
    expect(() => directory.resolve('orders-1')).toThrow(
      expect.objectContaining({
        code: 'ERR_PEER_AMBIGUOUS',
        details: { peer: 'orders-1', candidates: [PEER, OTHER].toSorted() }
      })
    )
  })

  it('ranks names by what was most likely meant', () => {
    const names = ['Orders-1', 'odrers', 'my-orders', 'zebra', 'apple', 'mango']
    expect(similarNames('orders', names)).toEqual([
      'Orders-1',
      'odrers',
      'my-orders',
      'apple',
      'mango'
    ])
    expect(similarNames('orders', [])).toEqual([])
  })
})
