import { CloudEvent, HTTP } from 'cloudevents'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { mesh, tcpNode } from '../fixtures/tcp-node.ts'
import { type Bench, type EventReader, startBench } from './http-client.ts'
import { served } from './served-node.ts'

const RUNS = process.env['SKEIN_TEST_FULL'] === '1' ? 1000 : 100

type Attributes = Record<string, unknown>

const text = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((value) => !/\p{Cc}/u.test(value))
const extensionName = fc.stringMatching(/^[a-z0-9]{1,25}$/).filter(
  (name) =>
    !name.startsWith('skein') &&
    // The SDK has uses of its own for the last three.
    !/^(data|sequence|partitionkey|expirytime|schemaurl|datacontentencoding|constructor)$/.test(
      name
    )
)
const json = fc.jsonValue({ maxDepth: 3 })

const attributes = fc.record(
  {
    id: text,
    source: fc.webUrl({ withFragments: true }),
    type: text,
    subject: text,
    time: fc
      .date({ min: new Date(0), max: new Date('2999-01-01'), noInvalidDate: true })
      .map((date) => date.toISOString()),
    dataschema: fc.webUrl(),
    partitionkey: text,
    sequence: text,
    extensions: fc.dictionary(extensionName, text, { maxKeys: 4 })
  },
  { requiredKeys: ['id', 'source', 'type', 'time'], noNullPrototype: true }
)

const data = fc.oneof(
  json.map((value) => ({ datacontenttype: 'application/json', data: value })),
  json.map((value) => ({
    datacontenttype: 'application/vnd.shop+json; charset=utf-8',
    data: value
  })),
  text.map((value) => ({ datacontenttype: 'text/plain', data: value })),
  fc.uint8Array({ minLength: 1 }).map((value) => ({ datacontenttype: 'image/png', data: value })),
  fc.uint8Array({ minLength: 1 }).map((value) => ({ data: value })),
  fc.constant({})
)

const event = fc.tuple(attributes, data).map(([{ extensions, ...own }, content]) => {
  const all = { ...extensions, ...own, ...content } as Attributes
  return new CloudEvent<unknown>(all as { type: string; source: string })
})

/** As the HTTP binding wants it (3.1.3.2); the SDK leaves that to its user. */
function escapeHeader(value: string): string {
  return value.replace(/[^\x21\x23\x24\x26-\x7e]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
  )
}

function binaryHeaders(made: CloudEvent<unknown>): Record<string, string> {
  const { headers } = HTTP.binary(made)
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name.startsWith('ce-') ? escapeHeader(String(value)) : String(value)
    ])
  )
}

function bodyOf(content: unknown): Buffer {
  if (content === undefined) return Buffer.alloc(0)
  if (content instanceof Uint8Array) return Buffer.from(content)
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
}

/** What the event stream shows of an event; the official SDK finds it valid. */
function shownOf(line: string): Attributes {
  const message = { headers: { 'content-type': 'application/cloudevents+json' }, body: line }
  const made = HTTP.toEvent(message) as CloudEvent<unknown>
  expect(made.validate()).toBe(true)
  return JSON.parse(line) as Attributes
}

/** The attributes that an event has itself, in one order. */
function ownOf(made: CloudEvent<unknown>): [string, unknown][] {
  return Object.entries(made.toJSON())
    .filter(([name, value]) => value !== undefined && !/^(data|data_base64)$/.test(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Everything of `made` came out again, and beside it only what the node adds. */
function expectSame(made: CloudEvent<unknown>, shown: Attributes): void {
  for (const [name, value] of ownOf(made)) expect([name, shown[name]]).toEqual([name, value])
  const known = new Set(ownOf(made).map(([name]) => name))
  const added = Object.keys(shown).filter((name) => !known.has(name) && !name.startsWith('data'))
  const own = ['skeinattempt', 'skeinid', 'skeintopic']
  expect(added.filter((name) => name !== 'sequence').toSorted()).toEqual(own)
}

function expectSameData({ data: sent }: CloudEvent<unknown>, shown: Attributes): void {
  const isBytes = sent instanceof Uint8Array
  expect(isBytes ? shown['data_base64'] : JSON.stringify(shown['data'])).toBe(
    isBytes ? Buffer.from(sent).toString('base64') : JSON.stringify(sent)
  )
}

async function openBench(): Promise<{
  b: Bench
  events: EventReader
  take: () => Promise<Attributes>
}> {
  const b = await startBench()
  const events = await b.stream('/v1/subscribe?filter=%23')
  await events.next()
  return { b, events, take: async () => shownOf((await events.next())?.data ?? '') }
}

const STRUCTURED = { 'content-type': 'application/cloudevents+json; charset=UTF-8' }
const BATCH = { 'content-type': 'application/cloudevents-batch+json' }
const least = { specversion: '1.0', id: '1', source: '/shop', type: 'order.created' }

describe('sidecar CloudEvents', () => {
  it('events: what the official SDK sends in structured mode comes out with its attributes and data', async () => {
    const { b, take } = await openBench()
    await fc.assert(
      fc.asyncProperty(event, async (made) => {
        const { body } = HTTP.structured(made)
        const answer = await b.post('/v1/publish/orders', body as string, STRUCTURED)
        expect(answer.status).toBe(202)
        const shown = await take()
        expectSame(
          made.data !== undefined && made.datacontenttype === undefined && !made.data_base64
            ? made.cloneWith({ datacontenttype: 'application/json' })
            : made,
          shown
        )
        expectSameData(made, shown)
      }),
      { numRuns: RUNS }
    )
  })

  it('events: in binary mode, too, with escapes for what headers cannot say', async () => {
    const { b, take } = await openBench()
    await fc.assert(
      fc.asyncProperty(event, async (made) => {
        const isJsonText = typeof made.data === 'string' && made.datacontenttype !== 'text/plain'
        const body = isJsonText ? Buffer.from(JSON.stringify(made.data)) : bodyOf(made.data)
        const answer = await b.post('/v1/publish/orders', body, binaryHeaders(made))
        expect(answer.status).toBe(202)
        const shown = await take()
        const { datacontenttype = 'application/json; charset=utf-8' } = made
        expectSame(made.cloneWith({ datacontenttype }), shown)
        // Without a type of its own, the SDK says that anything is JSON.
        if (made.datacontenttype !== undefined) expectSameData(made, shown)
      }),
      { numRuns: RUNS }
    )
  })

  it('events: an event of one node goes out at another one as it came in, and `where` reads it', async () => {
    const ben = await tcpNode({ mesh })
    const { call, node } = await served({ mesh, join: [...ben.status().addresses] })
    const sub = ben.subscribe('orders/#', {
      durable: 'nz',
      where: [
        { exact: { type: 'order.created', source: '/shop' } },
        { not: { prefix: { subject: 'o' } } }
      ]
    })
    await sub.ready
    const body = {
      ...least,
      datacontenttype: 'application/json',
      data: { id: 7 },
      partitionkey: 'k'
    }
    for (const type of ['order.deleted', 'order.created']) {
      const headers = { 'content-type': 'application/cloudevents+json' }
      const answer = await call('/v1/publish/orders/7', {
        method: 'POST',
        body: { ...body, type },
        headers
      })
      expect(answer.status).toBe(202)
    }
    const [message] = await sub.pull(1, 15_000)
    expect(message?.headers).toEqual(least)
    expect(message?.json()).toEqual({ id: 7 })
    expect(message?.key).toBe('k')
    expect(message?.contentType).toBe('application/json')
    const page = await call('/v1/history?filter=orders/%23')
    const { messages } = (await page.json()) as { messages: Attributes[] }
    expect(messages).toHaveLength(2)
    expect(messages[1]).toMatchObject(body)
    expect(messages[1]).toMatchObject({ skeintopic: 'orders/7', skeinid: message?.id })
    expect(messages[1]).not.toHaveProperty('subject')
    expect(node.status().published).toBe(2)
  })

  it.each([
    ['raw UTF-8', Buffer.from('Grüße').toString('latin1'), 'Grüße'],
    ['Latin-1', 'Gr\xfc\xdfe', 'Grüße'],
    ['escapes', 'Gr%C3%BC%c3%9fe%20%F0%9F%98%80%25', 'Grüße 😀%'],
    ['escapes that are none', '100% %zz %ff', '100% %zz %ff'],
    ['a quoted text', '"a \\"b\\" c"', 'a "b" c']
  ])('events: a header with %s is read', async (_what, header, subject) => {
    const { b, take } = await openBench()
    const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/', 'ce-type': 't' }
    // With a text as body, the client would send headers as UTF-8 by itself.
    await b.post('/v1/publish/a', Buffer.from('x'), { ...headers, 'ce-subject': header })
    expect(await take()).toMatchObject({ subject })
  })

  it('events: JSON data keeps its numbers as they were written', async () => {
    const { b, events } = await openBench()
    const written = '{"big":12345678901234567890,"n":1.0,"s":"\\u00e9\\"}]","data":[1e2]}'
    const body = `{"data":0,"specversion":"1.0","x":true,"constructor":"c","id":"1","n":-7,"source":"/","data" : ${written} ,"type":"t"}`
    expect((await b.post('/v1/publish/a', body, STRUCTURED)).status).toBe(202)
    const line = (await events.next())?.data
    expect(line).toContain(`"data":${written}`)
    expect(JSON.parse(line ?? '')).toMatchObject({
      x: 'true',
      constructor: 'c',
      n: '-7',
      datacontenttype: 'application/json'
    })
  })

  it('events: expiry, key and content type are those of the message', async () => {
    const { b, take } = await openBench()
    const expirytime = new Date(Date.now() + 60_000).toISOString()
    const body = {
      ...least,
      expirytime,
      partitionkey: 'k',
      datacontenttype: 'text/plain',
      data: ''
    }
    const answer = await b.post('/v1/publish/a', JSON.stringify(body), {
      ...STRUCTURED,
      'skein-priority': '3',
      'skein-header-trace-id': 'abc'
    })
    expect(answer.status).toBe(202)
    const shown = await take()
    expect(shown).toMatchObject({ partitionkey: 'k', datacontenttype: 'text/plain', data: '' })
    expect(shown['skeinheaders']).toBe('{"trace-id":"abc"}')
    expect(
      Math.abs(Date.parse(shown['expirytime'] as string) - Date.parse(expirytime))
    ).toBeLessThan(5000)
    expect(b.node.log[0]?.options).toMatchObject({ key: 'k', priority: 3 })
  })

  it('events: one that another node handed over is an event of its own again', async () => {
    const { b, events } = await openBench()
    await b.post('/v1/publish/a', 'x', {
      'skein-header-trace-id': 'abc',
      'skein-header-type': 'hello',
      'skein-header-country': 'NZ'
    })
    const first = (await events.next())?.data ?? ''
    await b.post('/v1/publish/b', first, STRUCTURED)
    const second = JSON.parse((await events.next())?.data ?? '') as Attributes
    const { skeinid, skeintopic, skeinheaders, ...own } = JSON.parse(first) as Attributes
    expect(JSON.parse(skeinheaders as string)).toEqual({ 'trace-id': 'abc', type: 'hello' })
    expect(second).toMatchObject({ ...own, skeinheaders: '{"trace-id":"abc"}', skeintopic: 'b' })
    expect(second['skeinid']).not.toBe(skeinid)
    expect([own['id'], skeintopic]).toEqual([skeinid, 'a'])
  })

  it('events: what claims to be one and is not whole is completed on its way out', async () => {
    const { b, take } = await openBench()
    await b.post('/v1/publish/a', 'x', {
      'skein-header-specversion': '1.0',
      'skein-header-time': 'noon',
      'skein-header-type': 'hello'
    })
    const shown = await take()
    expect(shown).toMatchObject({
      type: 'hello',
      id: b.node.idOf(0, 'a'),
      skeinheaders: '{"time":"noon"}'
    })
  })

  it.each([
    [{ specversion: '0.3' }, 'specversion'],
    [{ specversion: null }, 'specversion'],
    [{ id: '' }, 'id'],
    [{ id: 7.5 }, 'id'],
    [{ source: 'a b' }, 'source'],
    [{ type: null }, 'type'],
    [{ subject: '' }, 'subject'],
    [{ subject: 'a\nb' }, 'subject'],
    [{ subject: '\ud800' }, 'subject'],
    [{ time: '2030-02-30T00:00:00Z' }, 'time'],
    [{ time: 'now' }, 'time'],
    [{ dataschema: '/relative' }, 'dataschema'],
    [{ datacontenttype: 'json' }, 'datacontenttype'],
    [{ Country: 'NZ' }, 'Country'],
    [{ country: { code: 'NZ' } }, 'country'],
    [{ count: 2 ** 31 }, 'count'],
    [{ expirytime: '2000-01-01T00:00:00Z' }, 'expirytime'],
    [{ partitionkey: 'other' }, 'partitionkey'],
    [{ country: 'NZ' }, 'country'],
    [{ skeinheaders: '[]' }, 'skeinheaders'],
    [{ skeinheaders: '{' }, 'skeinheaders'],
    [{ data: 1, data_base64: 'AA==' }, 'data_base64'],
    [{ data_base64: 'AA' }, 'data_base64'],
    [{ data: {}, datacontenttype: 'text/xml' }, 'data']
  ])('events: %o is refused, naming the attribute', async (wrong, option) => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a', JSON.stringify({ ...least, ...wrong }), {
      ...STRUCTURED,
      'skein-key': 'k',
      'skein-header-country': 'AU'
    })
    expect(answer.status).toBe(400)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(b.node.log).toHaveLength(0)
  })

  it.each([
    [{ 'ce-id': '1' }, 'specversion'],
    [{ 'ce-specversion': '1.0', 'ce-source': '/', 'ce-type': 't' }, 'id'],
    [{ 'ce-specversion': '1.0', 'ce-time': 'now' }, 'time'],
    [{ 'ce-data_base64': 'AA==' }, 'data_base64'],
    [{ 'ce-datacontenttype': 'text/plain' }, 'ce-datacontenttype'],
    [{ 'ce-subject': '%0a' }, 'subject']
  ])('events: the headers %o are refused, naming the attribute', async (headers, option) => {
    const b = await startBench()
    const answer = await b.post('/v1/publish/a', 'x', headers as Record<string, string>)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(b.node.log).toHaveLength(0)
  })

  it.each(['[]', '7', '{', Buffer.from([0x7b, 0xff])])(
    'events: the body %s is refused',
    async (body) => {
      const b = await startBench()
      const answer = await b.post('/v1/publish/a', body, STRUCTURED)
      expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option: 'body' } })
    }
  )

  it('events: a batch comes out as its events, in order, with the node’s marks', async () => {
    const { b, take } = await openBench()
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 5 }), async (made) => {
        const body = JSON.stringify(made)
        const answer = await b.post('/v1/publish/orders', body, BATCH)
        expect(answer.status).toBe(202)
        expect(answer.json()).toMatchObject({ published: made.length })
        for (const one of made)
          expect(await take()).toMatchObject({ id: one.id, source: one.source })
      }),
      { numRuns: RUNS / 5 }
    )
    const none = await b.post('/v1/publish/orders', '[]', BATCH)
    expect(none.json()).toEqual({ published: 0, first: null, last: null })
  })

  it('events: a batch with a bad event is refused as a whole, naming it', async () => {
    const b = await startBench()
    const body = JSON.stringify([least, least, { ...least, source: 'a b' }, least])
    const answer = await b.post('/v1/publish/a', body, BATCH)
    expect(answer.status).toBe(400)
    expect(answer.problem()).toMatchObject({
      code: 'ERR_OPTIONS',
      details: { option: 'source', index: 2, published: 0 }
    })
    const object = await b.post('/v1/publish/a', '{}', BATCH)
    expect(object.problem().details).toMatchObject({ option: 'body' })
    const named = await b.post('/v1/publish/a', body, { ...BATCH, 'skein-id': 'x' })
    expect(named.problem().details).toMatchObject({ option: 'Skein-Id' })
    expect(b.node.log).toHaveLength(0)
  })

  it('events: a batch stops at what cannot be stored, and says how many are confirmed', async () => {
    const b = await startBench()
    b.node.failFrom = { sequence: 3, error: new SkeinError('ERR_STORE_FULL', 'disk full') }
    const body = JSON.stringify([least, least, least, least])
    const answer = await b.post('/v1/publish/a', body, BATCH)
    expect(answer.status).toBe(507)
    expect(answer.problem()).toMatchObject({
      code: 'ERR_STORE_FULL',
      details: { index: 2, published: 2 }
    })
  })
})
