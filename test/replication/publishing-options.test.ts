import { describe, expect, it, onTestFinished } from 'vitest'
import { outgoing } from '../../src/node/outgoing.ts'
import { parseTopic } from '../../src/wire/topic.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { PublishingMesh, type PublishingNodeInit, type PublishingNode } from './publishing-mesh.ts'

async function publishing(init: PublishingNodeInit = {}): Promise<PublishingNode> {
  const mesh = new PublishingMesh()
  onTestFinished(() => mesh.stop())
  return mesh.node(init)
}

describe('publishing options: a full channel', () => {
  it('refuses at its number of messages, where it is set to refuse', async () => {
    const node = await publishing({
      retention: (channel) => ({
        onFull: channel === 'a' ? 'reject' : 'trim',
        maxBytes: 1e9,
        maxMessages: 2
      })
    })
    for (const channel of ['a', 'b']) {
      await node.publish(channel, '1')
      await node.publish(channel, '2')
    }
    await expect(node.publish('a/x', '3')).rejects.toMatchObject({
      code: 'ERR_CHANNEL_FULL',
      details: { channel: 'a', messages: 2 }
    })
    await expect(node.publishBatch([['a', '3']])).rejects.toMatchObject({
      code: 'ERR_CHANNEL_FULL'
    })
    await node.publish('b', '3')
    expect(node.store.logs('a')[0]?.head).toBe(2)
  })

  it('refuses at its bytes, and still knows an id', async () => {
    const node = await publishing({
      retention: () => ({ onFull: 'reject', maxBytes: 1000, maxMessages: Infinity })
    })
    const first = await node.publish('a', 'x'.repeat(1000), { id: 'one' })
    await expect(node.publish('a', 'y')).rejects.toMatchObject({ code: 'ERR_CHANNEL_FULL' })
    expect((await node.publish('a', 'x'.repeat(1000), { id: 'one' })).id).toBe(first.id)
  })
})

describe('publishing options: scope', () => {
  it.each(['@12D3KooWExample', '$dlq/outbox'])(
    'keeps %s away from the neighbours',
    async (channel) => {
      const node = await publishing()
      const told: string[] = []
      const { transport } = node
      transport.broadcast = (name) => told.push(`broadcast ${name}`)
      transport.advertise = (name) => told.push(`advertise ${name}`)
      transport.room = () => new Promise(() => {})
      const message = {
        topic: parseTopic(`${channel}/x`),
        suffix: '/x',
        payload: Buffer.from('text')
      }
      await node.publisher.publish(message, 'stored')
      await node.publisher.publish(message, 'sent')
      await settled()
      expect(told).toEqual([])
      expect(node.store.logs(channel)[0]?.head).toBe(2)
    }
  )
})

describe('publishing options: ids', () => {
  it('travel with the message, and have a size', () => {
    expect(outgoing('a', 'x', { id: 'one' }, 100).id).toBe('one')
    for (const id of ['', 'x'.repeat(1025), 'ä'.repeat(513)]) {
      expect(() => outgoing('a', 'x', { id }, 100)).toThrowError(
        expect.objectContaining({ code: 'ERR_OPTIONS' })
      )
    }
    expect(outgoing('a', 'x', { id: 'ä'.repeat(512) }, 100).id).toHaveLength(512)
  })
})

describe('publishing options: control records', () => {
  it('stand in the log behind what was published before, and are no messages', async () => {
    const node = await publishing()
    const before = node.publish('a', '1')
    const control = node.publisher.publishControl('a', Buffer.from('statement'))
    await Promise.all([before, control, node.publish('a', '2')])
    expect((await control).sequence).toBe(2)
    const [log] = node.store.logs('a')
    if (log === undefined) throw new Error('no log')
    const entries = await node.store.readLog(log, 1)
    expect(entries.map(({ head }) => head.header.flags)).toEqual([0, 1, 0])
    expect(Buffer.from(entries[1]?.record?.body ?? '').toString()).toBe('statement')
  })
})
