import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../processes/skein-process.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'
import { retryAfterOf } from '../../src/sidecar/webhooks/push.ts'
import { type Got, doorsOf, endpoint, pushing } from './webhook-endpoint.ts'

const path = '/v1/subscriptions/s'

async function temporary(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'skein-webhooks-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

const textsOf = (got: readonly Got[]): string[] => got.map(({ text }) => text)

describe('webhooks: what is pushed', () => {
  it('binary: the payload, and the rest as headers of CloudEvents', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const put = await call(path, { method: 'PUT', body: { filter: 'a/#', webhook: hook.url } })
    expect(put.status).toBe(201)
    expect(put.body.webhook).toMatchObject({
      url: hook.url,
      mode: 'binary',
      concurrency: 16,
      timeoutMs: 30_000,
      headers: [],
      state: 'pushing',
      failures: 0
    })
    const { id } = await node.publish('a/b', 'grüße', {
      key: 'k 1',
      headers: { color: 'blau "ü"', traceparent: '00-1-2-01', 'X-Odd': '1' }
    })
    const [got] = await hook.received(1)
    expect(got?.text).toBe('grüße')
    expect(got?.headers).toMatchObject({
      'content-type': 'text/plain',
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-source': `skein:${node.peerId}`,
      'ce-type': 'skein.message',
      'ce-subject': 'a/b',
      'ce-skeintopic': 'a/b',
      'ce-skeinattempt': '1',
      'ce-partitionkey': 'k%201',
      'ce-color': 'blau%20%22%C3%BC%22',
      traceparent: '00-1-2-01',
      'skein-subscription': 's'
    })
    await eventually(async () => (await call(path)).body.lag === 0)
  })

  it('structured: one event in JSON; bytes stand in data_base64', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const webhook = { url: hook.url, mode: 'structured', concurrency: 1 }
    await call(path, { method: 'PUT', body: { filter: 'a/#', webhook } })
    await node.publish('a', { n: 1 })
    await node.publish('a', Uint8Array.of(0, 255))
    const [json, bytes] = await hook.received(2)
    expect(json?.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8')
    expect(JSON.parse(json?.text ?? '')).toMatchObject({ specversion: '1.0', data: { n: 1 } })
    expect(JSON.parse(bytes?.text ?? '')).toMatchObject({ data_base64: 'AP8=' })
  })

  it('headers go with each push, and are not shown again', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const webhook = { url: hook.url, headers: { Authorization: 'Bearer secret', 'X-Api': 'k' } }
    const put = await call(path, { method: 'PUT', body: { filter: 'a', webhook } })
    await node.publish('a', '1')
    const [got] = await hook.received(1)
    expect(got?.headers).toMatchObject({ authorization: 'Bearer secret', 'x-api': 'k' })
    for (const { body } of [put, await call(path), await call('/v1/subscriptions')]) {
      expect(JSON.stringify(body)).not.toContain('secret')
      expect(JSON.stringify(body)).toContain('"headers":["authorization","x-api"]')
    }
  })

  it('connections are kept, and an answer’s body changes nothing', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    hook.answer = (_got, response) => void response.end('x'.repeat(1000))
    const webhook = { url: hook.url, concurrency: 2 }
    await call(path, { method: 'PUT', body: { filter: 'a', webhook } })
    for (let n = 0; n < 20; n++) await node.publish('a', String(n))
    await hook.received(20)
    // One beside each that is not free again yet.
    expect(hook.connections()).toBeLessThan(10)
  })

  it.each([
    [{ url: 'ftp://a/b' }, 'webhook.url'],
    ['nowhere', 'webhook.url'],
    [{ url: 'http://user:word@a/b' }, 'webhook.url'],
    [{ url: 'http://a/b', concurrency: 0 }, 'webhook.concurrency'],
    [{ url: 'http://a/b', timeoutMs: 1 }, 'webhook.timeoutMs'],
    [{ url: 'http://a/b', mode: 'batch' }, 'webhook.mode'],
    [{ url: 'http://a/b', headers: { 'ce-id': '1' } }, 'webhook.headers'],
    [{ url: 'http://a/b', headers: { 'Content-Length': '1' } }, 'webhook.headers'],
    [{ url: 'http://a/b', headers: { 'a b': '1' } }, 'webhook.headers'],
    [{ url: 'http://a/b', headers: { a: '1\r\nb: 2' } }, 'webhook.headers'],
    [{ url: 'http://a/b', headers: { a: 'x'.repeat(5000) } }, 'webhook.headers']
  ])('%# is refused, naming the option, and nothing is registered', async (webhook, option) => {
    const { call } = await pushing()
    const put = await call(path, { method: 'PUT', body: { filter: 'a', webhook } })
    expect(put.status).toBe(400)
    expect(put.body).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect((await call(path)).status).toBe(404)
  })
})

describe('webhooks: order', () => {
  it('messages of a key are pushed one after the other, in their order, others beside them', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const busy = new Set<string>()
    const overlaps: string[] = []
    let most = 0
    let fails = 2
    hook.answer = ({ headers, text }, response) => {
      const key = String(headers['ce-partitionkey'])
      if (busy.has(key)) overlaps.push(text)
      busy.add(key)
      most = Math.max(most, busy.size)
      setTimeout(() => {
        busy.delete(key)
        const isBad = text === 'a 1' && fails-- > 0
        response.writeHead(isBad ? 500 : 204).end()
      }, 3)
    }
    const webhook = { url: hook.url, concurrency: 4 }
    await call(path, { method: 'PUT', body: { filter: 'x', webhook } })
    for (let n = 0; n < 5; n++) {
      for (const key of ['a', 'b', 'c']) await node.publish('x', `${key} ${n}`, { key })
    }
    const got = textsOf(await hook.received(17))
    expect(overlaps).toEqual([])
    expect(most).toBeGreaterThan(1)
    const of = (key: string): string[] => got.filter((text) => text.startsWith(key))
    expect(of('b')).toEqual(['b 0', 'b 1', 'b 2', 'b 3', 'b 4'])
    // One that failed goes again before those behind it.
    expect(of('a')).toEqual(['a 0', 'a 1', 'a 1', 'a 1', 'a 2', 'a 3', 'a 4'])
  })

  it('concurrency 1 pushes everything in order, whatever its key', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    let fails = 1
    hook.answer = ({ text }, response) => {
      const isBad = text === '1' && fails-- > 0
      response.writeHead(isBad ? 400 : 204).end()
    }
    const webhook = { url: hook.url, concurrency: 1 }
    await call(path, { method: 'PUT', body: { filter: 'x', webhook } })
    for (let n = 0; n < 4; n++) await node.publish('x', String(n))
    expect(textsOf(await hook.received(5))).toEqual(['0', '1', '1', '2', '3'])
  })
})

describe('webhooks: an endpoint that fails', () => {
  it('an endpoint that is not there costs no message, and gets all when it is back', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    await hook.close()
    const body = { filter: 'x', maxDeliveries: 2, webhook: { url: hook.url, concurrency: 1 } }
    await call(path, { method: 'PUT', body })
    for (let n = 0; n < 5; n++) await node.publish('x', String(n))
    await eventually(async () => (await call(path)).body.webhook.failures > 4)
    const { webhook } = (await call(path)).body
    expect(webhook).toMatchObject({
      state: 'failing',
      lastError: 'cannot be reached (ECONNREFUSED)'
    })
    await hook.open()
    const got = await hook.received(5)
    expect(textsOf(got)).toEqual(['0', '1', '2', '3', '4'])
    expect(got[0]?.headers['ce-skeinattempt']).toBe('1')
    await eventually(async () => (await call(path)).body.webhook.state === 'pushing')
    expect((await call('/v1/dlq')).body.deadLetters).toEqual([])
    expect((await call('/metrics')).body).toContain('skein_webhook_pushes_total{outcome="done"} 5')
  })

  it('a message that fails each time is a dead letter, with what the endpoint said, and can be redriven', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    let isMended = false
    hook.answer = ({ text }, response) => {
      response.writeHead(text === 'bad' && !isMended ? 422 : 204).end()
    }
    const body = { filter: 'x', maxDeliveries: 3, webhook: hook.url }
    await call(path, { method: 'PUT', body })
    await node.publish('x', 'bad', { key: 'k' })
    await node.publish('x', 'good', { key: 'k' })
    const got = await hook.received(4)
    expect(textsOf(got)).toEqual(['bad', 'bad', 'bad', 'good'])
    expect(got.map(({ headers }) => headers['ce-skeinattempt'])).toEqual(['1', '2', '3', '1'])
    const { deadLetters } = (await call('/v1/dlq')).body
    expect(deadLetters).toMatchObject([{ reason: 'nack', attempts: 3, error: 'HTTP 422' }])
    isMended = true
    await call('/v1/dlq/s/redrive', { method: 'POST', body: {} })
    expect((await hook.received(5))[4]?.text).toBe('bad')
    await eventually(async () => (await call(path)).body.lag === 0)
  })

  it('an endpoint that fails with everything is tried with one message at a time', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    let isDown = true
    hook.answer = (_got, response) => void response.writeHead(isDown ? 500 : 204).end()
    const body = { filter: 'x', maxDeliveries: 0, webhook: { url: hook.url, concurrency: 4 } }
    await call(path, { method: 'PUT', body })
    for (let n = 0; n < 50; n++) await node.publish('x', String(n))
    await hook.received(16)
    // Four at once, until ten had failed; from there on one in a while.
    expect((await call(path)).body.webhook.state).toBe('failing')
    expect((await call(path)).body.webhook.inFlight).toBeLessThanOrEqual(1)
    isDown = false
    await eventually(async () => (await call(path)).body.lag === 0)
    expect(new Set(textsOf(hook.got)).size).toBe(50)
    expect(hook.got.length).toBeLessThan(50 + 30)
  })

  it.each([
    [undefined, 0],
    ['2', 2000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:00:10 GMT', 10_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['999999', 3_600_000],
    ['soon', 0]
  ])('Retry-After: %o is %i ms', (value, ms) => {
    expect(retryAfterOf(value, Date.UTC(2026, 0, 1))).toBe(ms)
  })

  it('429 and 503 are no failures of a message, and Retry-After is waited for', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const at: number[] = []
    hook.answer = (_got, response) => {
      at.push(performance.now())
      if (at.length > 2) response.writeHead(204).end()
      else if (at.length === 1) response.writeHead(429, { 'retry-after': '1' }).end()
      else response.writeHead(503).end()
    }
    const body = { filter: 'x', maxDeliveries: 1, webhook: hook.url }
    await call(path, { method: 'PUT', body })
    await node.publish('x', '1')
    const got = await hook.received(3)
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(990)
    expect(got[2]?.headers['ce-skeinattempt']).toBe('1')
  })

  it('an answer that does not come in time, and a redirect, are failures', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    hook.answer = ({ headers }, response) => {
      if (headers['ce-skeinattempt'] === '2') {
        response.writeHead(302, { location: '/elsewhere' }).end()
      }
    }
    const body = { filter: 'x', maxDeliveries: 2, webhook: { url: hook.url, timeoutMs: 100 } }
    await call(path, { method: 'PUT', body })
    await node.publish('x', '1')
    await hook.received(2)
    await eventually(async () => (await call('/v1/dlq')).body.deadLetters.length === 1)
    expect((await call('/v1/dlq')).body.deadLetters[0].error).toBe('HTTP 302')
    expect(hook.got).toHaveLength(2)
  })

  it('a kept connection that the endpoint closes as it is used is no failure', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const used = new Set<unknown>()
    hook.answer = ({ headers }, response) => {
      const { socket } = response
      if (used.has(socket) && headers['ce-subject'] === 'x/2') socket?.destroy()
      else response.writeHead(204).end()
      used.add(socket)
    }
    const body = { filter: 'x/#', maxDeliveries: 1, webhook: { url: hook.url, concurrency: 1 } }
    await call(path, { method: 'PUT', body })
    await node.publish('x/1', '')
    await hook.received(1)
    await eventually(async () => (await call(path)).body.lag === 0)
    await node.publish('x/2', '')
    const got = await hook.received(3)
    expect(got.map(({ headers }) => headers['ce-skeinattempt'])).toEqual(['1', '1', '1'])
    expect((await call(path)).body.webhook.failures).toBe(0)
  })

  it('an answer of 2xx counts, whatever becomes of its body', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    hook.answer = (_got, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('x')
      setImmediate(() => response.destroy())
    }
    await call(path, { method: 'PUT', body: { filter: 'x', webhook: hook.url } })
    await node.publish('x', '1')
    await eventually(async () => (await call(path)).body.lag === 0)
    expect(hook.got).toHaveLength(1)
  })

  it('410 pauses, over a restart too, until it is registered again', async () => {
    const dataDir = await temporary()
    const first = await pushing({ dataDir })
    const hook = await endpoint()
    hook.answer = (_got, response) => void response.writeHead(410).end()
    const body = { filter: 'x', maxDeliveries: 1, webhook: hook.url }
    await first.call(path, { method: 'PUT', body })
    await first.node.publish('x', '1')
    await eventually(async () => (await first.call(path)).body.webhook.state === 'paused')
    expect((await first.call(path)).body).toMatchObject({
      open: false,
      webhook: { lastError: 'HTTP 410' }
    })
    await first.stop()
    const again = await doorsOf(first.node)
    expect((await again.call(path)).body.webhook.state).toBe('paused')
    hook.answer = (_got, response) => void response.writeHead(200).end()
    const put = await again.call(path, { method: 'PUT', body })
    expect(put.status).toBe(200)
    expect((await hook.received(2))[1]?.headers['ce-skeinattempt']).toBe('1')
    expect((await again.call(path)).body.webhook.state).toBe('pushing')
  })
})

describe('webhooks: registration', () => {
  it('goes on after a restart of the node; what was under way is pushed again', async () => {
    const dataDir = await temporary()
    const before = await pushing({ dataDir })
    const hook = await endpoint()
    const webhook = { url: hook.url, headers: { authorization: 'Bearer x' } }
    await before.call(path, { method: 'PUT', body: { filter: 'x', webhook } })
    await before.node.publish('x', '1')
    await hook.received(1)
    await hook.close()
    await before.node.publish('x', '2')
    await before.stop()
    await before.node.stop()
    const file = join(dataDir, 'webhooks.json')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await hook.open()
    const after = await pushing({ dataDir })
    const [, two] = await hook.received(2)
    expect(two?.text).toBe('2')
    expect(two?.headers).toMatchObject({ authorization: 'Bearer x', 'ce-skeinattempt': '1' })
    await after.call(path, { method: 'DELETE' })
    expect(JSON.parse(await readFile(file, 'utf8')).subscriptions).toEqual({})
  })

  it('is the only consumer; PUT without a webhook, or DELETE, ends it', async () => {
    const { call, node } = await pushing()
    const hook = await endpoint()
    const body = { filter: 'x', webhook: hook.url }
    await call(path, { method: 'PUT', body })
    const pull = { method: 'POST', body: { max: 1, waitMs: 5000 } }
    const refused = await call(`${path}/pull`, pull)
    expect(refused.status).toBe(409)
    expect(refused.body.detail).toContain('webhook')
    await call(path, { method: 'PUT', body: { filter: 'x' } })
    await node.publish('x', '1')
    expect((await call(`${path}/pull`, pull)).body.messages).toHaveLength(1)
    expect((await call(path)).body.webhook).toBeUndefined()
    // Somebody holds a message that is not acknowledged.
    expect((await call(path, { method: 'PUT', body })).body.code).toBe('ERR_SUBSCRIPTION_IN_USE')
    expect((await call(path, { method: 'DELETE' })).status).toBe(204)
    expect(hook.got).toEqual([])
  })

  it('put again with something else goes on with that', async () => {
    const { call, node } = await pushing()
    const [one, two] = [await endpoint(), await endpoint()]
    await call(path, { method: 'PUT', body: { filter: 'x', webhook: one.url } })
    await node.publish('x', '1')
    await one.received(1)
    await call(path, { method: 'PUT', body: { filter: 'x', webhook: two.url } })
    await node.publish('x', '2')
    expect(textsOf(await two.received(1))).toEqual(['2'])
    expect(one.got).toHaveLength(1)
  })

  it('a file that is malformed stops the start, and names itself', async () => {
    const dataDir = await temporary()
    const node = await tcpNode({ dataDir })
    await writeFile(join(dataDir, 'webhooks.json'), '{')
    await expect(doorsOf(node)).rejects.toMatchObject({ code: 'ERR_DATA_DIR' })
  })
})
