import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { openMemory } from '../../src/store/directory.ts'
import { FaultyDisk } from '../store/faulty-level.ts'
import { type DecodedMessage, decodeMessages } from '../../src/wire/body.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { openRecord } from '../../src/wire/sealed-record.ts'
import { ForeignLog, type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'
import { settled } from '../fixtures/manual-clock.ts'

async function lone(init: Parameters<typeof createLoneEngine>[0] = {}): Promise<LoneEngine> {
  const lone = await createLoneEngine(init)
  onTestFinished(() => lone.engine.stop())
  return lone
}

const messagesOf = (record: SealedRecord): DecodedMessage[] =>
  decodeMessages(record.body, record.header.count)

/** What was sent in the test's own channels; a node has something to say of itself, too. */
const sentOf = (node: LoneEngine) =>
  node.transport.sent.filter(({ channel }) => !channel.startsWith('$'))

const records = (node: LoneEngine) => sentOf(node).map(({ frame }) => openRecord(frame.bytes))

describe('publisher: batching', () => {
  it('packs what is published together, and what is published while a record is written', async () => {
    const node = await lone()
    const published = Array.from({ length: 10 }, (_, i) => node.publish('a', `${i}`))
    await Promise.resolve()
    const meanwhile = Array.from({ length: 10 }, (_, i) => node.publish('a', `${10 + i}`))
    const receipts = await Promise.all([...published, ...meanwhile])
    expect(receipts.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1)
    )
    expect(records(node).map(({ header }) => header.count)).toEqual([10, 10])
  })

  it('sends a lone message at once', async () => {
    const node = await lone()
    await node.publish('a', '1')
    await node.publish('a', '2')
    expect(records(node).map(({ header }) => [header.first, header.count])).toEqual([
      [1, 1],
      [2, 1]
    ])
  })

  it('closes a batch before it would exceed its size, and chains the records', async () => {
    const node = await lone()
    const text = 'x'.repeat(20_000)
    await Promise.all(Array.from({ length: 10 }, () => node.publish('a', text)))
    const sent = records(node)
    expect(sent.map(({ header }) => header.count)).toEqual([3, 3, 3, 1])
    for (const { header } of sent) expect(header.bodyLength).toBeLessThanOrEqual(LIMITS.batchBytes)
    sent.slice(1).forEach(({ header }, index) => {
      expect(
        Buffer.compare(header.previous ?? new Uint8Array(), sent[index]?.digest ?? new Uint8Array())
      ).toBe(0)
    })
  })

  it('gives a message larger than a batch a record of its own', async () => {
    const node = await lone()
    const big = 'x'.repeat(150 * 1024)
    await Promise.all([
      node.publish('a', 'small'),
      node.publish('a', big),
      node.publish('a', 'small')
    ])
    expect(
      records(node).map((record) => messagesOf(record).map(({ payload }) => payload.length))
    ).toEqual([[5], [big.length], [5]])
  })

  it('puts a batch in one record, apart from what is published beside it', async () => {
    const node = await lone()
    const beside = node.publish('a/x', 'beside')
    const batch = ['1', '2', '3'].map((text) => outgoing('a/y', text, {}, 1000))
    const receipts = await node.engine.publisher.publishBatch(batch, 'stored')
    await beside
    expect(receipts.map(({ sequence }) => sequence)).toEqual([2, 3, 4])
    expect(records(node).map(({ header }) => header.count)).toEqual([1, 3])
  })
})

describe('publisher: sessions', () => {
  it('opens a greater session at every start and names where the one before ended', async () => {
    const disk = openMemory()
    const first = await createLoneEngine({ disk })
    await first.publish('a', '1')
    await first.publish('a', '2')
    const before = first.engine.publisher.session
    const digest = records(first)[1]?.digest ?? new Uint8Array()
    await first.engine.stop()
    // The clock went back: the session must be greater all the same.
    first.clock.jump(-3_600_000)
    const second = await lone({ disk, clock: first.clock })
    expect(second.engine.publisher.session > before).toBe(true)
    await second.publish('a', '3')
    const [record] = records(second)
    expect(record?.header.before).toMatchObject({ session: before, sequence: 2 })
    expect(Buffer.compare(record?.header.before?.digest ?? new Uint8Array(), digest)).toBe(0)
  })

  it('goes above a session of its own that peers know', async () => {
    const node = await lone()
    await node.publish('a', '1')
    const greater = `${'f'.repeat(12)}0000`.replace(/^f{2}/, '02')
    node.engine.publisher.supersede(greater)
    expect(node.engine.publisher.session > greater).toBe(true)
    const { id, sequence } = await node.publish('a', '2')
    expect(sequence).toBe(1)
    expect(id.split('/')[1]).toBe(node.engine.publisher.session)
  })
})

describe('publisher: flow', () => {
  it('waits for room at the neighbours, and keeps the order', async () => {
    const node = await lone()
    let open = (): void => {}
    node.transport.roomPromise = new Promise((resolve) => {
      open = resolve
    })
    const published = ['1', '2', '3'].map((text) => node.publish('a', text))
    await settled()
    expect(sentOf(node)).toEqual([])
    node.transport.roomPromise = undefined
    open()
    await Promise.all(published)
    expect(
      records(node).flatMap((record) =>
        messagesOf(record).map(({ payload }) => Buffer.from(payload).toString())
      )
    ).toEqual(['1', '2', '3'])
  })

  it('asks for room before each record, also in the middle of a burst', async () => {
    const node = await lone()
    await node.publish('a', 'first')
    let open = (): void => {}
    const broadcast = node.transport.broadcast.bind(node.transport)
    let room = 3
    // A neighbour with room for three more records: whatever is sent beyond that would be lost.
    node.transport.broadcast = (channel, frame) => {
      expect(room).toBeGreaterThan(0)
      if (--room === 0) {
        node.transport.roomPromise = new Promise((resolve) => {
          open = () => {
            room = 3
            node.transport.roomPromise = undefined
            resolve()
          }
        })
      }
      broadcast(channel, frame)
    }
    const text = 'x'.repeat(1024)
    const published = Promise.all(Array.from({ length: 600 }, () => node.publish('a', text)))
    let done = false
    void published.then(() => {
      done = true
    })
    while (!done) {
      await settled(2)
      if (room === 0) open()
    }
    expect((await published).at(-1)?.sequence).toBe(601)
  })

  it('refuses more than it may buffer with ERR_BUSY, and loses nothing it accepted', async () => {
    const node = await lone()
    let open = (): void => {}
    node.transport.roomPromise = new Promise((resolve) => {
      open = resolve
    })
    const text = 'x'.repeat(180 * 1024)
    const count = Math.ceil(LIMITS.publishQueueBytes / text.length) + 5
    const published = Array.from({ length: count }, () => node.publish('a', text))
    const outcomes = Promise.allSettled(published)
    await settled()
    node.transport.roomPromise = undefined
    open()
    const rejected = (await outcomes).filter((outcome) => outcome.status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    for (const { reason } of rejected) expect(reason).toMatchObject({ code: 'ERR_BUSY' })
    const sent = records(node).reduce((sum, { header }) => sum + header.count, 0)
    expect(sent).toBe(count - rejected.length)
  })

  it('refuses after it was stopped', async () => {
    const node = await lone()
    await node.engine.publisher.stop()
    await expect(node.publish('a', '1')).rejects.toMatchObject({ code: 'ERR_STOPPED' })
  })
})

describe('publisher: a disk without space', () => {
  const noSpace = Object.assign(new Error('no space left'), { code: 'ENOSPC' })

  async function onFaultyDisk(): Promise<{ node: LoneEngine; disk: FaultyDisk }> {
    const disk = new FaultyDisk()
    return { node: await lone({ disk: await disk.components() }), disk }
  }

  /** Time passes until the store has recovered. */
  async function recovered(node: LoneEngine): Promise<void> {
    for (let i = 0; i < 40 && node.engine.store.condition !== 'open'; i++)
      await node.clock.advance(500)
    expect(node.engine.store.condition).toBe('open')
  }

  it('rejects what it could not store, sends nothing more, and goes on in a new session', async () => {
    const { node, disk } = await onFaultyDisk()
    const first = await node.publish('a', 'stored')
    disk.failure = noSpace
    await expect(node.publish('a', 'lost')).rejects.toMatchObject({
      code: 'ERR_STORE_WRITE',
      details: { mayBeDelivered: true }
    })
    const sent = sentOf(node).length
    await expect(node.publish('a', 'refused')).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    expect(sentOf(node)).toHaveLength(sent)
    disk.failure = undefined
    await recovered(node)
    const next = await node.publish('a', 'again')
    expect(next.sequence).toBe(1)
    expect(next.id.split('/')[1]).not.toBe(first.id.split('/')[1])
    const after = records(node).at(-1)
    expect(after?.header.before).toMatchObject({ session: first.id.split('/')[1], sequence: 1 })
  })

  it('recovers too where it was a record of another node that could not be stored', async () => {
    const { node, disk } = await onFaultyDisk()
    await node.publish('a', 'stored')
    disk.failure = noSpace
    await node.transport.receive('b', new ForeignLog('b').record(['foreign']).bytes)
    await settled()
    await expect(node.publish('a', 'refused')).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    disk.failure = undefined
    await recovered(node)
    await node.publish('a', 'again')
  })
})
