import { describe, expect, it, onTestFinished } from 'vitest'
import { openMemory } from '../../src/store/directory.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import type { LoneEngine, LoneEngineInit } from '../fixtures/lone-engine.ts'
import { drain, lone, opened, texts } from './durable-consumer.ts'

describe('dead letters: redriven', () => {
  /** A node with so many dead letters of `s`. */
  async function withDead(count: number, init: LoneEngineInit = {}): Promise<LoneEngine> {
    const node = await lone(init)
    const subscription = await opened(node, { maxDeliveries: 1, maxInFlight: 1000 })
    for (let i = 0; i < count; i++) {
      await node.publish('a/b', `${i}`, { key: `k${i}`, headers: { own: 'x' } })
    }
    for (const message of await drain(subscription)) await message.nack()
    await drain(subscription)
    await subscription.stop()
    return node
  }

  it('goes to the subscription that failed and to no other, as it was, and is gone from the list', async () => {
    const node = await withDead(2)
    const { subscriptions } = node.engine
    const other = await opened(node, { durable: 'other' })
    const subscription = await opened(node)
    const [first, second] = await subscriptions.deadLetters.list()
    expect(first).toMatchObject({ subscription: 's', topic: 'a/b', reason: 'nack', attempts: 1 })
    expect(await subscriptions.redrive('s', [second?.id ?? ''])).toBe(1)
    const [message, ...more] = await drain(subscription)
    expect(more).toEqual([])
    expect(message).toMatchObject({
      id: second?.messageId,
      topic: 'a/b',
      key: 'k1',
      headers: { own: 'x' },
      attempt: 1
    })
    expect(subscription.inFlight(message?.id ?? '')).toBe(message)
    expect(subscription.status().inFlight).toBe(1)
    await message?.ack()
    expect(await subscriptions.deadLetters.list()).toEqual([first])
    expect(await subscriptions.redrive('s')).toBe(1)
    expect(texts(await drain(subscription))).toEqual(['0'])
    expect(await drain(other)).toEqual([])
    expect(await subscriptions.redrive('s')).toBe(0)
  })

  it('waits for its consumer across a restart, each message until it is acknowledged', async () => {
    const disk = openMemory()
    const node = await withDead(3, { disk })
    expect(await node.engine.subscriptions.redrive('s')).toBe(3)
    const before = await opened(node)
    const [acknowledged] = await drain(before)
    await acknowledged?.ack()
    await node.engine.stop()
    const next = await lone({ disk })
    const subscription = await opened(next)
    const left: unknown[] = []
    for (let round = 0; round < 2; round++) {
      for (const message of await drain(subscription)) {
        left.push([message.text(), message.attempt])
        await message.ack()
      }
    }
    expect(left).toEqual([
      ['1', 2],
      ['2', 2]
    ])
    await subscription.stop()
    expect(await drain(await opened(next))).toEqual([])
  })

  it('that fails again is a dead letter again', async () => {
    const node = await withDead(1)
    const { subscriptions } = node.engine
    const subscription = await opened(node, { maxDeliveries: 2, ackTimeoutMs: 1000 })
    const [old] = await subscriptions.deadLetters.list()
    await subscriptions.redrive('s')
    await (await drain(subscription))[0]?.nack({ delayMs: 5000 })
    expect(await drain(subscription)).toEqual([])
    await node.clock.advance(6000)
    expect(await drain(subscription)).toHaveLength(1)
    await node.clock.advance(2000)
    expect(await drain(subscription)).toEqual([])
    const letters = await subscriptions.deadLetters.list({ subscription: 's' })
    expect(letters).toMatchObject([{ reason: 'ack timeout', attempts: 2 }])
    expect(letters[0]?.messageId).toBe(old?.messageId)
    expect(letters[0]?.id).not.toBe(old?.id)
  })

  it('that its consumer ends with each time is a dead letter again, the others are not', async () => {
    const node = await withDead(4)
    const { subscriptions } = node.engine
    await subscriptions.redrive('s')
    const handled: string[] = []
    for (let life = 0; life < 8; life++) {
      const subscription = await opened(node, { maxDeliveries: 3 })
      for (const message of await drain(subscription)) {
        if (message.text() === '0') break
        handled.push(message.text())
        await message.ack()
      }
      await subscription.stop()
    }
    expect(handled).toEqual(['1', '2', '3'])
    expect(await subscriptions.deadLetters.list()).toMatchObject([
      { reason: 'consumer ended', attempts: 3 }
    ])
  })

  it('says what it does not find', async () => {
    const node = await withDead(1)
    const { subscriptions } = node.engine
    await expect(subscriptions.redrive('none')).rejects.toMatchObject({
      code: 'ERR_SUBSCRIPTION_UNKNOWN'
    })
    await expect(subscriptions.redrive('s', ['x'])).rejects.toMatchObject({
      code: 'ERR_MESSAGE_UNKNOWN',
      details: { unknown: ['x'], redriven: 0 }
    })
    expect(await subscriptions.deadLetters.list({ subscription: 'none' })).toEqual([])
    expect(await subscriptions.deadLetters.list({ limit: 1 })).toHaveLength(1)
  })

  it('is forgotten with its subscription', async () => {
    const node = await withDead(1)
    const { subscriptions } = node.engine
    await subscriptions.redrive('s')
    await subscriptions.delete('s')
    expect(await drain(await opened(node))).toEqual([])
  })
})

describe('dead letters: redriven between nodes', () => {
  it('are redriven at the node where they failed, also when their publisher is off', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [anna, ben] = await mesh.nodes(2)
    if (anna === undefined || ben === undefined) throw new Error('no nodes')
    const ok = await anna.collect('a/#', 's')
    let isBroken = true
    const handled: string[] = []
    const failing = ben.engine.subscriptions.subscribe('a/#', { durable: 's', maxDeliveries: 1 })
    const redriven = new Promise<void>((resolve) => {
      failing.onMessage((message) => {
        if (isBroken) throw new Error('not yet')
        handled.push(message.text())
        if (handled.length === 3) resolve()
      })
    })
    await failing.ready
    const buried = new Promise<void>((resolve) => {
      let count = 0
      failing.events.on('dead-letter', () => {
        if (++count === 3) resolve()
      })
    })
    await anna.publishMany('a', '', 3)
    expect(await ok.atLeast(3)).toEqual(['0', '1', '2'])
    await buried
    await anna.stop()
    isBroken = false
    expect(await ben.engine.subscriptions.redrive('s')).toBe(3)
    await redriven
    expect(handled).toEqual(['0', '1', '2'])
    expect(ok.texts).toHaveLength(3)
    expect(await ben.engine.subscriptions.deadLetters.list()).toEqual([])
  })
})
