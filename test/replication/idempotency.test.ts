import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { decodeMessages } from '../../src/wire/body.ts'
import { FaultyDisk } from '../store/faulty-level.ts'

import { PublishingMesh, type PublishingNode } from './publishing-mesh.ts'

function mesh(): PublishingMesh {
  const mesh = new PublishingMesh()
  onTestFinished(() => mesh.stop())
  return mesh
}

/** Texts and ids in the node's own store, in journal order. */
async function held(node: PublishingNode, channel = 'a'): Promise<string[]> {
  const entries = await node.store.readJournal(channel, 0)
  return entries.flatMap(({ record }) =>
    record === undefined
      ? []
      : decodeMessages(record.body, record.header.count).map(
          ({ id, payload }) => `${Buffer.from(payload).toString()}/${id ?? ''}`
        )
  )
}

const idRows = async (node: PublishingNode): Promise<number> =>
  (await node.store.values('ids').entries()).length

describe('idempotency: one life', () => {
  it('makes a second publish with the same id the first one', async () => {
    const node = await mesh().node()
    const first = await node.publish('a/x', 'text', { id: 'one' })
    const again = await node.publish('a/x', 'text', { id: 'one' })
    expect(again).toMatchObject({ id: first.id, sequence: first.sequence })
    expect(again.time).toEqual(first.time)
    expect(await held(node)).toEqual(['text/one'])
    expect(node.publisher.ids.duplicates).toBe(1)
  })

  it('lets a concurrent duplicate wait for the first one, and be it', async () => {
    const node = await mesh().node()
    const receipts = await Promise.all(
      Array.from({ length: 20 }, () => node.publish('a', 'text', { id: 'one' }))
    )
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1)
    expect(await held(node)).toEqual(['text/one'])
  })

  it('keeps the order of messages with and without ids', async () => {
    const node = await mesh().node()
    await Promise.all(
      Array.from({ length: 9 }, (_, n) =>
        node.publish('a', `${n}`, n % 3 === 0 ? { id: `${n}` } : {})
      )
    )
    expect((await held(node)).map((text) => text[0])).toEqual('012345678'.split(''))
  })

  it('refuses another payload or topic under the id, and takes it in another channel', async () => {
    const node = await mesh().node()
    const first = node.publish('a/x', 'text', { id: 'one' })
    const conflict = { code: 'ERR_ID_CONFLICT', details: { id: 'one' } }
    await expect(node.publish('a/x', 'other', { id: 'one' })).rejects.toMatchObject(conflict)
    await first
    await expect(node.publish('a/x', 'other', { id: 'one' })).rejects.toMatchObject(conflict)
    await expect(node.publish('a/y', 'text', { id: 'one' })).rejects.toMatchObject(conflict)
    await node.publish('b/x', 'other', { id: 'one' })
    expect(await held(node)).toEqual(['text/one'])
    expect(await held(node, 'b')).toEqual(['other/one'])
  })

  it('publishes of a batch what is new, with receipts for all, and nothing where an id is in conflict', async () => {
    const node = await mesh().node()
    const first = await node.publish('a', '1', { id: 'one' })
    const receipts = await node.publishBatch([
      ['a', '0'],
      ['a', '1', 'one'],
      ['a', '2', 'two'],
      ['a', '2', 'two']
    ])
    expect(receipts.map(({ sequence }) => sequence)).toEqual([2, first.sequence, 3, 3])
    expect(await held(node)).toEqual(['1/one', '0/', '2/two'])
    const all = await node.publishBatch([
      ['a', '1', 'one'],
      ['a', '2', 'two']
    ])
    expect(all.map(({ sequence }) => sequence)).toEqual([1, 3])
    const conflicts = [
      ['a', '5', 'five'],
      ['a', '6', 'two']
    ] as const
    await expect(node.publishBatch(conflicts)).rejects.toMatchObject({ code: 'ERR_ID_CONFLICT' })
    const twins = [
      ['a', '5', 'five'],
      ['a', '6', 'five']
    ] as const
    await expect(node.publishBatch(twins)).rejects.toMatchObject({ code: 'ERR_ID_CONFLICT' })
    expect(await held(node)).toEqual(['1/one', '0/', '2/two'])
  })

  it('writes one row for the ids of a record, and none for messages without', async () => {
    const node = await mesh().node()
    await Promise.all(
      Array.from({ length: 10 }, (_, n) => node.publish('a', `${n}`, { id: `${n}` }))
    )
    expect(await idRows(node)).toBe(1)
    await Promise.all(Array.from({ length: 10 }, (_, n) => node.publish('a', `${n}`)))
    expect(await idRows(node)).toBe(1)
  })

  it('forgets an id after its time, on disk too, whatever the wall clock does', async () => {
    const all = mesh()
    const node = await all.node()
    const first = await node.publish('a', 'text', { id: 'one' })
    all.clock.jump(100 * LIMITS.idempotencyMs)
    expect((await node.publish('a', 'text', { id: 'one' })).id).toBe(first.id)
    all.clock.jump(-200 * LIMITS.idempotencyMs)
    await all.clock.advance(LIMITS.idempotencyMs - 1000)
    expect((await node.publish('a', 'text', { id: 'one' })).id).toBe(first.id)
    await all.clock.advance(1000)
    expect((await node.publish('a', 'other', { id: 'one' })).id).not.toBe(first.id)
    await all.clock.advance(LIMITS.idempotencyMs + 20_000)
    expect(node.publisher.ids.size).toBe(0)
    expect(await idRows(node)).toBe(0)
  })

  it('remembers a bounded number, the newest', async () => {
    const all = mesh()
    const node = await all.node()
    for (let n = 0; n < LIMITS.idempotencyIds; n += 5000) {
      await node.publishBatch(
        Array.from({ length: 5000 }, (_, i) => ['a', '', `${n + i}`] as const)
      )
    }
    const newest = `${LIMITS.idempotencyIds}`
    await node.publish('a', 'over', { id: newest })
    await node.publish('a', 'again', { id: '0' })
    await expect(node.publish('a', 'other', { id: newest })).rejects.toMatchObject({
      code: 'ERR_ID_CONFLICT'
    })
    expect(node.publisher.ids.size).toBeLessThanOrEqual(LIMITS.idempotencyIds + 1)
  })
})

describe('idempotency: failures', () => {
  const noSpace = Object.assign(new Error('no space left'), { code: 'ENOSPC' })

  it('fails a duplicate like the first, and frees the id where nothing can have been delivered', async () => {
    const all = mesh()
    const node = await all.node({
      retention: () => ({ onFull: 'reject', maxBytes: 1e9, maxMessages: 1 })
    })
    await node.publish('a', 'fills it')
    const outcomes = await Promise.allSettled([
      node.publish('a', 'text', { id: 'one' }),
      node.publish('a', 'text', { id: 'one' })
    ])
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ reason: { code: 'ERR_CHANNEL_FULL' } })
    }
    await expect(node.publish('a', 'other', { id: 'one' })).rejects.toMatchObject({
      code: 'ERR_CHANNEL_FULL'
    })
    expect(node.publisher.ids.size).toBe(0)
  })

  it('publishes again what may have been delivered, under its id, and nothing else under it', async () => {
    const all = mesh()
    const disk = new FaultyDisk()
    const node = await all.node({ disk: await disk.components() })
    await node.publish('a', 'begin')
    disk.failure = noSpace
    const failures = await Promise.allSettled([
      node.publish('a', 'text', { id: 'one' }),
      node.publish('a', 'text', { id: 'one' })
    ])
    for (const outcome of failures) {
      expect(outcome).toMatchObject({
        reason: { code: 'ERR_STORE_WRITE', details: { mayBeDelivered: true } }
      })
    }
    disk.failure = undefined
    for (let i = 0; i < 40 && node.store.condition !== 'open'; i++) await all.clock.advance(500)
    await expect(node.publish('a', 'other', { id: 'one' })).rejects.toMatchObject({
      code: 'ERR_ID_CONFLICT'
    })
    const retried = await node.publish('a', 'text', { id: 'one' })
    expect((await node.publish('a', 'text', { id: 'one' })).id).toBe(retried.id)
    expect(await held(node)).toEqual(['begin/', 'text/one'])
  })
})

describe('idempotency: restarts', () => {
  it('knows ids after a kill', async () => {
    const all = mesh()
    const disk = new FaultyDisk()
    const node = await all.node({ disk: await disk.components(), seed: 9 })
    const first = await node.publish('a', 'text', { id: 'one' })
    const batch = await node.publishBatch([
      ['b', '1', 'x'],
      ['b', '2', 'y']
    ])
    // Killed: another life opens what was synced, while this one never stopped.
    await disk.losePower()
    const other = mesh()
    other.clock.jump(all.clock.now() - other.clock.now() + 60_000)
    const next = await other.node({ disk: await disk.components(), seed: 9 })
    const again = await next.publish('a', 'text', { id: 'one' })
    expect(again).toMatchObject({ id: first.id, sequence: first.sequence })
    expect(again.time).toEqual(first.time)
    expect(JSON.parse(JSON.stringify(again))).toEqual(JSON.parse(JSON.stringify(first)))
    expect((await next.publish('b', '2', { id: 'y' })).id).toBe(batch[1]?.id)
    await expect(next.publish('b', '2', { id: 'x' })).rejects.toMatchObject({
      code: 'ERR_ID_CONFLICT'
    })
    expect(await held(next)).toEqual(['text/one'])
  })

  it.each([
    ['forgets what is too old by the wall clock', LIMITS.idempotencyMs + 1, false],
    ['keeps what the wall clock puts into the future', -10 * LIMITS.idempotencyMs, true]
  ])('%s, and deletes it in time', async (_, jump, known) => {
    const all = mesh()
    const node = await all.node({ seed: 9 })
    const first = await node.publish('a', 'text', { id: 'one' })
    await node.stop()
    all.clock.jump(jump)
    const next = await all.node({ disk: node.disk, seed: 9 })
    const again = await next.publish('a', 'text', { id: 'one' })
    expect(again.id === first.id).toBe(known)
    await all.clock.advance(LIMITS.idempotencyMs + 20_000)
    expect(await idRows(next)).toBe(0)
  })

  it('passes over a damaged row, and deletes it', async () => {
    const all = mesh()
    const node = await all.node({ seed: 9 })
    const first = await node.publish('a', 'text', { id: 'one' })
    await node.store.values('ids').put('0', Buffer.from('damaged'))
    await node.stop()
    const next = await all.node({ disk: node.disk, seed: 9 })
    expect((await next.publish('a', 'text', { id: 'one' })).id).toBe(first.id)
    await all.clock.advance(20_000)
    expect(await idRows(next)).toBe(1)
  })
})
