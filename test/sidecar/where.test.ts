import { describe, expect, it, vi } from 'vitest'
import { run } from '../cli/command.ts'
import { served } from './served-node.ts'

// The command is a process.
vi.setConfig({ testTimeout: 60_000 })

const where = [{ exact: { 'data.country': 'NZ' } }]

describe('sidecar where', () => {
  it('where: a durable subscription is registered with it, keeps it and shows it', async () => {
    const { call, node } = await served()
    const path = '/v1/subscriptions/nz'
    const created = await call(path, { method: 'PUT', body: { filter: 'orders/#', where } })
    expect(created.status).toBe(201)
    expect(await created.json()).toMatchObject({ where })
    for (const [body, status] of [
      [{ filter: 'orders/#', where }, 200],
      [{ filter: 'orders/#' }, 200],
      [{ filter: 'orders/#', where: [] }, 409]
    ] as const) {
      expect((await call(path, { method: 'PUT', body })).status).toBe(status)
    }
    await node.publish('orders/1', { country: 'AU' })
    await node.publish('orders/2', { country: 'NZ' })
    const pulled = await call(`${path}/pull`, { method: 'POST', body: { max: 9, waitMs: 5000 } })
    const { messages } = (await pulled.json()) as { messages: { subject: string }[] }
    expect(messages.map(({ subject }) => subject)).toEqual(['orders/2'])
  })

  it.each([
    ['{', undefined],
    ['{}', undefined],
    ['[{"exact":{"a":1}}]', 'where[0].exact.a']
  ])('where: %s is refused with its place', async (text, place) => {
    const { call } = await served()
    const answer = await call(`/v1/subscribe?filter=a&where=${encodeURIComponent(text)}`)
    expect(answer.status).toBe(400)
    const problem = (await answer.json()) as { code: string; details: Record<string, unknown> }
    expect(problem).toMatchObject({ code: 'ERR_OPTIONS', details: { option: 'where' } })
    expect(problem.details['path']).toBe(place)
  })

  it('where: skein sub takes it', async () => {
    const { at, node } = await served()
    await node.publish('orders/1', { country: 'AU' })
    await node.publish('orders/2', { country: 'NZ' })
    const options = [
      '--from',
      'earliest',
      '--count',
      '1',
      '--raw',
      '--where',
      JSON.stringify(where)
    ]
    const { code, text } = await run(['sub', 'orders/#', ...options, ...at])
    expect(code).toBe(0)
    expect(text).toBe('{"country":"NZ"}\n')
  })
})
