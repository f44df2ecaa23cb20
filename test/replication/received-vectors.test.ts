import { describe, expect, it, onTestFinished } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import { RECEIPTS_CHANNEL, ReceivedVectors } from '../../src/replication/received-vectors.ts'
import { parseTopic } from '../../src/wire/topic.ts'
import { encodeVector } from '../../src/wire/vector.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { PublishingMesh, type PublishingNode } from './publishing-mesh.ts'

interface Keeper {
  readonly node: PublishingNode
  readonly vectors: ReceivedVectors
  readonly held: string[]
}

interface KeeperInit {
  readonly filter?: string
  readonly subscribers?: () => { peerId: string; name: string }[]
  readonly ownOffset?: number
  readonly untilReceived?: boolean
}

async function keeper(mesh: PublishingMesh, init: KeeperInit = {}): Promise<Keeper> {
  const node = await mesh.node({ channels: ['a', RECEIPTS_CHANNEL] })
  if (init.filter !== undefined) {
    const registration = { name: 's', filter: init.filter, createdAt: 0, options: {} }
    await node.store.register(registration, new Map())
  }
  const held: string[] = []
  const vectors = new ReceivedVectors(
    {
      store: node.store,
      publisher: node.publisher,
      membership: {
        hold: (channel) => {
          held.push(channel)
          return () => undefined
        }
      },
      clock: mesh.clock,
      logger: silentLogger
    },
    {
      self: node.id,
      retention: (channel) => ({
        untilReceived: (init.untilReceived ?? true) && channel !== RECEIPTS_CHANNEL
      }),
      subscribersOf: () => init.subscribers?.() ?? [],
      ownOffset: () => Promise.resolve(init.ownOffset)
    }
  )
  await vectors.start()
  onTestFinished(() => vectors.stop())
  return { node, vectors, held }
}

function mesh(): PublishingMesh {
  const mesh = new PublishingMesh()
  onTestFinished(() => mesh.stop())
  return mesh
}

const logOf = (node: PublishingNode) => ({
  channel: 'a',
  publisher: node.id,
  session: node.publisher.session
})

describe('received vectors', () => {
  it('tell a publisher how far the nodes of durable subscribers hold its log', async () => {
    const all = mesh()
    const ids: string[] = []
    const subscribers = () => ids.map((peerId) => ({ peerId, name: 's' }))
    const publisher = await keeper(all, { subscribers })
    const one = await keeper(all, { filter: 'a/#' })
    const other = await keeper(all, { filter: '+/x' })
    ids.push(one.node.id, other.node.id, publisher.node.id)
    await publisher.node.publish('a', '1')
    await publisher.node.publish('a', '2')
    const log = logOf(publisher.node)
    expect((await publisher.vectors.received('a'))?.sequence(log)).toBe(0)
    await all.clock.advance(6_000)
    const received = await publisher.vectors.received('a')
    expect(received?.sequence(log)).toBe(2)
    expect(received?.offset).toBe(Number.MAX_SAFE_INTEGER)
    expect(received?.sequence({ ...log, session: '0000000000000001' })).toBe(0)
    all.network.cut(publisher.node.id, other.node.id)
    all.network.cut(one.node.id, other.node.id)
    await publisher.node.publish('a', '3')
    await all.clock.advance(6_000)
    expect((await publisher.vectors.received('a'))?.sequence(log)).toBe(2)
    ids.splice(1, 1)
    expect((await publisher.vectors.received('a'))?.sequence(log)).toBe(3)
  })

  it('are told only where something changed, and again in the next life', async () => {
    const all = mesh()
    const one = await keeper(all, { filter: 'a' })
    await one.node.publish('a', '1')
    await all.clock.advance(30_000)
    expect(one.vectors.stats.told).toBe(1)
    await one.node.publish('a', '2')
    await one.node.publish('a', '3')
    await all.clock.advance(30_000)
    expect(one.vectors.stats.told).toBe(2)
  })

  it('are not told where nothing is kept until received, or no durable subscription matches', async () => {
    const all = mesh()
    const publisher = await all.node()
    const indifferent = await keeper(all, { filter: 'a', untilReceived: false })
    const elsewhere = await keeper(all, { filter: 'b' })
    await publisher.publish('a', '1')
    await all.clock.advance(12_000)
    expect(indifferent.vectors.stats.told).toBe(0)
    expect(indifferent.held).toEqual([])
    expect(elsewhere.vectors.stats.told).toBe(0)
    expect(elsewhere.held).toEqual([RECEIPTS_CHANNEL])
  })

  it('say nothing where no durable subscriber is known, and the own cursor where there is none else', async () => {
    const all = mesh()
    const nobody = await keeper(all)
    expect(await nobody.vectors.received('a')).toBeUndefined()
    const own = await keeper(all, { ownOffset: 7 })
    const received = await own.vectors.received('a')
    expect(received?.offset).toBe(7)
    expect(received?.sequence(logOf(own.node))).toBe(Number.MAX_SAFE_INTEGER)
  })

  it('count only where the peer itself has said so, and are read again after a restart', async () => {
    const all = mesh()
    const ids: string[] = []
    const publisher = await keeper(all, {
      subscribers: () => ids.map((peerId) => ({ peerId, name: 's' }))
    })
    const liar = await all.node()
    const one = await keeper(all, { filter: 'a' })
    ids.push(one.node.id)
    await publisher.node.publish('a', '1')
    await all.clock.advance(6_000)
    const log = logOf(publisher.node)
    const tell = async (topic: string, payload: Uint8Array): Promise<void> => {
      const parsed = parseTopic(topic)
      await liar.publisher.publish({ topic: parsed, suffix: parsed.suffix, payload }, 'stored')
      await settled()
    }
    const lie = encodeVector([{ ...log, held: { floor: 1, head: 99, islands: [] } }])
    await tell(`${RECEIPTS_CHANNEL}/${one.node.id}/a`, lie)
    await tell(`${RECEIPTS_CHANNEL}/${liar.id}/a`, Buffer.from('nonsense'))
    await tell(RECEIPTS_CHANNEL, lie)
    expect(publisher.vectors.stats.refused).toBe(3)
    expect((await publisher.vectors.received('a'))?.sequence(log)).toBe(1)
    const again = new ReceivedVectors(
      {
        store: publisher.node.store,
        publisher: publisher.node.publisher,
        membership: { hold: () => () => undefined },
        clock: all.clock,
        logger: silentLogger
      },
      {
        self: publisher.node.id,
        retention: () => ({ untilReceived: true }),
        subscribersOf: () => [{ peerId: one.node.id, name: 's' }],
        ownOffset: () => Promise.resolve(undefined)
      }
    )
    await again.start()
    onTestFinished(() => again.stop())
    expect((await again.received('a'))?.sequence(log)).toBe(1)
  })

  it('fit a topic, whatever the channel is called', async () => {
    const all = mesh()
    const ids: string[] = []
    const publisher = await keeper(all, {
      subscribers: () => ids.map((peerId) => ({ peerId, name: 's' }))
    })
    const one = await keeper(all, { filter: '#' })
    ids.push(one.node.id)
    const channels = ['', 'ü'.repeat(90), 'a b', '%', '~', 'x'.repeat(190)]
    for (const channel of channels) {
      publisher.node.transport.join(channel)
      one.node.transport.join(channel)
    }
    await settled()
    for (const channel of channels) await publisher.node.publish(`${channel}/t`, 'x')
    await all.clock.advance(6_000)
    for (const channel of channels) {
      const received = await publisher.vectors.received(channel)
      const log = { ...logOf(publisher.node), channel }
      expect([channel, received?.sequence(log)]).toEqual([channel, 1])
    }
  })
})
