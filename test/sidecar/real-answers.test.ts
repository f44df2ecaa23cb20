import { describe, expect, it, onTestFinished } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import { createSidecar } from '../../src/sidecar/server.ts'
import type { Sidecar } from '../../src/sidecar/server.ts'
import { mesh, tcpNode } from '../fixtures/tcp-node.ts'
import { assertDescribed } from './described.ts'

const init = {
  host: '127.0.0.1',
  port: 0,
  exactPort: true,
  token: 'token',
  allowHosts: [],
  allowOrigins: [],
  insecure: false
}

/** Calls a route, and holds its answer to what the documents say. */
async function call(sidecar: Sidecar, method: string, path: string, body?: unknown) {
  const response = await fetch(`${sidecar.url}${path}`, {
    method,
    headers: { authorization: 'Bearer token', 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const text = await response.text()
  const answer = {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    text,
    json: () => JSON.parse(text),
    problem: () => JSON.parse(text)
  }
  assertDescribed(sidecar.routes, { method, path }, answer)
  return answer
}

describe('sidecar answers', () => {
  it('answers: those of a node at work are what the documents say', async () => {
    const ben = await tcpNode({ mesh, name: 'ben' })
    const node = await tcpNode({ mesh, name: 'anna', join: [...ben.status().addresses] })
    const sidecar = createSidecar({ node, logger: silentLogger }, init)
    onTestFinished(() => sidecar.stop())
    await sidecar.start()
    const group = node.subscribe('jobs/#', { group: 'workers' })
    onTestFinished(() => group.stop())
    await group.ready
    await node.send(ben.peerId, 'hello', 'x')
    const where = [{ exact: { type: 'order.created' } }]
    await call(sidecar, 'PUT', '/v1/subscriptions/all', { filter: 'orders/#', where })
    await call(sidecar, 'PUT', '/v1/subscriptions/few', { filter: 'orders/#', maxDeliveries: 1 })
    await call(sidecar, 'POST', '/v1/publish/orders/1', { id: 7 })
    const pull = await call(sidecar, 'POST', '/v1/subscriptions/few/pull', { waitMs: 10_000 })
    const [message] = pull.json().messages as { skeinid: string }[]
    const nack = { nack: [{ id: message?.skeinid }] }
    expect((await call(sidecar, 'POST', '/v1/subscriptions/few/ack', nack)).status).toBe(200)
    const empty = await call(sidecar, 'POST', '/v1/subscriptions/few/pull', { waitMs: 500 })
    expect(empty.json()).toEqual({ messages: [] })
    await call(sidecar, 'PUT', '/v1/services/price', { webhook: 'http://127.0.0.1:9/' })
    const gets = sidecar.routes.filter(
      ({ method, path }) => method === 'GET' && !/[{]|^\/(v1\/(ws|subscribe))?$/.test(path)
    )
    for (const { path } of gets) {
      const query = path === '/v1/history' ? '?filter=%23' : ''
      expect((await call(sidecar, 'GET', path + query)).status).toBe(200)
    }
    expect(gets.length).toBeGreaterThan(10)
    for (const path of ['/v1/subscriptions/all', '/v1/services/price']) {
      await call(sidecar, 'GET', path)
      expect((await call(sidecar, 'DELETE', path)).status).toBe(204)
    }
    expect((await call(sidecar, 'POST', '/v1/dlq/few/redrive')).json()).toEqual({ redriven: 1 })
  })
})
