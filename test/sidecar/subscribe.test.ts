import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { PEER } from './fake-node.ts'
import { startBench } from './http-client.ts'

interface CloudEvent {
  data?: unknown
  data_base64?: string
  skeinid: string
  skeinattempt: number
}

const attemptOf = async (reader: { nextJson<T>(): Promise<T> }): Promise<number> =>
  (await reader.nextJson<CloudEvent>()).skeinattempt

describe('sidecar event stream', () => {
  it('subscribe: says ready, then sends each message as a CloudEvent with a cursor', async () => {
    const b = await startBench()
    const reader = await b.stream('/v1/subscribe?filter=orders/%23')
    expect(reader.response.headers['content-type']).toMatch(/^text\/event-stream/)
    expect(await reader.next()).toMatchObject({ event: 'ready' })
    await b.node.publish('orders/new', '{"n": 1.0}', {
      contentType: 'application/json',
      key: 'k"1',
      ttlMs: 60_000,
      headers: { trace: 'a', 'x-long': 'ü', id: 'mine' }
    })
    const event = await reader.next()
    expect(event).toMatchObject({ event: 'message', id: 'fake.1' })
    expect(event?.data).toContain('"data":{"n": 1.0}')
    const id = b.node.idOf(0, 'orders/new')
    const data = JSON.parse(event?.data ?? '')
    expect(data).toMatchObject({
      specversion: '1.0',
      id,
      source: `skein:${PEER}`,
      type: 'skein.message',
      subject: 'orders/new',
      datacontenttype: 'application/json',
      sequence: '0000000000000001',
      skeinid: id,
      skeintopic: 'orders/new',
      skeinattempt: 1,
      partitionkey: 'k"1',
      trace: 'a'
    })
    expect(JSON.parse(data.skeinheaders)).toEqual({ 'x-long': 'ü', id: 'mine' })
    expect(new Date(data.expirytime).getTime() - new Date(data.time).getTime()).toBe(60_000)
  })

  it.each([
    ['text/plain', 'a\nb\u2028', { data: 'a\nb\u2028' }],
    ['application/json', '[1,\n 2]', { data: [1, 2] }],
    ['application/vnd.x+json; charset=utf-8', '"s"', { data: 's' }],
    ['application/json', '{bad', { data_base64: Buffer.from('{bad').toString('base64') }],
    ['text/plain', Buffer.from([255]), { data_base64: '/w==' }],
    [undefined, 'abc', { data_base64: 'YWJj' }],
    ['image/png', '', { data_base64: '' }]
  ])('subscribe: %s %j becomes %j', async (contentType, payload, expected) => {
    const b = await startBench()
    await b.node.publish('a', payload, { contentType })
    const reader = await b.stream('/v1/subscribe?filter=a&from=earliest')
    await reader.next()
    const { data, data_base64 } = await reader.nextJson<CloudEvent>()
    expect({ data, data_base64 }).toEqual({ data: undefined, data_base64: undefined, ...expected })
    const exact = await b.stream('/v1/subscribe?filter=a&from=earliest&data=base64')
    await exact.next()
    expect(await exact.nextJson()).toMatchObject({
      data_base64: Buffer.from(payload as string).toString('base64')
    })
  })

  it('subscribe: Last-Event-ID resumes after the last event seen', async () => {
    const b = await startBench()
    for (let n = 0; n < 5; n++) await b.node.publish('a', String(n))
    const reader = await b.stream('/v1/subscribe?filter=a&from=earliest')
    await reader.next()
    await reader.next()
    const { id } = (await reader.next()) ?? {}
    reader.close()
    const again = await b.stream('/v1/subscribe?filter=a', { 'last-event-id': id ?? '' })
    await again.next()
    const rest = [await again.next(), await again.next(), await again.next()]
    expect(rest.map((event) => event?.id)).toEqual(['fake.3', 'fake.4', 'fake.5'])
    const unknown = await b.call('/v1/subscribe?filter=a', { headers: { 'last-event-id': 'x' } })
    expect(unknown.problem()).toMatchObject({ code: 'ERR_CURSOR_UNKNOWN', status: 410 })
  })

  it('subscribe: a level that is a plus sign is a wildcard, encoded or not', async () => {
    const b = await startBench()
    await b.node.publish('a/x/c d', '1')
    for (const filter of ['a/+/c+d', 'a/%2B/c%20d', 'a%2Fx%2F+']) {
      const reader = await b.stream(`/v1/subscribe?filter=${filter}&from=earliest`)
      await reader.next()
      expect(await reader.next()).toMatchObject({ event: 'message' })
      reader.close()
    }
  })

  it.each([
    ['/v1/subscribe', 'filter'],
    ['/v1/subscribe?filter=a&from=yesterday', 'from'],
    ['/v1/subscribe?filter=a&from=2030-13-45', 'from'],
    ['/v1/subscribe?filter=a&group=g&durable=d', 'group'],
    ['/v1/subscribe?filter=a&onPartition=available', 'onPartition'],
    ['/v1/subscribe?filter=a&group=g&onPartition=majority=1', 'onPartition'],
    ['/v1/subscribe?filter=a&where=x', 'where'],
    ['/v1/subscribe?filter=a&ack=manual', 'ack'],
    ['/v1/subscribe?filter=a&onGap=skip', 'onGap'],
    ['/v1/subscribe?filter=a&durable=d&onGap=stop', 'onGap'],
    ['/v1/subscribe?filter=a&ack=never', 'ack'],
    ['/v1/subscribe?filter=a&data=hex', 'data'],
    ['/v1/subscribe?filter=a&maxInFlight=0', 'maxInFlight']
  ])('subscribe: %s is refused, naming %s', async (path, option) => {
    const b = await startBench()
    const answer = await b.call(path)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
  })

  it('subscribe: a bad filter is refused before the stream begins', async () => {
    const b = await startBench()
    const answer = await b.call('/v1/subscribe?filter=a/%23/b')
    expect(answer.problem().code).toBe('ERR_FILTER')
    const unknown = await b.call('/v1/subscribe?durable=none')
    expect(unknown.problem().code).toBe('ERR_SUBSCRIPTION_UNKNOWN')
  })

  it('subscribe: gaps are events of the stream', async () => {
    const b = await startBench()
    const reader = await b.stream('/v1/subscribe?filter=a')
    await reader.next()
    const gap = {
      channel: 'a',
      publisher: 'p',
      session: 's',
      from: 3,
      to: 4,
      reason: 'skipped' as const
    }
    for (const live of b.node.live) live.emitter.emit('gap', gap)
    const event = await reader.next()
    expect(event?.event).toBe('gap')
    expect(JSON.parse(event?.data ?? '')).toEqual(gap)
  })

  it('subscribe: a subscription that fails ends the stream with an error event', async () => {
    const b = await startBench()
    const reader = await b.stream('/v1/subscribe?filter=a')
    await reader.next()
    for (const live of b.node.live) {
      live.emitter.emit('end', { error: new Error('boom') })
      live.stopped = true
      live.wake()
    }
    expect(await reader.next()).toMatchObject({ event: 'error' })
    expect(await reader.next()).toBeUndefined()
  })

  it('subscribe: a subscription that is about to end is not asked again and again', async () => {
    const b = await startBench()
    const reader = await b.stream('/v1/subscribe?filter=a')
    await reader.next()
    const [live] = b.node.live
    if (live === undefined) throw new Error('nobody subscribes')
    // As the node does from the moment that it ends one: it answers when all of it is on disk.
    const ended = new Promise<[]>((resolve) => {
      live.emitter.on('end', () => resolve([]))
    })
    const pull = vi.fn<() => Promise<[]>>(() => ended)
    Object.assign(live, { pull })
    await b.node.publish('a', 'last')
    await reader.next()
    await new Promise((resolve) => setTimeout(resolve, 100))
    live.emitter.emit('end', { error: undefined })
    expect(await reader.next()).toBeUndefined()
    expect(reader.comments).toEqual([])
    expect(pull.mock.calls.length).toBeLessThan(20)
  })

  it('subscribe: a reader that does not read holds one batch, and loses nothing', async () => {
    const b = await startBench()
    const count = 400
    const payload = Buffer.alloc(100_000, 'x')
    for (let n = 0; n < count; n++) await b.node.publish('a', payload)
    const reader = await b.stream('/v1/subscribe?filter=a&from=earliest')
    reader.response.pause()
    const taken = (): number => count - ([...b.node.live][0]?.status().lag ?? count)
    let last = -1
    while (last !== taken()) {
      last = taken()
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // The socket buffers of the kernel hold some megabytes; the rest stays in the log.
    expect(taken()).toBeLessThan(count - 100)
    reader.response.resume()
    await reader.next()
    for (let n = 1; n <= count; n++) expect((await reader.next())?.id).toBe(`fake.${n}`)
  })

  it('subscribe: a reader that takes nothing for long is cut off, and its subscription ends', async () => {
    const b = await startBench()
    const payload = Buffer.alloc(100_000, 'x')
    for (let n = 0; n < 200; n++) await b.node.publish('a', payload)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const reader = await b.stream('/v1/subscribe?filter=a&from=earliest')
    const closed = new Promise((resolve) => reader.response.on('close', resolve))
    reader.response.pause()
    // Whatever its socket still takes, there is a moment from which it takes nothing.
    while (b.node.live.size > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      await vi.advanceTimersByTimeAsync(LIMITS.sseStallMs)
    }
    reader.response.resume()
    await closed
    expect(reader.response.complete).toBe(false)
  })

  it('subscribe: stopping ends every stream', async () => {
    const b = await startBench()
    const readers = [
      await b.stream('/v1/subscribe?filter=a'),
      await b.stream('/v1/subscribe?filter=b&durable=d')
    ]
    for (const reader of readers) await reader.next()
    await b.sidecar.stop()
    for (const reader of readers) expect(await reader.next()).toBeUndefined()
    expect(b.node.live.size).toBe(0)
  })
})

describe('sidecar durable streams', () => {
  it('durable: ack=auto acknowledges what the socket took', async () => {
    const b = await startBench()
    const path = '/v1/subscribe?filter=a&durable=d&ack=auto&from=earliest'
    for (let n = 0; n < 10; n++) await b.node.publish('a', String(n))
    const reader = await b.stream(path)
    await reader.next()
    for (let n = 0; n < 10; n++) await reader.next()
    while ((await b.node.subscriptions())[0]?.lag !== 0) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(b.node.durables.get('d')?.open?.status().inFlight).toBe(0)
    reader.close()
  })

  it('durable: ack=manual waits for acknowledgements and gives back at the end', async () => {
    const b = await startBench()
    for (let n = 0; n < 4; n++) await b.node.publish('a', String(n))
    const reader = await b.stream('/v1/subscribe?filter=a&durable=d&from=earliest&maxInFlight=2')
    await reader.next()
    const first = await reader.nextJson<CloudEvent>()
    const second = await reader.nextJson<CloudEvent>()
    expect(b.node.durables.get('d')?.open?.status().inFlight).toBe(2)
    const acked = await b.json('POST', '/v1/subscriptions/d/ack', { ack: [first.skeinid] })
    expect(acked.json()).toEqual({ acked: 1, nacked: 0 })
    const third = await reader.nextJson<CloudEvent>()
    expect(third.skeinid).toBe(b.node.idOf(2, 'a'))
    const second2 = await b.json('POST', '/v1/subscriptions/d/ack', {
      ack: [second.skeinid, first.skeinid]
    })
    expect(second2.problem()).toMatchObject({
      code: 'ERR_MESSAGE_UNKNOWN',
      details: { acked: 1, unknown: [first.skeinid] }
    })
    const taken = await b.call('/v1/subscribe?durable=d')
    expect(taken.problem().code).toBe('ERR_SUBSCRIPTION_IN_USE')
    reader.close()
    while (b.node.durables.get('d')?.open !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const again = await b.stream('/v1/subscribe?durable=d')
    await again.next()
    expect(await attemptOf(again)).toBe(2)
  })

  it('durable: limits of a stream stay within the cursor', async () => {
    const b = await startBench()
    const path = `/v1/subscribe?filter=a&durable=d&maxInFlight=${LIMITS.cursorRanges + 1}`
    expect((await b.call(path)).problem().code).toBe('ERR_OPTIONS')
  })

  it('durable: a stream says what to do at gaps, and late messages are marked', async () => {
    const b = await startBench()
    const reader = await b.stream('/v1/subscribe?filter=a&durable=d&onGap=skip')
    await reader.next()
    expect(b.node.durables.get('d')?.options.onGap).toBe('skip')
    await b.node.publish('a', '1')
    b.node.isLate = true
    await b.node.publish('a', '2')
    expect(await reader.nextJson()).not.toHaveProperty('skeinlate')
    expect(await reader.nextJson()).toMatchObject({ skeinlate: true })
  })
})
