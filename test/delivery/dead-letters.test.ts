import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { DeadLetter, Message } from '../../src/delivery/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import { createLoneEngine, type LoneEngine } from '../fixtures/lone-engine.ts'
import { drain, lone, opened } from './durable-consumer.ts'

async function lettersOf(node: LoneEngine, channel = '$dlq/lone.s'): Promise<Message[]> {
  const all = node.engine.subscriptions.subscribe(`${channel}/#`, { from: 'earliest' })
  await all.ready
  const letters = await drain(all)
  await all.stop()
  return letters
}

describe('dead letters: after maxDeliveries', () => {
  it('a message that was given back each time goes there, with its origin, and nobody else waits', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxDeliveries: 3 })
    const told: DeadLetter[] = []
    subscription.events.on('dead-letter', (letter) => told.push(letter))
    const { id } = await node.publish('a/b', 'poison')
    await node.publish('a/b', 'fine')
    const attempts: number[] = []
    for (let round = 0; round < 3; round++) {
      for (const message of await drain(subscription)) {
        if (message.text() === 'fine') await message.ack()
        else {
          attempts.push(message.attempt)
          await message.nack()
        }
      }
    }
    expect(attempts).toEqual([1, 2, 3])
    expect(await drain(subscription)).toEqual([])
    const [letter, ...others] = await lettersOf(node)
    expect(others).toEqual([])
    expect(letter?.topic).toBe('$dlq/lone.s/a/b')
    expect(letter?.text()).toBe('poison')
    expect(letter?.headers).toEqual({
      'skein-reason': 'nack',
      'skein-attempts': '3',
      'skein-subscription': 's',
      'skein-topic': 'a/b',
      'skein-id': id,
      'skein-publisher': node.transport.self.id,
      'skein-time': new Date(node.clock.now()).toISOString()
    })
    expect(told).toMatchObject([{ subscription: 's', messageId: id, attempts: 3, reason: 'nack' }])
    expect(node.engine.subscriptions.stats.deadLetters).toBe(1)
    expect(subscription.status()).toMatchObject({ inFlight: 0, lag: 0 })
  })

  it('a give-back that does not count changes nothing, over a restart too, and the last one says why', async () => {
    const disk = openMemory()
    const first = await createLoneEngine({ disk })
    const before = await opened(first, { maxDeliveries: 2 })
    await first.publish('a', '1')
    for (let round = 0; round < 3; round++) {
      const [message] = await drain(before)
      expect(message?.attempt).toBe(1)
      await message?.nack({ counts: false })
    }
    await drain(before).then(([message]) => message?.nack({ counts: false }))
    await first.engine.stop()
    const second = await lone({ disk })
    const after = await opened(second, { maxDeliveries: 2 })
    const [one] = await drain(after)
    expect(one?.attempt).toBe(1)
    await one?.nack({ error: 'first' })
    const [two] = await drain(after)
    await two?.nack({ counts: false, delayMs: 5000 })
    await second.clock.advance(5100)
    const [parked] = await drain(after)
    expect(parked?.attempt).toBe(2)
    await parked?.nack({ counts: false })
    const [again] = await drain(after)
    expect(again?.attempt).toBe(2)
    await again?.nack({ error: 'last' })
    expect(await drain(after)).toEqual([])
    const [letter] = await lettersOf(second)
    expect(letter?.headers).toMatchObject({ 'skein-reason': 'nack', 'skein-error': 'last' })
  })

  it('a message that is never acknowledged in time goes there', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxDeliveries: 2, ackTimeoutMs: 1000 })
    await node.publish('a', '1')
    expect(await drain(subscription)).toHaveLength(1)
    await node.clock.advance(1500)
    const [second] = await drain(subscription)
    await node.clock.advance(1500)
    await second?.ack()
    expect(await drain(subscription)).toEqual([])
    expect((await lettersOf(node))[0]?.headers['skein-reason']).toBe('ack timeout')
  })

  it('a message whose handler throws is tried after longer and longer times, then goes there', async () => {
    const node = await lone()
    const subscription = await opened(node, { retry: { minMs: 1000, maxMs: 3000 } })
    const at: number[] = []
    subscription.onMessage(() => {
      at.push(node.clock.monotonic())
      throw new Error('no such account')
    })
    await node.publish('a', '1')
    for (let ms = 0; ms < 20_000; ms += 50) await node.clock.advance(50)
    const delays = at.slice(1).map((time, index) => time - (at[index] ?? 0))
    expect(delays).toHaveLength(4)
    for (const [index, most] of [1000, 2000, 3000, 3000].entries()) {
      expect(delays[index]).toBeGreaterThanOrEqual(most / 2)
      expect(delays[index]).toBeLessThanOrEqual(most + 50)
    }
    const [letter] = await lettersOf(node)
    expect(letter?.headers).toMatchObject({
      'skein-reason': 'handler error',
      'skein-error': 'no such account',
      'skein-attempts': '5'
    })
  })

  it('with 0 it is tried for ever', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxDeliveries: 0 })
    await node.publish('a', '1')
    for (let attempt = 1; attempt <= 20; attempt++) {
      const [message] = await drain(subscription)
      expect(message?.attempt).toBe(attempt)
      await message?.nack()
    }
    expect(await lettersOf(node)).toEqual([])
  })

  it('a consumer that ends with a message costs neither that message nor the rest of its window', async () => {
    const node = await lone()
    await node.engine.subscriptions.subscribe('a', { durable: 's', maxDeliveries: 3 }).stop()
    const first = await opened(node, { maxDeliveries: 3 }, 'a')
    for (let i = 0; i < 6; i++) await node.publish('a', `${i}`)
    await first.stop()
    // Each takes what it gets, handles one, and ends.
    const handled: string[] = []
    for (let life = 0; life < 6; life++) {
      const subscription = await opened(node, {}, 'a')
      const [message] = await drain(subscription)
      handled.push(message?.text() ?? '')
      await message?.ack()
      await subscription.stop()
    }
    expect(handled).toEqual(['0', '1', '2', '3', '4', '5'])
    expect(await lettersOf(node)).toEqual([])
  })

  it('a message that takes its node down each time goes there, its neighbours do not', async () => {
    const disk = openMemory()
    for (let life = 0; life < 3; life++) {
      const node = await createLoneEngine({ disk })
      const subscription = await opened(node, { maxDeliveries: 3 })
      if (life === 0) for (const text of ['poison', '1', '2']) await node.publish('a', text)
      const [poison] = await drain(subscription)
      expect([poison?.text(), poison?.attempt]).toEqual(['poison', life + 1])
      // The cursor's last word is not written: as if the process had died.
      await node.engine.store.stop()
      await node.engine.stop().catch(() => undefined)
    }
    const node = await lone({ disk })
    const subscription = await opened(node, {})
    const rest: string[] = []
    for (let round = 0; round < 3; round++) {
      for (const message of await drain(subscription)) {
        rest.push(message.text())
        await message.ack()
      }
    }
    expect(rest).toEqual(['1', '2'])
    const [letter, ...others] = await lettersOf(node)
    expect(others).toEqual([])
    expect([letter?.text(), letter?.headers['skein-reason']]).toEqual(['poison', 'consumer ended'])
  })

  it('takes any message: the longest topic, full headers, names with wildcards', async () => {
    const node = await lone()
    const subscription = await opened(node, { durable: 'x+#%', maxDeliveries: 1 })
    const levels = LIMITS.topicLevels
    const topic = `a/${'b'.repeat(LIMITS.topicBytes - 2 - 2 * (levels - 2))}${'/c'.repeat(levels - 2)}`
    const headers = { big: 'x'.repeat(LIMITS.headersBytes - 8), small: '' }
    await node.publish(topic, '1', { headers })
    await (await drain(subscription))[0]?.nack()
    const [letter] = await lettersOf(node, '$dlq/lone.x%2B%23%25')
    expect(letter?.topic).toBe(`$dlq/lone.x%2B%23%25/${topic}`)
    expect(letter?.headers).toMatchObject({ small: '', 'skein-headers-cut': '1' })
  })

  it('is written again later where the disk takes nothing now, and kept back until then', async () => {
    const node = await lone()
    const subscription = await opened(node, { maxDeliveries: 1 })
    await node.publish('a', '1')
    const [message] = await drain(subscription)
    const { publisher } = node.engine
    const publish = publisher.publish.bind(publisher)
    publisher.publish = () => Promise.reject(new Error('no room'))
    await expect(message?.nack()).rejects.toThrow('no room')
    expect(subscription.status().inFlight).toBe(1)
    expect(subscription.inFlight(message?.id ?? '')).toBe(undefined)
    publisher.publish = publish
    await node.clock.advance(1500)
    expect(await lettersOf(node)).toHaveLength(1)
    expect(subscription.status().inFlight).toBe(0)
  })

  it('law: every message is acknowledged, a dead letter, or still there; never two of them', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('publish' as const) },
      { weight: 4, arbitrary: fc.constant('take' as const) },
      { weight: 3, arbitrary: fc.record({ ack: fc.nat(5) }) },
      {
        weight: 5,
        arbitrary: fc.record({ nack: fc.nat(5), delayMs: fc.constantFrom(0, 500, 2000) })
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom('wait' as const, 'reopen' as const, 'crash' as const)
      }
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const disk = openMemory()
        let node = await createLoneEngine({ disk })
        const options = { maxDeliveries: 2, ackTimeoutMs: 3000, maxInFlight: 4 }
        let subscription = await opened(node, options)
        let taken: Message[] = []
        const acknowledged = new Set<string>()
        let published = 0
        for (const next of steps) {
          if (next === 'publish') await node.publish('a', `${published++}`)
          else if (next === 'take') taken.push(...(await drain(subscription)))
          else if (next === 'wait') await node.clock.advance(1000)
          else if (next === 'reopen') {
            await subscription.stop()
            subscription = await opened(node, options)
            taken = []
          } else if (next === 'crash') {
            await node.engine.store.stop()
            await node.engine.stop().catch(() => undefined)
            node = await createLoneEngine({ disk })
            subscription = await opened(node, options)
            taken = []
          } else {
            const [message] = taken.splice('ack' in next ? next.ack : next.nack, 1)
            if (message === undefined || subscription.inFlight(message.id) !== message) continue
            if ('nack' in next) await message.nack({ delayMs: next.delayMs })
            else {
              await message.ack()
              acknowledged.add(message.text())
            }
          }
        }
        // What is left is acknowledged.
        const left = new Set<string>()
        for (let quiet = 0; quiet < 10;) {
          await node.clock.advance(1000)
          const messages = await drain(subscription)
          quiet = messages.length === 0 ? quiet + 1 : 0
          for (const message of messages) {
            left.add(message.text())
            await message.ack()
          }
        }
        const dead = (await lettersOf(node)).map((message) => message.text())
        await node.engine.stop()
        const all = [...acknowledged, ...dead, ...left].map(Number).toSorted((a, b) => a - b)
        expect(all).toEqual(Array.from({ length: published }, (_, number) => number))
      }),
      { numRuns: 25 }
    )
  }, 60_000)
})

describe('dead letters: between nodes', () => {
  it('are read on other nodes like any topic; those of an inbox stay where they are', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [anna, ben] = await mesh.nodes(2)
    if (anna === undefined || ben === undefined) throw new Error('no nodes')
    const seen = await anna.collect('$dlq/node-2.s/#', 'dead', 'earliest')
    for (const [filter, durable] of [
      ['a/#', 's'],
      ['@me/#', 'mail']
    ] as const) {
      const subscription = ben.engine.subscriptions.subscribe(filter, { durable, maxDeliveries: 2 })
      subscription.onMessage(() => {
        throw new Error('never')
      })
      await subscription.ready
    }
    const buried = new Promise<void>((resolve) => {
      const names = new Set<string>()
      ben.engine.subscriptions.events.on('dead-letter', ({ subscription }) => {
        if (names.add(subscription).size === 2) resolve()
      })
    })
    await anna.engine.inbox.send(ben.id, { topic: 'x', payload: Buffer.from('secret') })
    const { id } = await anna.publish('a/b', 'poison')
    expect(await seen.atLeast(1)).toEqual(['poison'])
    expect(seen.messages[0]).toMatchObject({
      topic: '$dlq/node-2.s/a/b',
      publisher: ben.id,
      headers: { 'skein-id': id, 'skein-publisher': anna.id }
    })
    await buried
    expect(ben.engine.store.logs('$dlq/@node-2.mail')).toHaveLength(1)
    const [entry] = await ben.engine.store.readJournal('$dlq/@node-2.mail', 0)
    expect(Buffer.from(entry?.record?.body ?? []).toString()).toContain('secret')
    await mesh.settled()
    expect(anna.engine.store.channels().some((channel) => channel.includes('mail'))).toBe(false)
  })
})
