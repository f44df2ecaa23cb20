import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Transport } from '../../src/mesh/contract.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/mesh/memory-network.ts'
import {
  type EphemeralEvents,
  EphemeralReceiver,
  EphemeralSender
} from '../../src/replication/ephemeral.ts'
import { Membership, type MembershipEvents } from '../../src/replication/membership.ts'
import { PeerDirectory, type PeerDirectoryEvents } from '../../src/replication/peer-directory.ts'
import { announceInterval, Presence, type PresenceContent } from '../../src/replication/presence.ts'
import { openMemory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { HybridClock } from '../../src/wire/hybrid-clock.ts'
import {
  type Announcement,
  decodeAnnouncement,
  encodeAnnouncement
} from '../../src/wire/presence.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { openRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'

const emitter = <Map extends object>(): Emitter<Map> =>
  new Emitter<Map>((error) => {
    throw error
  })

const NO_CONTENT: PresenceContent = {
  channels: [],
  services: [],
  groups: [],
  subscriptions: [],
  addresses: []
}

interface Parts {
  readonly presence: Presence
  readonly directory: PeerDirectory
  readonly sender: EphemeralSender
  readonly transport: Transport
  /** What the node announces; to be changed by a test. */
  content: PresenceContent | SkeinError
  /** Changes of state, as `name state`. */
  readonly changes: string[]
  start(): Promise<void>
  stop(): Promise<void>
}

interface PartsInit {
  readonly key: number
  readonly clock: ManualClock
  readonly transport: Transport
}

function createParts({ clock, key, transport }: PartsInit): Parts {
  const random = seededRandom(key)
  const signer = createSigner(new Uint8Array(32).fill(key))
  const hybridClock = new HybridClock({ clock })
  const store = createStore({ ...openMemory(), clock, random, logger: silentLogger })
  const shared = { clock, random, transport, store, signer, hybridClock, logger: silentLogger }
  const receiver = new EphemeralReceiver(shared, emitter<EphemeralEvents>())
  const sender = new EphemeralSender(shared)
  const membership = new Membership(shared, emitter<MembershipEvents>())
  const directoryEvents = emitter<PeerDirectoryEvents>()
  const init = { name: `node-${key}`, custodian: true }
  const directory = new PeerDirectory(shared, init, directoryEvents)
  const presence = new Presence(
    { ...shared, directory, membership, receiver, sender },
    {
      ...init,
      session: sender.session,
      content: () => {
        if (parts.content instanceof SkeinError) throw parts.content
        return parts.content
      }
    }
  )
  transport.onFrame(({ bytes, complete }) =>
    complete ? receiver.take(openRecord(bytes)) : 'accept'
  )
  const parts: Parts = {
    presence,
    directory,
    sender,
    transport,
    content: NO_CONTENT,
    changes: [],
    async start() {
      await store.start()
      await directory.start()
      await transport.start()
      presence.start()
    },
    async stop() {
      await presence.stop()
      await directory.stop()
      await transport.stop()
      membership.stop()
      await store.stop()
    }
  }
  for (const state of ['up', 'suspect', 'down'] as const) {
    directoryEvents.on(state, (peer) => parts.changes.push(`${peer.name ?? 'nobody'} ${state}`))
  }
  return parts
}

/** A node with one neighbour that listens, or none. */
async function lone(
  neighbours: readonly string[] = ['neighbour']
): Promise<{ parts: Parts; clock: ManualClock; transport: LoneTransport }> {
  const clock = new ManualClock()
  const transport = new LoneTransport(createSigner(new Uint8Array(32).fill(1)).publicKey)
  transport.members = () => neighbours
  const parts = createParts({ key: 1, clock, transport })
  onTestFinished(() => parts.stop())
  await parts.start()
  await clock.advance(0)
  return { parts, clock, transport }
}

const announcements = (transport: LoneTransport): Announcement[] =>
  transport.sent.map(({ frame }) => {
    const body = openRecord(frame.bytes)
    const start = Buffer.from(body.body).indexOf('{')
    const end = Buffer.from(body.body).lastIndexOf('}') + 1
    const read = decodeAnnouncement(body.body.subarray(start, end))
    if (read === undefined) throw new Error('an announcement cannot be read')
    return read
  })

interface Mesh {
  readonly network: MemoryNetwork
  readonly clock: ManualClock
  readonly nodes: readonly [Parts, Parts, Parts]
}

async function mesh(): Promise<Mesh> {
  const clock = new ManualClock()
  const network = createMemoryNetwork({ clock })
  const node = (key: number): Parts => {
    const transport = network.transport({ privateKey: new Uint8Array(32).fill(key) })
    const parts = createParts({ key, clock, transport })
    onTestFinished(() => parts.stop())
    return parts
  }
  const nodes = [node(1), node(2), node(3)] as const
  for (const parts of nodes) await parts.start()
  await settled()
  await clock.advance(1_500)
  return { network, clock, nodes: [...nodes] }
}

const namesOf = ({ directory }: Parts): string[] =>
  directory
    .list()
    .filter(({ state }) => state === 'up')
    .map(({ name }) => name ?? 'nobody')
    .toSorted()

describe('presence: announcing', () => {
  it('announces at start, then every interval, give or take a tenth', async () => {
    const { clock, transport } = await lone()
    expect(announcements(transport)).toHaveLength(1)
    expect(announcements(transport)[0]).toMatchObject({ name: 'node-1', intervalMs: 2000 })
    await clock.advance(1_799)
    expect(transport.sent).toHaveLength(1)
    await clock.advance(402)
    expect(transport.sent).toHaveLength(2)
    await clock.advance(40_000)
    expect(transport.sent.length).toBeGreaterThanOrEqual(2 + 18)
    expect(transport.sent.length).toBeLessThanOrEqual(2 + 23)
  })

  it('announces a change that matters within a second, and only that', async () => {
    const { clock, parts, transport } = await lone()
    parts.presence.changed()
    await clock.advance(1_000)
    expect(transport.sent).toHaveLength(1)
    parts.content = { ...NO_CONTENT, subscriptions: [{ name: 'a', lag: 5 }] }
    parts.presence.changed()
    await clock.advance(500)
    expect(transport.sent).toHaveLength(1)
    parts.content = { ...NO_CONTENT, channels: ['orders'] }
    for (let n = 0; n < 10; n++) parts.presence.changed()
    await clock.advance(1)
    expect(announcements(transport).map(({ channels }) => channels)).toEqual([[], ['orders']])
  })

  it('gives a newcomer what it said last, and troubles nobody else', async () => {
    const { clock, transport } = await lone()
    for (let n = 0; n < 40; n++) {
      transport.events.emit('channel:up', { peer: `p${n}`, channel: '$presence' })
      transport.events.emit('channel:up', { peer: `q${n}`, channel: 'orders' })
      expect(transport.told.at(-1)).toEqual({ ...transport.sent.at(-1), peer: `p${n}` })
      await clock.advance(100)
    }
    expect(transport.told).toHaveLength(40)
    // In turn only, every 2 s.
    expect(transport.sent.length).toBeLessThanOrEqual(3)
  })

  it('does not keep its first neighbour waiting for an announcement that nobody heard', async () => {
    const { clock, transport } = await lone([])
    expect(transport.sent).toHaveLength(1)
    await clock.advance(100)
    transport.events.emit('channel:up', { peer: 'first', channel: '$presence' })
    await clock.advance(0)
    expect(transport.sent).toHaveLength(2)
  })

  it('says goodbye, with how far its subscriptions are, and nothing afterwards', async () => {
    const { clock, parts, transport } = await lone()
    parts.content = { ...NO_CONTENT, subscriptions: [{ name: 'a', lag: 5 }] }
    await parts.presence.stop()
    expect(announcements(transport).at(-1)).toMatchObject({
      bye: true,
      subscriptions: [{ name: 'a', lag: 5 }]
    })
    const { length } = transport.sent
    parts.presence.changed()
    await clock.advance(60_000)
    expect(transport.sent).toHaveLength(length)
  })

  it('still says that it lives when its content cannot be told', async () => {
    const { clock, parts, transport } = await lone()
    parts.content = new SkeinError('ERR_STORE_WRITE', 'no')
    await clock.advance(10_000)
    expect(transport.sent.length).toBeGreaterThanOrEqual(4)
  })

  it('bounds what the whole mesh says, and what is promised, however many nodes there are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (present) => {
        const interval = announceInterval(present)
        expect(interval).toBeGreaterThanOrEqual(LIMITS.presenceIntervalMs)
        expect(interval).toBeLessThanOrEqual(LIMITS.presenceIntervalMaxMs)
        if (interval === LIMITS.presenceIntervalMaxMs) return
        expect((present * 1000) / interval).toBeLessThanOrEqual(LIMITS.presencePerSecond)
        expect(announceInterval(present + 1)).toBeGreaterThanOrEqual(interval)
      })
    )
    expect(announceInterval(100)).toBe(2000)
    expect(announceInterval(1000)).toBe(20_000)
    expect(announceInterval(3, 100)).toBe(100)
  })

  it('announces less often in a large mesh, and says so', async () => {
    const { clock, parts, transport } = await lone()
    for (let n = 0; n < 500; n++) {
      parts.directory.heard(`peer ${n}`, {
        ...NO_CONTENT,
        name: `n${n}`,
        session: '018f000000000001',
        intervalMs: 600_000,
        custodian: false
      })
    }
    await clock.advance(2_200)
    expect(announcements(transport).at(-1)?.intervalMs).toBe(10_020)
    const { length } = transport.sent
    await clock.advance(9_000)
    expect(transport.sent).toHaveLength(length)
  })
})

describe('presence: hearing', () => {
  it('lets three nodes know each other by name', async () => {
    const { nodes } = await mesh()
    expect(nodes.map(namesOf)).toEqual([
      ['node-2', 'node-3'],
      ['node-1', 'node-3'],
      ['node-1', 'node-2']
    ])
    const [first, second] = nodes
    expect(first.directory.resolve('node-2')).toBe(second.transport.self.id)
  })

  it('sees a goodbye at once', async () => {
    const { nodes } = await mesh()
    await nodes[2].stop()
    await settled()
    expect(nodes[0].changes.at(-1)).toBe('node-3 down')
    expect(nodes[1].changes.at(-1)).toBe('node-3 down')
    expect(nodes[0].changes).not.toContain('node-3 suspect')
  })

  it('suspects a node that dies and takes it for down in 2.5 s', async () => {
    const { clock, nodes } = await mesh()
    await nodes[2].transport.stop()
    await settled()
    expect(nodes[0].changes.at(-1)).toBe('node-3 suspect')
    await clock.advance(2_400)
    expect(nodes[0].changes.at(-1)).toBe('node-3 suspect')
    await clock.advance(200)
    expect(nodes[0].changes.at(-1)).toBe('node-3 down')
    expect(nodes[1].changes.at(-1)).toBe('node-3 down')
  })

  it('keeps a node up that is cut off here and heard through another', async () => {
    const { clock, network, nodes } = await mesh()
    const [first, , third] = nodes
    network.cut(first.transport.self.id, third.transport.self.id)
    await clock.advance(30_000)
    expect(first.changes.at(-1)).toBe('node-3 up')
    expect(first.changes).not.toContain('node-3 down')
  })

  it('hears at once of who was cut off, through its one neighbour, and it of the others in their turn', async () => {
    const { clock, network, nodes } = await mesh()
    const [first, second, third] = nodes
    network.cut(first.transport.self.id, third.transport.self.id)
    network.cut(second.transport.self.id, third.transport.self.id)
    await clock.advance(30_000)
    expect(first.changes.at(-1)).toBe('node-3 down')
    network.heal(second.transport.self.id, third.transport.self.id)
    await settled()
    // It announces itself anew: while it was alone nobody heard it.
    await clock.advance(0)
    await settled()
    expect(first.changes.at(-1)).toBe('node-3 up')
    expect(namesOf(third)).toEqual(['node-2'])
    await clock.advance(2_200)
    expect(namesOf(third)).toEqual(['node-1', 'node-2'])
  })

  it('ignores an announcement under the name of another peer, and what cannot be read', async () => {
    const { clock, nodes } = await mesh()
    const [first, second, third] = nodes
    const bye = encodeAnnouncement({
      ...NO_CONTENT,
      name: 'node-3',
      session: '018f000000000001',
      intervalMs: 2000,
      custodian: true,
      bye: true
    })
    const send = (suffix: string, payload: Uint8Array): SealedRecord =>
      second.sender.send('$presence', [{ suffix, payload }])
    send(`/${third.transport.self.id}`, bye)
    send('', bye)
    send(`/${second.transport.self.id}`, Buffer.from('{}'))
    await clock.advance(100)
    expect(first.presence.stats).toMatchObject({ forged: 2, malformed: 1 })
    expect(namesOf(first)).toEqual(['node-2', 'node-3'])
  })
})
