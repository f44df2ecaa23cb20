import { describe, expect, it, onTestFinished } from 'vitest'
import { openMemory } from '../../src/store/directory.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { drain, lone, opened, texts } from './durable-consumer.ts'

describe('postponed messages', () => {
  it('are handed over when it is time, and hold up nothing until then', async () => {
    const node = await lone()
    const subscription = await opened(node)
    const now = node.clock.now()
    await node.publish('a', 'late', { deliverAt: new Date(now + 60_000), key: 'k', ttlMs: 100_000 })
    await node.publish('a', 'soon', { deliverAt: new Date(now + 20_000) })
    await node.publish('a', 'now')
    await node.publish('a', 'past', { deliverAt: new Date(now - 1) })
    const first = await drain(subscription)
    expect(texts(first)).toEqual(['now', 'past'])
    for (const message of first) await message.ack()
    await settled()
    expect(subscription.status()).toMatchObject({ inFlight: 0, lag: 2 })
    await node.clock.advance(19_000)
    expect(await drain(subscription)).toEqual([])
    await node.clock.advance(1000)
    const soon = await drain(subscription)
    expect(texts(soon)).toEqual(['soon'])
    await soon[0]?.ack()
    await node.clock.advance(40_000)
    const [late] = await drain(subscription)
    expect(late).toMatchObject({ topic: 'a', key: 'k', attempt: 1, sequence: 1 })
    expect(late?.expiresAt?.getTime()).toBe(now + 100_000)
    await late?.ack()
    expect(subscription.inFlight(late?.id ?? '')).toBe(undefined)
  })

  it('wake a consumer that waits', async () => {
    const node = await lone()
    const subscription = await opened(node)
    const seen: number[] = []
    const begin = node.clock.monotonic()
    subscription.onMessage(() => void seen.push(node.clock.monotonic() - begin))
    await node.publish('a', '1', { deliverAt: new Date(node.clock.now() + 7777) })
    await node.clock.advance(10_000)
    expect(seen).toEqual([7777])
  })

  it('survive restarts, and the end of what their channel keeps', async () => {
    const disk = openMemory()
    const node = await lone({ disk })
    const before = await opened(node)
    await node.publish('a', 'at', { deliverAt: new Date(node.clock.now() + 60_000) })
    await node.publish('a', 'given back')
    await (await drain(before))[0]?.nack({ delayMs: 60_000 })
    await settled()
    await node.engine.stop()
    const next = await lone({ disk, clock: node.clock })
    const { store } = next.engine
    await store.trim('a', {
      maxAgeMs: Infinity,
      maxBytes: 1,
      maxMessages: 0,
      keepLast: undefined,
      untilReceived: false,
      onFull: 'trim'
    })
    const subscription = await opened(next)
    expect(await drain(subscription)).toEqual([])
    await next.clock.advance(61_000)
    const messages = await drain(subscription)
    expect(messages.map((message) => [message.text(), message.attempt])).toEqual([
      ['at', 1],
      ['given back', 2]
    ])
  })

  it('expire while they wait', async () => {
    const node = await lone()
    const subscription = await opened(node)
    const deliverAt = new Date(node.clock.now() + 60_000)
    await node.publish('a', '1', { deliverAt, ttlMs: 30_000 })
    await drain(subscription)
    await node.clock.advance(61_000)
    expect(await drain(subscription)).toEqual([])
    expect(node.engine.subscriptions.stats.expired).toBe(1)
    expect(subscription.status()).toMatchObject({ inFlight: 0, lag: 0 })
  })

  it('given back too often are dead letters', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxDeliveries: 3 })
    await node.publish('a', '1')
    for (let attempt = 1; attempt <= 3; attempt++) {
      const [message] = await drain(subscription)
      expect(message?.attempt).toBe(attempt)
      await message?.nack({ delayMs: 5000 })
      await node.clock.advance(6000)
    }
    expect(await node.engine.subscriptions.deadLetters.list()).toMatchObject([
      { reason: 'nack', attempts: 3 }
    ])
  })

  it('are bounded: what finds no room is not read until there is some', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxInFlight: 1000 })
    const at = node.clock.now() + 60_000
    const text = 'x'.repeat(150 * 1024)
    const count = 500
    for (let i = 0; i < count; i++) {
      await node.publish('a', `${i} ${text}`, { deliverAt: new Date(at + i) })
    }
    await drain(subscription)
    await settled(50)
    expect(subscription.status().lag).toBe(count)
    const seen = new Set<string>()
    await node.clock.advance(70_000)
    for (let quiet = 0; quiet < 10;) {
      const messages = await drain(subscription)
      quiet = messages.length === 0 ? quiet + 1 : 0
      for (const message of messages) {
        seen.add(message.text().split(' ')[0] ?? '')
        await message.ack()
      }
    }
    expect(seen.size).toBe(count)
  })

  it('cross the mesh: each node waits by itself', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [anna, ben] = await mesh.nodes(2)
    if (anna === undefined || ben === undefined) throw new Error('no nodes')
    const seen = await ben.collect('a', 's')
    const deliverAt = new Date(Date.now() + 500)
    const expiring = { deliverAt, ttlMs: 100 }
    const { publisher } = anna.engine
    await publisher.publish(outgoing('a', 'expired', expiring, 1000), 'stored')
    await publisher.publish(outgoing('a', 'later', { deliverAt }, 1000), 'stored')
    await anna.publish('a', 'now')
    expect(await seen.atLeast(1)).toEqual(['now'])
    expect(await seen.atLeast(2)).toEqual(['now', 'later'])
    expect(Date.now()).toBeGreaterThanOrEqual(deliverAt.getTime())
  })
})
