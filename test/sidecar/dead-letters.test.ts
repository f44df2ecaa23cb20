import { describe, expect, it } from 'vitest'
import { type Bench, startBench } from './http-client.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

async function withDead(...ids: readonly string[]): Promise<Bench> {
  const bench = await startBench()
  bench.node.subscribe('orders/#', { durable: 's' })
  for (const id of ids) bench.node.dead.add(id)
  return bench
}

describe('sidecar dead letters', () => {
  it('lists them, all or those of one subscription, up to a limit', async () => {
    const b = await withDead('1', '2')
    const { deadLetters } = (await b.call('/v1/dlq')).json<{ deadLetters: object[] }>()
    expect(deadLetters).toHaveLength(2)
    expect(deadLetters[0]).toEqual({
      id: '1',
      subscription: 's',
      topic: 'orders/new',
      messageId: 'message of 1',
      publisher: 'ben',
      time: '1970-01-01T00:00:01.000Z',
      attempts: 5,
      reason: 'handler error',
      error: 'no such account',
      since: '1970-01-01T00:00:02.000Z',
      bytes: 3
    })
    expect((await b.call('/v1/dlq?subscription=t')).json()).toEqual({ deadLetters: [] })
    expect((await b.call('/v1/dlq?subscription=s&limit=1')).json()).toEqual({
      deadLetters: [deadLetters[0]]
    })
  })

  it.each(['limit=0', 'limit=1001', 'limit=x', 'name=s'])('refuses ?%s', async (query) => {
    const b = await withDead()
    expect((await b.call(`/v1/dlq?${query}`)).problem().code).toBe('ERR_OPTIONS')
  })

  it('redrives all of a subscription, or those of given ids', async () => {
    const b = await withDead('1', '2', '3')
    const some = await b.post('/v1/dlq/%73/redrive', '{"ids":["2"]}', JSON_TYPE)
    expect([some.status, some.json()]).toEqual([200, { redriven: 1 }])
    expect(b.node.dead.entries.map(({ id }) => id)).toEqual(['1', '3'])
    const rest = await b.post('/v1/dlq/s/redrive', '')
    expect(rest.json()).toEqual({ redriven: 2 })
    const unknown = await b.post('/v1/dlq/other/redrive', '')
    expect(unknown.problem().code).toBe('ERR_SUBSCRIPTION_UNKNOWN')
    expect((await b.call('/v1/dlq/s/redrive')).headers['allow']).toBe('POST')
  })
})
