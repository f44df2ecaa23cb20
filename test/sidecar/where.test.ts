import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { writeApiFile } from '../../src/cli/data-home.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import type { SkeinNode } from '../../src/index.ts'
import { serve } from '../../src/sidecar/index.ts'
import { run } from '../cli/command.ts'

// The command is a process.
vi.setConfig({ testTimeout: 60_000 })

type Call = (path: string, init?: { method?: string; body?: unknown }) => Promise<Response>

/** A real node with its HTTP interface, where the commands find it. */
async function served(): Promise<{ node: SkeinNode; call: Call; at: string[] }> {
  const node = await createNode({
    mesh: `where-${process.pid}`,
    mdns: false,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    logger: silentLogger
  })
  const doors = await serve(node, { http: '127.0.0.1:0', logger: silentLogger })
  const { url, token = '' } = doors
  const dataDir = await mkdtemp(join(tmpdir(), 'skein-where-'))
  onTestFinished(async () => {
    await doors.stop()
    await node.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  await writeApiFile(dataDir, { url, token, pid: process.pid })
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const call: Call = (path, { method = 'GET', body } = {}) =>
    fetch(`${url}${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  return { node, call, at: ['--data-dir', dataDir] }
}

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
