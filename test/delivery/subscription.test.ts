import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { Gap, Message, SubscribeOptions, Subscription } from '../../src/delivery/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { ForeignLog, type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'

async function lone(init: Parameters<typeof createLoneEngine>[0] = {}): Promise<LoneEngine> {
  const lone = await createLoneEngine(init)
  onTestFinished(() => lone.engine.stop())
  return lone
}

async function opened(
  { engine }: LoneEngine,
  filter: string,
  options: SubscribeOptions = {}
): Promise<Subscription> {
  const subscription = engine.subscriptions.subscribe(filter, options)
  await subscription.ready
  return subscription
}

/** What can be had now, without waiting. */
async function drain(subscription: Subscription, max = 10_000): Promise<Message[]> {
  const messages: Message[] = []
  for (let quiet = 0; quiet < 6 && messages.length < max;) {
    const more = await subscription.pull(max - messages.length, 0)
    messages.push(...more)
    quiet = more.length === 0 ? quiet + 1 : 0
    await settled()
  }
  return messages
}

const texts = (messages: readonly Message[]): string[] => messages.map((message) => message.text())

describe('subscription: where it begins', () => {
  it("at 'now' sees only what is published after it is ready", async () => {
    const node = await lone()
    await node.publish('a/b', 'before')
    const subscription = await opened(node, 'a/#')
    await node.publish('a/b', 'after')
    expect(texts(await drain(subscription))).toEqual(['after'])
  })

  it("at 'earliest' sees everything held, in order", async () => {
    const node = await lone()
    for (let i = 0; i < 30; i++) await node.publish('a/b', `${i}`)
    const subscription = await opened(node, 'a/#', { from: 'earliest' })
    expect(texts(await drain(subscription))).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`))
  })

  it("at 'last' sees the newest message of each topic, then what follows", async () => {
    const node = await lone()
    for (const [topic, text] of [
      ['a/x', 'x1'],
      ['a/y', 'y1'],
      ['a/x', 'x2'],
      ['a/z/q', 'z1'],
      ['a/y', 'y2']
    ] as const) {
      await node.publish(topic, text)
    }
    const subscription = await opened(node, 'a/+', { from: 'last' })
    expect(texts(await drain(subscription))).toEqual(['x2', 'y2'])
    await node.publish('a/x', 'x3')
    expect(texts(await drain(subscription))).toEqual(['x3'])
  })

  it('at a date sees what was published at or after it', async () => {
    const node = await lone()
    await node.publish('a/b', 'old')
    await node.clock.advance(5000)
    const date = new Date(node.clock.now())
    await node.publish('a/b', 'new')
    const subscription = await opened(node, 'a/b', { from: date })
    expect(texts(await drain(subscription))).toEqual(['new'])
  })

  it('at a cursor goes on after the message that gave it', async () => {
    const node = await lone()
    for (const text of ['1', '2', '3', '4']) await node.publish('a/b', text)
    const first = await opened(node, 'a/#', { from: 'earliest' })
    const [, second] = await drain(first)
    expect(second?.cursor.length).toBeLessThanOrEqual(200)
    const resumed = await opened(node, 'a/#', { from: { cursor: second?.cursor ?? '' } })
    expect(texts(await drain(resumed))).toEqual(['3', '4'])
  })

  it('refuses a cursor of another store, and one that its filter does not reach', async () => {
    const node = await lone()
    const other = await lone({ seed: 2 })
    await other.publish('a/b', '1')
    const [message] = await drain(await opened(other, 'a/#', { from: 'earliest' }))
    const cursor = message?.cursor ?? ''
    await expect(
      node.engine.subscriptions.subscribe('a/#', { from: { cursor } }).ready
    ).rejects.toMatchObject({ code: 'ERR_CURSOR_UNKNOWN' })
    await expect(
      other.engine.subscriptions.subscribe('b/#', { from: { cursor } }).ready
    ).rejects.toMatchObject({ code: 'ERR_CURSOR_UNKNOWN' })
  })
})

describe('subscription: what it receives', () => {
  it('matches wildcards within and across channels', async () => {
    const node = await lone()
    const one = await opened(node, 'a/+/c')
    const every = await opened(node, '#')
    await node.publish('a/b/c', '1')
    await node.publish('a/b/d', '2')
    await node.publish('z', '3')
    expect(texts(await drain(one))).toEqual(['1'])
    expect(texts(await drain(every)).toSorted()).toEqual(['1', '2', '3'])
  })

  it('passes over what has expired', async () => {
    const node = await lone()
    await node.publish('a', 'short', { ttlMs: 1000 })
    await node.publish('a', 'long', { ttlMs: 60_000 })
    await node.clock.advance(2000)
    expect(texts(await drain(await opened(node, 'a', { from: 'earliest' })))).toEqual(['long'])
    expect(node.engine.subscriptions.stats.expired).toBe(1)
  })

  it('stays complete and in order when it falls far behind what memory holds', async () => {
    const node = await lone()
    const slow = await opened(node, 'a')
    const text = 'x'.repeat(32 * 1024)
    const count = 600
    for (let i = 0; i < count; i++) await node.publish('a', `${i} ${text}`)
    const numbers = texts(await drain(slow)).map((line) => Number(line.split(' ')[0]))
    expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i))
  })

  it('delivers a foreign log in its order, whatever order its records come in', async () => {
    const node = await lone()
    const log = new ForeignLog('a')
    const [one, two, three] = [log.record(['1', '2']), log.record(['3']), log.record(['4'])]
    const subscription = await opened(node, 'a/#')
    for (const record of [one, three, two]) {
      expect(await node.transport.receive('a', record.bytes)).toBe('accept')
      await settled()
    }
    expect(texts(await drain(subscription))).toEqual(['1', '2', '3', '4'])
  })

  it('hands messages to a handler one after the other', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a')
    const seen: string[] = []
    let running = 0
    subscription.onMessage(async (message) => {
      expect(++running).toBe(1)
      await settled(2)
      seen.push(message.text())
      running--
    })
    await Promise.all(['1', '2', '3'].map((text) => node.publish('a', text)))
    await settled(40)
    expect(seen).toEqual(['1', '2', '3'])
  })

  it('ends iteration when it is stopped', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a')
    const iterating = (async () => {
      const seen: string[] = []
      for await (const message of subscription) seen.push(message.text())
      return seen
    })()
    await node.publish('a', '1')
    await settled()
    await subscription.stop()
    expect(await iterating).toEqual(['1'])
  })
})

describe('subscription: gaps', () => {
  it('without a name goes on above a gap after its timeout, and takes what comes late', async () => {
    const node = await lone()
    const log = new ForeignLog('a')
    const records = [log.record(['1']), log.record(['2']), log.record(['3']), log.record(['4'])]
    const subscription = await opened(node, 'a/#', { gapTimeoutMs: 1000 })
    const gaps: Gap[] = []
    subscription.events.on('gap', (gap) => gaps.push(gap))
    for (const index of [0, 2])
      await node.transport.receive('a', records[index]?.bytes ?? new Uint8Array())
    expect(texts(await drain(subscription))).toEqual(['1'])
    await node.clock.advance(2000)
    expect(texts(await drain(subscription))).toEqual(['3'])
    expect(gaps).toMatchObject([{ from: 2, to: 2, reason: 'skipped', channel: 'a' }])
    await node.transport.receive('a', records[3]?.bytes ?? new Uint8Array())
    await settled()
    expect(texts(await drain(subscription))).toEqual(['4'])
    await node.transport.receive('a', records[1]?.bytes ?? new Uint8Array())
    await settled()
    const late = await drain(subscription)
    expect(texts(late)).toEqual(['2'])
    expect(late[0]?.late).toBe(true)
  })

  it('with a name waits, says that it is stalled, and keeps the order', async () => {
    const node = await lone()
    const log = new ForeignLog('a')
    const records = [log.record(['1']), log.record(['2']), log.record(['3'])]
    const subscription = await opened(node, 'a/#', { durable: 'd', gapTimeoutMs: 1000 })
    const stalled: Gap[] = []
    subscription.events.on('stalled', (gap) => stalled.push(gap))
    for (const index of [0, 2])
      await node.transport.receive('a', records[index]?.bytes ?? new Uint8Array())
    await node.publish('a/x', 'own')
    await node.clock.advance(5000)
    expect(texts(await drain(subscription))).toEqual(['1', 'own'])
    expect(stalled).toMatchObject([{ from: 2, to: 2, reason: 'missing' }])
    expect(subscription.status().gaps).toHaveLength(1)
    await node.transport.receive('a', records[1]?.bytes ?? new Uint8Array())
    await settled()
    expect(texts(await drain(subscription))).toEqual(['2', '3'])
  })
})

describe('subscription: durable', () => {
  it('goes on where it was acknowledged after the node was restarted', async () => {
    const disk = openMemory()
    const first = await createLoneEngine({ disk })
    const subscription = await opened(first, 'a', { durable: 'd', from: 'earliest' })
    for (const text of ['1', '2', '3']) await first.publish('a', text)
    const [one, two] = await drain(subscription)
    await one?.ack()
    expect(two?.attempt).toBe(1)
    await first.engine.stop()
    const second = await lone({ disk, clock: first.clock })
    const again = await drain(await opened(second, 'a', { durable: 'd' }))
    expect(again.map((message) => [message.text(), message.attempt])).toEqual([
      ['2', 2],
      ['3', 2]
    ])
  })

  it('after a crash doubts only what may have been handed over, and numbers the journal on without a jump', async () => {
    const disk = openMemory()
    const first = await createLoneEngine({ disk })
    const before = await opened(first, 'a', { durable: 'd', from: 'earliest' })
    for (const text of ['1', '2', '3']) await first.publish('a', text)
    const [one] = await drain(before)
    await one?.ack()
    // No stop: the reservation for hundreds of messages stays on disk, as a kill leaves it.
    const second = await lone({ disk, clock: first.clock })
    const { first: start, next } = second.engine.store.journal('a')
    expect(next - start).toBe(3)
    for (const text of ['4', '5']) await second.publish('a', text)
    const subscription = await opened(second, 'a', { durable: 'd' })
    const gaps: Gap[] = []
    subscription.events.on('gap', (gap) => gaps.push(gap))
    const seen: [string, number][] = []
    for (let i = 0; i < 4; i++) {
      for (const message of await drain(subscription)) {
        seen.push([message.text(), message.attempt])
        await message.ack()
      }
    }
    expect(seen).toEqual([
      ['2', 2],
      ['3', 2],
      ['4', 1],
      ['5', 1]
    ])
    expect(gaps).toEqual([])
  })

  it('hands over again what was not acknowledged in time, and what was given back', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a', {
      durable: 'd',
      from: 'earliest',
      ackTimeoutMs: 1000
    })
    await node.publish('a', '1')
    await node.publish('a', '2')
    const [one, two] = await drain(subscription)
    await two?.nack()
    await settled()
    expect((await drain(subscription)).map((message) => [message.text(), message.attempt])).toEqual(
      [['2', 2]]
    )
    await one?.ack()
    await node.clock.advance(3000)
    expect((await drain(subscription)).map((message) => [message.text(), message.attempt])).toEqual(
      [['2', 3]]
    )
  })

  it('hands over what was given back also where a timer fires too early', async () => {
    class EarlyClock extends ManualClock {
      override after(ms: number, callback: () => void): ReturnType<ManualClock['after']> {
        return super.after(ms > 1 ? ms - 1 : ms, callback)
      }
    }
    const node = await lone({ clock: new EarlyClock() })
    const subscription = await opened(node, 'a', { durable: 's' })
    const attempts: number[] = []
    const taken = (async () => {
      for await (const message of subscription) {
        attempts.push(message.attempt)
        if (message.attempt === 1) await message.nack({ delayMs: 100 })
      }
    })()
    await node.publish('a', '1')
    await node.clock.advance(1000)
    expect(attempts).toEqual([1, 2])
    await subscription.stop()
    await taken
  })

  it('waits with what was given back for a delay', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a', {
      durable: 'd',
      from: 'earliest',
      ackTimeoutMs: 60_000
    })
    await node.publish('a', '1')
    const [one] = await drain(subscription)
    await one?.nack({ delayMs: 5000 })
    await node.clock.advance(4000)
    expect(await drain(subscription)).toEqual([])
    await node.clock.advance(1500)
    expect(texts(await drain(subscription))).toEqual(['1'])
  })

  it('hands over no more than maxInFlight without an acknowledgement', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a', { durable: 'd', from: 'earliest', maxInFlight: 3 })
    for (let i = 0; i < 10; i++) await node.publish('a', `${i}`)
    const first = await drain(subscription)
    expect(texts(first)).toEqual(['0', '1', '2'])
    await first[1]?.ack()
    expect(texts(await drain(subscription))).toEqual(['3'])
  })

  it('keeps its place while nobody consumes it', async () => {
    const node = await lone()
    const before = await opened(node, 'a', { durable: 'd', ackTimeoutMs: 100 })
    await before.stop()
    await node.publish('a', 'meanwhile')
    const [status] = await node.engine.subscriptions.list()
    const { maxInFlight, gapTimeoutMs } = LIMITS
    const limits = { maxInFlight, gapTimeoutMs, ackTimeoutMs: 100 }
    expect(status).toMatchObject({ durable: 'd', open: false, lag: 1, limits })
    const other = await opened(node, 'a', { durable: 'd', ackTimeoutMs: 500 })
    expect((await node.engine.subscriptions.list())[0]).toMatchObject({ open: true, limits })
    await other.stop()
    expect(texts(await drain(await opened(node, 'a', { durable: 'd' })))).toEqual(['meanwhile'])
  })

  it('acknowledges for a handler that returns, and repeats for one that throws', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a', { durable: 'd', from: 'earliest' })
    const attempts: number[] = []
    subscription.onMessage((message) => {
      attempts.push(message.attempt)
      if (message.attempt < 3) throw new Error('not yet')
    })
    await node.publish('a', '1')
    for (let i = 0; i < 10; i++) await node.clock.advance(200)
    expect(attempts).toEqual([1, 2, 3])
    expect(subscription.status()).toMatchObject({ inFlight: 0, lag: 0 })
  })

  it('is refused under another filter, a second time, and under a bad name', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a', { durable: 'd' })
    const subscribe = (filter: string, durable: string) => () =>
      node.engine.subscriptions.subscribe(filter, { durable })
    expect(subscribe('a', 'd')).toThrow(
      expect.objectContaining({ code: 'ERR_SUBSCRIPTION_IN_USE' })
    )
    await subscription.stop()
    expect(subscribe('b', 'd')).toThrow(
      expect.objectContaining({ code: 'ERR_SUBSCRIPTION_CONFLICT' })
    )
    expect(subscribe('a', 'x/y')).toThrow(expect.objectContaining({ code: 'ERR_OPTIONS' }))
    await node.engine.subscriptions.delete('d')
    await expect(node.engine.subscriptions.delete('d')).rejects.toMatchObject({
      code: 'ERR_SUBSCRIPTION_UNKNOWN'
    })
  })

  it('of every channel finds channels that appear later', async () => {
    const node = await lone()
    const subscription = await opened(node, '+/x', { durable: 'd' })
    await node.publish('new/x', '1')
    await settled()
    expect(texts(await drain(subscription))).toEqual(['1'])
  })
})

describe('subscription: its end', () => {
  it('answers who pulls when it has ended: whoever pulls in a loop must not keep it from that', async () => {
    const node = await lone()
    const subscription = await opened(node, 'a/#', { durable: 'b', ack: 'manual' })
    let hasEnded = false
    subscription.events.on('end', () => {
      hasEnded = true
    })
    const waiting = subscription.pull(1, 60_000)
    const stopped = subscription.stop()
    expect(await waiting).toEqual([])
    expect(hasEnded).toBe(true)
    expect(await subscription.pull(1, 60_000)).toEqual([])
    await stopped
  })
})
