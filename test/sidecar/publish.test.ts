import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { answerOf, startBench } from './http-client.ts'

describe('sidecar publish', () => {
  it('publish: takes a raw body of any type with its attributes', async () => {
    const b = await startBench()
    const bytes = Buffer.from([0, 1, 255, 10])
    const answer = await b.post('/v1/publish/orders/created', bytes, {
      'content-type': 'image/png',
      'skein-key': Buffer.from('café').toString('latin1'),
      'skein-ttl': '1.5',
      'skein-priority': '7',
      'skein-deliver-at': '2030-01-31T12:00:00+01:00',
      'skein-confirm': 'sent',
      'skein-retain': 'true',
      'skein-header-Trace-Id': 'abc',
      'skein-header-__proto__': 'x'
    })
    expect(answer.status).toBe(202)
    expect(answer.json()).toMatchObject({ id: b.node.idOf(0, 'orders/created'), sequence: 1 })
    expect(new Date(answer.json<{ time: string }>().time).getTime()).toBeGreaterThan(0)
    const [stored] = b.node.log
    expect(Buffer.from(stored?.payload ?? [])).toEqual(bytes)
    expect(stored?.topic).toBe('orders/created')
    expect(stored?.options).toMatchObject({
      contentType: 'image/png',
      key: 'café',
      ttlMs: 1500,
      priority: 7,
      deliverAt: new Date('2030-01-31T11:00:00Z'),
      confirm: 'sent',
      retain: true
    })
    expect(Object.entries(stored?.options.headers ?? {})).toEqual([
      ['trace-id', 'abc'],
      ['__proto__', 'x']
    ])
  })

  it.each([
    [{ 'skein-confirm': 'stored' }, { confirm: 'stored' }],
    [{ 'skein-confirm': 'replicas=2' }, { confirm: { replicas: 2 } }],
    [{ 'skein-confirm': 'replicas=2;timeout=0.5' }, { confirm: { replicas: 2, timeoutMs: 500 } }],
    [
      { 'skein-confirm': 'replicas=64; timeout=60' },
      { confirm: { replicas: 64, timeoutMs: 60000 } }
    ],
    [{ 'skein-id': Buffer.from('ü').toString('latin1') }, { id: 'ü' }],
    [{ 'idempotency-key': 'k' }, { id: 'k' }],
    [{ 'skein-id': 'k', 'idempotency-key': 'k' }, { id: 'k' }]
  ])('publish: %o is passed on as %o', async (headers, options) => {
    const b = await startBench()
    const body = Buffer.from('x')
    const answer = await b.post('/v1/publish/a', body, headers as Record<string, string>)
    expect(answer.status).toBe(202)
    expect(b.node.log[0]?.options).toEqual(options)
  })

  it.each([
    ['ERR_REPLICAS', 504],
    ['ERR_ID_CONFLICT', 409],
    ['ERR_CHANNEL_FULL', 507]
  ] as const)('publish: %s is answered with %i', async (code, status) => {
    const b = await startBench()
    b.node.failFrom = { sequence: 1, error: new SkeinError(code, 'no') }
    const answer = await b.post('/v1/publish/a', 'x')
    expect(answer.status).toBe(status)
    expect(answer.problem().code).toBe(code)
  })

  it.each(['application/x-www-form-urlencoded', 'application/octet-stream'])(
    'publish: %s, what clients send unasked, is no content type',
    async (type) => {
      const b = await startBench()
      await b.post('/v1/publish/a', 'hello', { 'content-type': type })
      expect(b.node.log[0]?.options.contentType).toBeUndefined()
    }
  )

  it.each([
    ['/v1/publish/a%2Fb/c%20d', 'a/b/c d'],
    ['/v1/publish//x/', '/x/'],
    ['/v1/publish/%C3%A9', 'é'],
    ['/v1/publish?topic=a%2Fb', 'a/b'],
    ['/v1/publish/?topic=a/b', 'a/b'],
    ['/v1/publish/a/../b', 'a/../b']
  ])('publish: %s goes to the topic %s', async (path, topic) => {
    const b = await startBench()
    const answer = await b.post(path, 'x')
    expect(answer.status).toBe(202)
    expect(b.node.log[0]?.topic).toBe(topic)
  })

  it('publish: a topic with a wildcard is refused', async () => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a/+', 'x')
    expect(answer.problem()).toMatchObject({ code: 'ERR_TOPIC', details: { topic: 'a/+' } })
  })

  it.each([
    ['/v1/publish', {}, 'topic'],
    ['/v1/publish/a?topic=b', {}, 'topic'],
    ['/v1/publish/a?retain=1', {}, 'retain'],
    ['/v1/publish/a?split=words', {}, 'split'],
    ['/v1/publish/a?split=lines&split=lines', {}, 'split'],
    ['/v1/publish/a', { 'skein-ttl': '-1' }, 'Skein-TTL'],
    ['/v1/publish/a', { 'skein-ttl': '0' }, 'Skein-TTL'],
    ['/v1/publish/a', { 'skein-priority': '10' }, 'Skein-Priority'],
    ['/v1/publish/a', { 'skein-confirm': 'replicas=0' }, 'Skein-Confirm'],
    ['/v1/publish/a', { 'skein-confirm': 'replicas=65' }, 'Skein-Confirm'],
    ['/v1/publish/a', { 'skein-confirm': 'replicas=2;timeout=0' }, 'Skein-Confirm'],
    ['/v1/publish/a', { 'skein-confirm': 'replicas=2;timeout' }, 'Skein-Confirm'],
    ['/v1/publish/a', { 'skein-confirm': 'replicas=2,timeout=5' }, 'Skein-Confirm'],
    ['/v1/publish/a', { 'skein-deliver-at': '5' }, 'Skein-Deliver-At'],
    ['/v1/publish/a', { 'skein-id': '5', 'idempotency-key': '6' }, 'Skein-Id'],
    ['/v1/publish/a?split=lines', { 'skein-id': '5' }, 'Skein-Id'],
    ['/v1/publish/a', { 'skein-wait': '5' }, 'skein-wait'],
    ['/v1/publish/a', { 'skein-retain': 'yes' }, 'Skein-Retain'],
    ['/v1/publish/a?split=lines', { 'ce-id': '1' }, 'ce-id'],
    ['/v1/publish/a?split=lines', { 'content-type': 'application/cloudevents+json' }, 'split']
  ])('publish: %s %o is refused, naming the option', async (path, headers, option) => {
    const b = await startBench()
    const answer = await b.post(path, 'x', headers as Record<string, string>)
    expect(answer.status).toBe(400)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(b.node.log).toHaveLength(0)
  })

  it.each([
    [{ 'content-type': 'application/cloudevents+avro' }],
    [{ 'content-type': 'application/cloudevents' }],
    [{ 'content-encoding': 'gzip' }]
  ])('publish: %o is refused as content type', async (headers) => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a', '{}', headers as Record<string, string>)
    expect(answer.status).toBe(415)
    expect(answer.problem().code).toBe('ERR_CONTENT_TYPE')
  })

  it('publish: a body above the limit is refused, declared or not', async () => {
    const b = await startBench()
    const body = Buffer.alloc(LIMITS.payloadBytes + 1)
    const declared = await b.post('/v1/publish/a', body)
    expect(declared.status).toBe(413)
    const req = b.open('/v1/publish/a', { method: 'POST' })
    const answer = answerOf(req)
    req.write(body.subarray(0, 1000))
    req.end(body.subarray(1000))
    expect((await answer).problem()).toMatchObject({
      code: 'ERR_PAYLOAD_TOO_LARGE',
      status: 413,
      details: { limit: LIMITS.payloadBytes }
    })
    expect((await b.post('/v1/publish/a', body.subarray(1))).status).toBe(202)
  })

  it('publish: split=lines publishes every line as raw bytes, empty ones too', async () => {
    const b = await startBench()
    const body = Buffer.concat([
      Buffer.from('one\r\n\n'),
      Buffer.from([255, 0]),
      Buffer.from('\nend')
    ])
    const answer = await b.post('/v1/publish/a?split=lines', body)
    expect(answer.json()).toMatchObject({
      published: 4,
      first: { sequence: 1, id: b.node.idOf(0, 'a') },
      last: { sequence: 4 }
    })
    expect(b.node.log.map(({ payload }) => Buffer.from(payload).toString('latin1'))).toEqual([
      'one\r',
      '',
      '\xff\x00',
      'end'
    ])
    const none = await b.post('/v1/publish/a?split=lines', '')
    expect(none.json()).toEqual({ published: 0, first: null, last: null })
  })

  it('publish: ndjson makes strings text and anything else JSON as written', async () => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a', '"a\\nb"\n\n{"n":1.0}\n 12345678901234567890 \n', {
      'content-type': 'application/x-ndjson',
      'skein-key': 'k'
    })
    expect(answer.json()).toMatchObject({ published: 3 })
    expect(
      b.node.log.map(({ payload, options }) => [
        Buffer.from(payload).toString(),
        options.contentType,
        options.key
      ])
    ).toEqual([
      ['a\nb', 'text/plain', 'k'],
      ['{"n":1.0}', 'application/json', 'k'],
      ['12345678901234567890', 'application/json', 'k']
    ])
  })

  it.each([
    ['that is not JSON', Buffer.from('1\n2\n{bad\n4\n')],
    ['that is not UTF-8', Buffer.from('1\n2\n"\xff"\n4\n', 'latin1')]
  ])('publish: a line %s stops there and the problem names it', async (_what, body) => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a', body, {
      'content-type': 'application/x-ndjson'
    })
    expect(answer.status).toBe(400)
    expect(answer.problem()).toMatchObject({
      code: 'ERR_PAYLOAD',
      details: { line: 3, published: 2 }
    })
    expect(b.node.log).toHaveLength(2)
  })

  it('publish: a line that is too long stops there and memory does not grow with it', async () => {
    const b = await startBench()
    const long = Buffer.alloc(LIMITS.payloadBytes + 1, 'x')
    const answer = await b.post(
      '/v1/publish/a?split=lines',
      Buffer.concat([Buffer.from('a\nb\n'), long, Buffer.from('\nc\n')])
    )
    expect(answer.problem()).toMatchObject({
      code: 'ERR_PAYLOAD_TOO_LARGE',
      details: { line: 3, published: 2 }
    })
    expect(b.node.log).toHaveLength(2)
  })

  it('publish: a fault of the store is named with the first line it took', async () => {
    const b = await startBench()
    b.node.failFrom = { sequence: 5, error: new SkeinError('ERR_STORE_FULL', 'disk full') }
    const answer = await b.post('/v1/publish/a?split=lines', 'x\n'.repeat(10_000))
    expect(answer.status).toBe(507)
    expect(answer.problem()).toMatchObject({
      code: 'ERR_STORE_FULL',
      retryable: true,
      details: { line: 5, published: 4 }
    })
  })

  it('publish: a stream of lines waits while too many are unconfirmed', async () => {
    const b = await startBench()
    let release = (): void => {}
    b.node.hold = new Promise((resolve) => {
      release = resolve
    })
    const lines = LIMITS.httpPublishWindow * 3
    const req = b.open('/v1/publish/a?split=lines', { method: 'POST' })
    const answer = answerOf(req)
    req.end('x\n'.repeat(lines))
    await until(() => b.node.waiting >= LIMITS.httpPublishWindow)
    await new Promise((resolve) => setImmediate(resolve))
    expect(b.node.waiting).toBe(LIMITS.httpPublishWindow)
    release()
    expect((await answer).json()).toMatchObject({ published: lines })
  })

  it('publish: stopping ends a stream without end and says what was confirmed', async () => {
    const b = await startBench()
    const req = b.open('/v1/publish/a?split=lines', { method: 'POST' })
    const answer = answerOf(req)
    req.write('one\ntwo\nthr')
    await until(() => b.node.log.length === 2)
    const stopping = b.sidecar.stop()
    expect((await answer).problem()).toMatchObject({
      code: 'ERR_STOPPED',
      status: 503,
      details: { published: 2, line: 3 }
    })
    req.destroy()
    await stopping
  })

  it('publish: what a vanished client had sent in whole lines is published', async () => {
    const b = await startBench()
    const req = b.open('/v1/publish/a?split=lines', { method: 'POST' })
    req.on('error', () => {})
    req.write('one\ntwo\nthr')
    await until(() => b.node.log.length === 2)
    req.destroy()
    expect((await b.call('/v1/status')).status).toBe(200)
    expect(b.node.log).toHaveLength(2)
  })
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}
