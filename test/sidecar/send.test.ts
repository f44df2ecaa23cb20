import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { BEN } from './fake-inbox.ts'
import { startBench } from './http-client.ts'

describe('sidecar send', () => {
  it('send: takes a raw body of any type with its attributes', async () => {
    const b = await startBench()
    const bytes = Buffer.from([0, 1, 255, 10])
    const answer = await b.post('/v1/send/ben/alerts/disk%20a', bytes, {
      'content-type': 'image/png',
      'skein-key': Buffer.from('café').toString('latin1'),
      'skein-ttl': '1.5',
      'skein-custodians': '2',
      'skein-header-Trace-Id': 'abc'
    })
    expect(answer.status).toBe(202)
    const [sent] = b.node.inbox.sent
    expect(answer.json()).toEqual({
      id: sent?.entry.id,
      to: BEN,
      time: sent?.entry.since.toISOString()
    })
    expect(Buffer.from(sent?.payload ?? [])).toEqual(bytes)
    expect(sent?.entry.topic).toBe('alerts/disk a')
    expect(sent?.options).toEqual({
      contentType: 'image/png',
      key: 'café',
      ttlMs: 1500,
      custodians: 2,
      headers: { 'trace-id': 'abc' }
    })
  })

  it.each([
    [`/v1/send/${BEN}/a`, 'a'],
    ['/v1/send/b%65n/a%2Fb', 'a/b'],
    ['/v1/send/ben//x/', '/x/']
  ])('send: %s goes to the topic %s', async (path, topic) => {
    const b = await startBench()
    expect((await b.post(path, 'x')).status).toBe(202)
    expect(b.node.inbox.sent[0]?.entry.topic).toBe(topic)
  })

  it.each([
    ['/v1/send/ben/', {}, 'topic'],
    ['/v1/send//a', {}, 'topic'],
    ['/v1/send/ben/a?topic=b', {}, 'topic'],
    ['/v1/send/ben/a', { 'skein-ttl': '0' }, 'Skein-TTL'],
    ['/v1/send/ben/a', { 'skein-custodians': '65' }, 'Skein-Custodians'],
    ['/v1/send/ben/a', { 'skein-wait': 'long' }, 'Skein-Wait'],
    ['/v1/send/ben/a', { 'skein-wait': '3601' }, 'Skein-Wait'],
    ['/v1/send/ben/a', { 'skein-priority': '1' }, 'skein-priority'],
    ['/v1/send/ben/a', { 'idempotency-key': '1' }, 'idempotency-key'],
    ['/v1/send/ben/a', { 'ce-id': '1' }, 'ce-id']
  ])('send: %s %o is refused, naming the option', async (path, headers, option) => {
    const b = await startBench()
    const answer = await b.post(path, 'x', headers as Record<string, string>)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(b.node.inbox.sent).toHaveLength(0)
  })

  it('send: what the node refuses is told by its code', async () => {
    const b = await startBench()
    const unknown = await b.post('/v1/send/nobody/a', 'x')
    expect(unknown.problem()).toMatchObject({
      code: 'ERR_PEER_UNKNOWN',
      status: 404,
      details: { known: ['ben'] }
    })
    const few = await b.post('/v1/send/ben/a', 'x', { 'skein-custodians': '3' })
    expect(few.problem()).toMatchObject({
      code: 'ERR_CUSTODIANS',
      status: 503,
      details: { mayBeDelivered: true }
    })
    const large = await b.post('/v1/send/ben/a', Buffer.alloc(LIMITS.payloadBytes + 1))
    expect(large.status).toBe(413)
    const wrong = await b.call('/v1/send/ben/a')
    expect({ status: wrong.status, allow: wrong.headers.allow }).toEqual({
      status: 405,
      allow: 'POST'
    })
    expect((await b.post('/v1/send/ben', 'x')).status).toBe(404)
  })

  it('send: waits for the receipt', async () => {
    const b = await startBench()
    b.node.inbox.onSend = ({ settle }) => settle()
    const answer = await b.post('/v1/send/ben/a', 'x', { 'skein-wait': '3600' })
    expect(answer.status).toBe(200)
    expect(answer.json()).toMatchObject({ to: BEN, delivered: true })
  })

  it('send: says so when the receipt does not come in time', async () => {
    const b = await startBench()
    const answer = await b.post('/v1/send/ben/a', 'x', { 'skein-wait': '0.01' })
    expect(answer.status).toBe(202)
    expect(answer.json()).toMatchObject({ id: b.node.inbox.sent[0]?.entry.id, delivered: false })
  })

  it('send: a message whose time to live has passed is an error that names it', async () => {
    const b = await startBench()
    b.node.inbox.onSend = ({ settle }) => settle(new SkeinError('ERR_TIMEOUT', 'too late'))
    const answer = await b.post('/v1/send/ben/a', 'x', { 'skein-wait': '3600' })
    expect(answer.problem()).toMatchObject({
      code: 'ERR_TIMEOUT',
      status: 504,
      details: { id: b.node.inbox.sent[0]?.entry.id, to: BEN }
    })
    // Nobody waits here: the rejection must not end the process.
    expect((await b.post('/v1/send/ben/a', 'x')).status).toBe(202)
  })

  it('send: a node that stops answers that it is on its way', async () => {
    const b = await startBench()
    b.node.inbox.onSend = () => void b.sidecar.stop()
    const answer = await b.post('/v1/send/ben/a', 'x', { 'skein-wait': '3600' })
    expect(answer.status).toBe(202)
    expect(answer.json()).toMatchObject({ delivered: false })
  })

  it('outbox: lists what waits for whom', async () => {
    const b = await startBench()
    expect((await b.call('/v1/outbox')).json()).toEqual({ entries: [] })
    await b.post('/v1/send/ben/alerts', 'four', { 'skein-ttl': '60', 'skein-custodians': '1' })
    const { entries } = (await b.call('/v1/outbox')).json<{ entries: object[] }>()
    const since = b.node.inbox.sent[0]?.entry.since.getTime() ?? 0
    expect(entries).toEqual([
      {
        id: b.node.inbox.sent[0]?.entry.id,
        to: BEN,
        toName: 'ben',
        topic: 'alerts',
        bytes: 4,
        since: new Date(since).toISOString(),
        expiresAt: new Date(since + 60_000).toISOString(),
        custodians: ['one']
      }
    ])
    expect((await b.call('/v1/status')).json()).toMatchObject({ outbox: 1 })
  })
})
