import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { Gap } from '../../src/node/contract.ts'
import type { Bench } from './http-client.ts'
import { startBench } from './http-client.ts'

interface Pulled {
  messages: Array<{ skeinid: string; skeinattempt: number; data_base64: string }>
}

async function withMessages(count: number): Promise<Bench> {
  const b = await startBench()
  const created = await b.json('PUT', '/v1/subscriptions/d', { filter: 'a', from: 'earliest' })
  expect(created.status).toBe(201)
  for (let n = 0; n < count; n++) await b.node.publish('a', String(n))
  return b
}

async function pull(b: Bench, body: object): Promise<Pulled['messages']> {
  const answer = await b.json('POST', '/v1/subscriptions/d/pull', body)
  expect(answer.status).toBe(200)
  return answer.json<Pulled>().messages
}

describe('sidecar durable subscriptions', () => {
  it('subscriptions: are created, listed, shown and deleted', async () => {
    const b = await withMessages(0)
    expect((await b.call('/v1/subscriptions')).json()).toMatchObject({
      subscriptions: [{ durable: 'd', filter: 'a', lag: 0 }],
      subscribers: [
        { node: 'fake', subscription: 'd', state: 'up' },
        { node: 'ben', subscription: 'billing', state: 'down', lag: 7 }
      ]
    })
    expect((await b.call('/v1/subscriptions/d')).json()).toMatchObject({ filter: 'a', open: false })
    const alike = await b.json('PUT', '/v1/subscriptions/d', { filter: 'a' })
    expect(alike.status).toBe(200)
    const other = await b.json('PUT', '/v1/subscriptions/d', { filter: 'b' })
    expect(other.problem()).toMatchObject({ code: 'ERR_SUBSCRIPTION_CONFLICT', status: 409 })
    for (const field of ['maxInFlight', 'ackTimeoutMs', 'gapTimeoutMs'] as const) {
      const same = { filter: 'a', [field]: LIMITS[field] }
      expect((await b.json('PUT', '/v1/subscriptions/d', same)).status).toBe(200)
      const changed = await b.json('PUT', '/v1/subscriptions/d', { filter: 'a', [field]: 100 })
      expect(changed.problem()).toMatchObject({
        code: 'ERR_SUBSCRIPTION_CONFLICT',
        details: { field, registered: LIMITS[field], asked: 100 }
      })
    }
    const skipping = await b.json('PUT', '/v1/subscriptions/d', { filter: 'a', onGap: 'skip' })
    expect(skipping.problem()).toMatchObject({
      code: 'ERR_SUBSCRIPTION_CONFLICT',
      details: { field: 'onGap', registered: 'wait', asked: 'skip' }
    })
    await pull(b, {})
    const busy = await b.json('PUT', '/v1/subscriptions/d', { filter: 'b' })
    expect(busy.problem().code).toBe('ERR_SUBSCRIPTION_CONFLICT')
    expect((await b.call('/v1/subscriptions/d', { method: 'DELETE' })).status).toBe(204)
    for (const method of ['GET', 'DELETE']) {
      const gone = await b.call('/v1/subscriptions/d', { method })
      expect(gone.problem()).toMatchObject({ code: 'ERR_SUBSCRIPTION_UNKNOWN', status: 404 })
    }
    const pulled = await b.json('POST', '/v1/subscriptions/d/pull', {})
    expect(pulled.problem().code).toBe('ERR_SUBSCRIPTION_UNKNOWN')
  })

  it.each([
    ['PUT', '', {}, 'filter'],
    ['PUT', '', { filter: 1 }, 'filter'],
    ['PUT', '', { filter: 'a', group: 'g' }, 'group'],
    ['PUT', '', { filter: 'a', onGap: 'stop' }, 'onGap'],
    ['POST', '/skip', { from: 1 }, 'from'],
    ['PUT', '', { filter: 'a', from: 'soon' }, 'from'],
    ['PUT', '', { filter: 'a', maxInFlight: 0 }, 'maxInFlight'],
    ['PUT', '', { filter: 'a', ackTimeoutMs: 99 }, 'ackTimeoutMs'],
    ['POST', '/pull', { max: 0 }, 'max'],
    ['POST', '/pull', { waitMs: 1e9 }, 'waitMs'],
    ['POST', '/ack', { ack: [1] }, 'ack.0'],
    ['POST', '/ack', { nack: [{}] }, 'nack.0.id']
  ])('subscriptions: %s %s %j is refused, naming %s', async (method, path, body, option) => {
    const b = await startBench()
    const answer = await b.json(method, `/v1/subscriptions/d${path}`, body)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
  })

  it('subscriptions: gaps are skipped on request, and told', async () => {
    const b = await startBench()
    const registered = { filter: 'a', onGap: 'wait' }
    expect((await b.json('PUT', '/v1/subscriptions/d', registered)).status).toBe(201)
    expect(b.node.durables.get('d')?.options.onGap).toBe('wait')
    const gap = { channel: 'a', publisher: 'p', session: 's', from: 3, to: 4, reason: 'missing' }
    b.node.gaps.set('d', [gap as Gap])
    expect((await b.call('/v1/subscriptions/d')).json()).toMatchObject({ gaps: [gap] })
    const skip = (name: string) => b.call(`/v1/subscriptions/${name}/skip`, { method: 'POST' })
    expect((await skip('d')).json()).toEqual({ skipped: [{ ...gap, reason: 'skipped' }] })
    expect((await skip('d')).json()).toEqual({ skipped: [] })
    expect((await skip('none')).problem().code).toBe('ERR_SUBSCRIPTION_UNKNOWN')
    const wrong = await b.call('/v1/subscriptions/d/skip')
    expect({ status: wrong.status, allow: wrong.headers.allow }).toEqual({
      status: 405,
      allow: 'POST'
    })
  })

  it('subscriptions: bodies must be JSON and say so', async () => {
    const b = await startBench()
    const type = { 'content-type': 'application/json' }
    const bad = await b.post('/v1/subscriptions/d/pull', '{', type)
    expect(bad.problem().code).toBe('ERR_OPTIONS')
    const plain = await b.post('/v1/subscriptions/d/pull', '{}', { 'content-type': 'text/plain' })
    expect(plain.status).toBe(415)
    expect((await b.post('/v1/subscriptions/d/pull', '{}')).status).toBe(415)
  })

  it('pull: hands over up to max, in order, and acknowledged ones never again', async () => {
    const b = await withMessages(5)
    const first = await pull(b, { max: 3 })
    expect(first.map((event) => Buffer.from(event.data_base64, 'base64').toString())).toEqual([
      '0',
      '1',
      '2'
    ])
    const done = await b.json('POST', '/v1/subscriptions/d/ack', {
      ack: [first[0]?.skeinid, first[1]?.skeinid],
      nack: [{ id: first[2]?.skeinid }]
    })
    expect(done.json()).toEqual({ acked: 2, nacked: 1 })
    const second = await pull(b, { max: 10 })
    expect(second.map((event) => event.skeinattempt)).toEqual([2, 1, 1])
  })

  it('pull: waits for the first message', async () => {
    const b = await withMessages(0)
    expect(await pull(b, { max: 1 })).toEqual([])
    const waiting = pull(b, { max: 10, waitMs: 10_000 })
    while (b.node.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await b.node.publish('a', 'late')
    expect(await waiting).toHaveLength(1)
  })

  it('pull: several clients share a subscription, each message goes to one', async () => {
    const b = await withMessages(20)
    const all = await Promise.all(
      Array.from({ length: 4 }, () => pull(b, { max: 5, waitMs: 1000 }))
    )
    expect(new Set(all.flat().map((event) => event.skeinid)).size).toBe(20)
    const started = Date.now()
    const empty = await Promise.all([pull(b, { waitMs: 60 }), pull(b, { waitMs: 60 })])
    expect(empty).toEqual([[], []])
    expect(Date.now() - started).toBeLessThan(5000)
  })

  it('pull: a client that vanishes while it waits takes nothing with it', async () => {
    const b = await withMessages(0)
    const req = b.open('/v1/subscriptions/d/pull', {
      method: 'POST',
      headers: { 'content-type': 'application/json' }
    })
    req.on('error', () => {})
    req.end('{"waitMs":50000}')
    const waiting = (): number => [...b.node.live][0]?.waiting ?? 0
    while (waiting() === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    req.destroy()
    while (waiting() > 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await b.node.publish('a', 'x')
    const [message] = await pull(b, { waitMs: 10_000 })
    expect(Buffer.from(message?.data_base64 ?? '', 'base64').toString()).toBe('x')
  })

  it('pull: a connection lost before the whole response gives the messages back', async () => {
    const b = await startBench()
    await b.json('PUT', '/v1/subscriptions/d', { filter: 'a', from: 'earliest' })
    const payload = Buffer.alloc(190_000)
    for (let n = 0; n < 200; n++) await b.node.publish('a', payload)
    const req = b.open('/v1/subscriptions/d/pull', {
      method: 'POST',
      headers: { 'content-type': 'application/json' }
    })
    req.on('error', () => {})
    const head = new Promise<void>((resolve) => {
      req.on('response', (response) => {
        response.pause()
        resolve()
      })
    })
    req.end('{"max":200}')
    await head
    expect(b.node.durables.get('d')?.open?.status().inFlight).toBe(200)
    req.destroy()
    while (b.node.durables.get('d')?.open?.status().inFlight !== 0) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const [again] = await pull(b, { max: 1 })
    expect(again?.skeinattempt).toBe(2)
  })

  it('pull: a stream takes over an idle one, and is in use for pulls', async () => {
    const b = await withMessages(1)
    const [message] = await pull(b, { max: 1 })
    const busy = await b.call('/v1/subscribe?durable=d')
    expect(busy.problem().code).toBe('ERR_SUBSCRIPTION_IN_USE')
    await b.json('POST', '/v1/subscriptions/d/ack', { ack: [message?.skeinid] })
    const reader = await b.stream('/v1/subscribe?durable=d')
    const refused = await b.json('POST', '/v1/subscriptions/d/pull', {})
    expect(refused.problem()).toMatchObject({ code: 'ERR_SUBSCRIPTION_IN_USE', retryable: true })
    reader.close()
  })
})
