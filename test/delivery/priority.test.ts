import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { Message, Subscription } from '../../src/delivery/contract.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { openMemory } from '../../src/store/directory.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import { type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { drain, lone, opened, texts } from './durable-consumer.ts'

/** What comes next, at most so many, each acknowledged before the next is asked for. */
async function some(subscription: Subscription, count: number): Promise<Message[]> {
  const messages: Message[] = []
  for (let quiet = 0; quiet < 3 && messages.length < count;) {
    const [message] = await subscription.pull(1, 0)
    quiet = message === undefined ? quiet + 1 : 0
    if (message === undefined) await settled(2)
    else messages.push(message)
    await message?.ack()
  }
  return messages
}

/** `<priority><letter>` */
async function publishAll(node: LoneEngine, names: readonly string[], topic = 'a'): Promise<void> {
  for (const name of names) await node.publish(topic, name, { priority: Number(name[0]) })
}

async function ephemeral(
  { engine }: LoneEngine,
  from: 'now' | { cursor: string } = 'now'
): Promise<Subscription> {
  const subscription = engine.subscriptions.subscribe('a/#', { from })
  await subscription.ready
  return subscription
}

const NAMES = ['0a', '5a', '0b', '9a', '5b', '9b', '0c']
const BY_PRIORITY = ['9a', '9b', '5a', '5b', '0a', '0b', '0c']

describe('priority', () => {
  it('goes first within what is ready, in the order of publishing within one priority', async () => {
    const node = await lone()
    const durable = await opened(node, { maxInFlight: 1 })
    const wide = await opened(node, { durable: 'wide' })
    const short = await ephemeral(node)
    await publishAll(node, NAMES)
    expect(texts(await some(durable, 10))).toEqual(BY_PRIORITY)
    expect(texts(await drain(wide))).toEqual(BY_PRIORITY)
    expect(texts(await drain(short))).toEqual(BY_PRIORITY)
  })

  it('comes in while a consumer works', async () => {
    const node = await lone()
    const subscription = await opened(node)
    await publishAll(node, ['0a', '0b', '0c', '3a'])
    expect(texts(await some(subscription, 2))).toEqual(['3a', '0a'])
    await publishAll(node, ['4a', '4b'])
    expect(texts(await some(subscription, 3))).toEqual(['4a', '4b', '0b'])
    expect(subscription.status()).toMatchObject({ inFlight: 0, lag: 1 })
    expect(texts(await some(subscription, 3))).toEqual(['0c'])
    expect(subscription.status().lag).toBe(0)
  })

  it('overtakes a message a bounded number of times', async () => {
    const node = await lone()
    const durable = await opened(node)
    const short = await ephemeral(node)
    await node.publish('a', 'low')
    const high = Array.from({ length: 600 }, (_, at) => `9 ${at}`)
    await publishAll(node, high)
    const order = [...high]
    order.splice(LIMITS.readyMessages - 1, 0, 'low')
    expect(texts(await drain(durable))).toEqual(order.slice(0, LIMITS.maxInFlight))
    expect(texts(await drain(short))).toEqual(order)
  })

  it('holds for what lies on disk, too, within the bytes that are read ahead', async () => {
    const node = await lone()
    const text = 'x'.repeat(100 * 1024)
    await node.publish('a', text)
    for (let at = 0; at < 20; at++) await node.publish('a', `${at} ${text}`, { priority: 1 })
    const subscription = await opened(node, { from: 'earliest' })
    const places = (await some(subscription, 30)).map((message) => message.priority)
    expect(places.length).toBe(21)
    const low = places.indexOf(0)
    expect(low).toBeGreaterThan(5)
    expect(low).toBeLessThan(12)
  })

  it('leaves what waits to the next life, as if it had not been read', async () => {
    const disk = openMemory()
    const node = await lone({ disk })
    const first = await opened(node)
    await publishAll(node, NAMES)
    expect(texts(await some(first, 3))).toEqual(BY_PRIORITY.slice(0, 3))
    await node.engine.stop()
    const second = await lone({ disk, clock: node.clock })
    const messages = await drain(await opened(second))
    expect(texts(messages)).toEqual(BY_PRIORITY.slice(3))
    expect(messages.every(({ attempt }) => attempt === 1)).toBe(true)
  })

  it('does not keep from expiring what waits', async () => {
    const node = await lone()
    const durable = await opened(node)
    const short = await ephemeral(node)
    await node.publish('a', '0a', { ttlMs: 1000 })
    await publishAll(node, ['1a', '0b'])
    expect(texts(await some(durable, 1))).toEqual(['1a'])
    expect(texts(await short.pull(1, 0))).toEqual(['1a'])
    await node.clock.advance(2000)
    expect(texts(await some(durable, 9))).toEqual(['0b'])
    expect(texts(await drain(short))).toEqual(['0b'])
    await settled()
    expect(durable.status()).toMatchObject({ inFlight: 0, lag: 0 })
    expect(node.engine.subscriptions.stats.expired).toBe(2)
  })

  it('never makes a cursor pass over what waits; whoever resumes gets the order of the journal', async () => {
    const node = await lone()
    const short = await ephemeral(node)
    await publishAll(node, NAMES)
    const messages = await drain(short)
    for (const [at, { cursor }] of messages.entries()) {
      const resumed = texts(await drain(await ephemeral(node, { cursor })))
      expect(resumed).toEqual(NAMES.slice(NAMES.length - resumed.length))
      expect(new Set([...BY_PRIORITY.slice(0, at + 1), ...resumed]).size).toBe(NAMES.length)
    }
    expect(await drain(await ephemeral(node, { cursor: messages.at(-1)?.cursor ?? '' }))).toEqual(
      []
    )
  })

  it('law: whatever is acknowledged, stopped or killed, all come, no acknowledged one again, each priority in order', async () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ publish: fc.constantFrom(0, 0, 0, 1, 9) }) },
      { weight: 4, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 3 }) }) },
      { weight: 4, arbitrary: fc.record({ ack: fc.nat(5) }) },
      { weight: 1, arbitrary: fc.constantFrom('reopen' as const, 'crash' as const) }
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const disk = openMemory()
        const options = { maxInFlight: 3, maxDeliveries: 0 }
        let node = await createLoneEngine({ disk })
        let subscription = await opened(node, options)
        let taken: Message[] = []
        const done = new Set<string>()
        const first = new Map<number, number[]>()
        let published = 0
        const take = async (count: number): Promise<Message[]> => {
          await settled()
          const messages = await subscription.pull(count, 0)
          for (const message of messages) {
            expect(done.has(message.text())).toBe(false)
            const seen = first.get(message.priority) ?? []
            if (message.attempt === 1) seen.push(Number(message.text()))
            first.set(message.priority, seen)
          }
          return messages
        }
        const acknowledge = async (message: Message | undefined): Promise<void> => {
          if (message === undefined) return
          await message.ack()
          done.add(message.text())
        }
        for (const next of steps) {
          if (next === 'reopen' || next === 'crash') {
            if (next === 'crash') await node.engine.store.stop()
            await node.engine.stop().catch(() => undefined)
            node = await createLoneEngine({ disk, clock: node.clock })
            subscription = await opened(node, options)
            taken = []
          } else if ('publish' in next) {
            await node.publish('a', `${published++}`, { priority: next.publish })
          } else if ('take' in next) taken.push(...(await take(next.take)))
          else await acknowledge(taken.splice(next.ack, 1)[0])
        }
        for (const message of taken) await acknowledge(message)
        for (let quiet = 0; quiet < 5;) {
          const messages = await take(5)
          quiet = messages.length === 0 ? quiet + 1 : 0
          for (const message of messages) await acknowledge(message)
        }
        await node.engine.stop()
        expect(done.size).toBe(published)
        for (const seen of first.values()) expect(seen).toEqual(seen.toSorted((a, b) => a - b))
      }),
      { numRuns: 30 }
    )
  }, 60_000)

  it('holds on another node, for what it gets late', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [anna, ben] = await mesh.nodes(2)
    if (anna === undefined || ben === undefined) throw new Error('no nodes')
    const before = ben.engine.subscriptions.subscribe('a', { durable: 's' })
    await before.ready
    await ben.stop()
    for (const name of NAMES) {
      const message = outgoing('a', name, { priority: Number(name[0]) }, 1000)
      await anna.engine.publisher.publish(message, 'stored')
    }
    await ben.start()
    await mesh.settled()
    const { store } = ben.engine
    await expect
      .poll(() => store.journal('a').next - store.journal('a').first, { timeout: 20_000 })
      .toBe(NAMES.length)
    expect(texts(await drain(ben.engine.subscriptions.subscribe('a', { durable: 's' })))).toEqual(
      BY_PRIORITY
    )
  })
})
