import { HTTP, type CloudEvent } from 'cloudevents'
import { describe, expect, it } from 'vitest'
import { TOKEN, startBench } from './http-client.ts'

const DAPR = { token: null, method: 'POST', headers: { 'dapr-api-token': TOKEN } } as const

/** Publishes once, and resolves to what the event stream shows of it. */
async function shown(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  const b = await startBench()
  const events = await b.stream('/v1/subscribe?filter=%23')
  await events.next()
  const answer = await b.call(path, { ...DAPR, body, headers: { ...DAPR.headers, ...headers } })
  expect([answer.status, answer.text]).toEqual([204, ''])
  const line = (await events.next())?.data ?? ''
  const read = HTTP.toEvent({
    headers: { 'content-type': 'application/cloudevents+json' },
    body: line
  }) as CloudEvent<unknown>
  expect(read.validate()).toBe(true)
  return JSON.parse(line) as Record<string, unknown>
}

const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/

describe('sidecar Dapr', () => {
  it('dapr: a body becomes the data of an event, as receivers of Dapr expect it', async () => {
    const event = await shown('/v1.0/publish/pubsub/orders/new', '{"id":7}', {
      'content-type': 'application/json',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    })
    expect(event).toMatchObject({
      id: expect.stringMatching(UUID) as string,
      source: 'fake',
      type: 'com.dapr.event.sent',
      topic: 'orders/new',
      pubsubname: 'pubsub',
      datacontenttype: 'application/json',
      data: { id: 7 },
      skeintopic: 'orders/new',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    })
    expect(event).not.toHaveProperty('subject')
  })

  it.each([
    [{}, 'hello', { datacontenttype: 'text/plain', data: 'hello' }],
    [
      { 'content-type': 'application/octet-stream' },
      Buffer.from([1]),
      { datacontenttype: 'application/octet-stream', data_base64: 'AQ==' }
    ],
    [
      { 'content-type': 'application/x-ndjson' },
      Buffer.from('1\n2\n'),
      { datacontenttype: 'application/x-ndjson', data_base64: 'MQoyCg==' }
    ]
  ])('dapr: with %o the body is data as it is', async (headers, body, event) => {
    const got = await shown('/v1.0/publish/p/a', body, headers as Record<string, string>)
    expect(got).toMatchObject(event)
  })

  it('dapr: a CloudEvent keeps what it says, and gets what it lacks', async () => {
    const event = { specversion: '1.0', type: 'order.created', source: '/shop', data: 1 }
    const query = '?metadata.cloudevent.type=other&metadata.cloudevent.subject=seven'
    const got = await shown(`/v1.0/publish/p/a${query}`, JSON.stringify(event), {
      'content-type': 'application/cloudevents+json; charset=utf-8'
    })
    expect(got).toMatchObject({ ...event, subject: 'seven', pubsubname: 'p', topic: 'a' })
    expect(got['id']).toMatch(UUID)
  })

  it('dapr: a raw payload is a plain message', async () => {
    const b = await startBench()
    const path = '/v1.0/publish/p/a?metadata.rawPayload=true&metadata.ttlInSeconds=60'
    const headers = { ...DAPR.headers, 'content-type': 'application/json' }
    const answer = await b.call(`${path}&metadata.partitionKey=k`, { ...DAPR, headers, body: '{}' })
    expect(answer.status).toBe(204)
    expect(b.node.log[0]?.options).toEqual({
      contentType: 'application/json',
      key: 'k',
      ttlMs: 60_000
    })
  })

  it.each([
    ['/v1.0/publish/p/', 'topic'],
    ['/v1.0/publish/p/a?metadata.ttlInSeconds=0', 'metadata.ttlInSeconds'],
    ['/v1.0/publish/p/a?metadata.rawPayload=yes', 'metadata.rawPayload'],
    ['/v1.0/publish/p/a?metadata.priority=1', 'metadata.priority'],
    ['/v1.0/publish/p/a?metadata.cloudevent.source=a%20b', 'source']
  ])('dapr: %s is refused, naming the option', async (path, option) => {
    const b = await startBench()
    const answer = await b.call(path, { ...DAPR, body: 'x' })
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(b.node.log).toHaveLength(0)
  })

  it('dapr: its token opens this route only', async () => {
    const b = await startBench()
    const wrong = { ...DAPR, headers: { 'dapr-api-token': 'wrong' }, body: 'x' }
    expect((await b.call('/v1.0/publish/p/a', wrong)).status).toBe(401)
    expect((await b.call('/v1/publish/a', { ...DAPR, body: 'x' })).status).toBe(401)
    expect((await b.post('/v1.0/publish/p/a', 'x')).status).toBe(204)
  })
})
