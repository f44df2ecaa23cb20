import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ERRORS } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { isLoopback, parseAuthority } from '../../src/sidecar/access/access.ts'
import { createSidecar, parseHostPort, serve } from '../../src/sidecar/index.ts'
import { BEN } from './fake-inbox.ts'
import { FakeNode, PEER } from './fake-node.ts'
import { TOKEN, startBench } from './http-client.ts'

describe('sidecar access', () => {
  it.each([
    ['127.0.0.1', 200],
    ['127.0.0.1:7400', 200],
    ['127.9.9.9:1', 200],
    ['localhost:80', 200],
    ['LOCALHOST', 200],
    ['localhost.', 200],
    ['[::1]:7400', 200],
    ['allowed.example', 200],
    ['allowed.example:99', 200],
    ['exact.example:8443', 200],
    ['exact.example:8444', 403],
    ['exact.example', 403],
    ['evil.example', 403],
    ['127.evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost.evil.example', 403],
    ['evil@127.0.0.1', 403],
    ['127.0.0.1:7400:1', 403],
    ['127.0.0.1/x', 403],
    ['[::1', 403],
    ['0.0.0.0', 403],
    ['[::ffff:127.0.0.1]', 403]
  ])('access: Host %s gets %i', async (host, status) => {
    const b = await startBench({ allowHosts: ['Allowed.example', 'exact.example:8443'] })
    const answer = await b.call('/v1/status', { headers: { host } })
    expect(answer.status).toBe(status)
    expect(answer.json()['code']).toBe(status === 403 ? 'ERR_HOST' : undefined)
  })

  it.each([
    [{ origin: 'https://console.example' }, 200],
    [{ origin: 'https://CONSOLE.example' }, 200],
    [{ origin: 'http://localhost:7400', host: 'localhost:7400' }, 200],
    [{ origin: 'http://localhost:7401', host: 'localhost:7400' }, 403],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'https://console.example.evil' }, 403],
    [{ origin: 'null' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'none' }, 200]
  ])('access: %o gets %i, with and without a token', async (headers, status) => {
    for (const insecure of [false, true]) {
      const b = await startBench({
        allowOrigins: ['https://console.example'],
        insecure,
        token: insecure ? undefined : TOKEN
      })
      const answer = await b.call('/v1/status', { headers: headers as Record<string, string> })
      expect(answer.status).toBe(status)
      expect(answer.json()['code']).toBe(status === 403 ? 'ERR_ORIGIN' : undefined)
    }
  })

  it.each([
    [{ token: null }, 401],
    [{ token: 'wrong' }, 401],
    [{ token: '' }, 401],
    [{ token: `${TOKEN}x` }, 401],
    [{ token: null, headers: { authorization: `Basic ${TOKEN}` } }, 401],
    [{ token: null, headers: { authorization: `bearer ${TOKEN}` } }, 200]
  ])('access: %o gets %i on every route but health', async (options, status) => {
    const b = await startBench()
    for (const path of ['/v1/status', '/metrics', '/v1/subscriptions', '/v1/peers']) {
      const answer = await b.call(path, options)
      expect(answer.status).toBe(status)
      expect(answer.headers['www-authenticate']?.startsWith('Bearer ')).toBe(
        status === 401 ? true : undefined
      )
      expect(answer.text).not.toContain(TOKEN)
    }
    for (const path of ['/healthz', '/readyz']) {
      const answer = await b.call(path, { token: null, headers: { host: 'evil.example' } })
      expect(answer.status).toBe(200)
    }
    const unknown = await b.call('/nothing', { token: null })
    expect(unknown.status).toBe(401)
  })

  it('access: a refused upload gets its answer and is then cut off', async () => {
    const b = await startBench()
    const req = b.open('/v1/publish/a?split=lines', { method: 'POST', token: 'wrong' })
    const closed = new Promise((resolve) => req.on('close', resolve))
    const status = new Promise((resolve) => {
      req.on('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      })
    })
    req.on('error', () => {})
    req.write('x\n')
    expect(await status).toBe(401)
    await closed
    expect(b.node.log).toHaveLength(0)
  })

  it('access: a preflight of a configured origin is answered without a token', async () => {
    const b = await startBench({ allowOrigins: ['https://console.example'] })
    const options = {
      method: 'OPTIONS',
      token: null,
      headers: { origin: 'https://console.example', 'access-control-request-headers': 'skein-key' }
    }
    const answer = await b.call('/v1/publish/a', options)
    expect(answer.status).toBe(204)
    expect(answer.headers['access-control-allow-origin']).toBe('https://console.example')
    expect(answer.headers['access-control-allow-headers']).toBe('skein-key')
    const foreign = { ...options, headers: { origin: 'https://evil.example' } }
    const refused = await b.call('/v1/publish/a', foreign)
    expect(refused.status).toBe(403)
    expect(refused.headers['access-control-allow-origin']).toBeUndefined()
  })

  it('access: without a token it listens on loopback only', () => {
    const create = (host: string) => () =>
      createSidecar(
        { node: new FakeNode(), logger: silentLogger },
        {
          host,
          port: 0,
          exactPort: true,
          token: undefined,
          allowHosts: [],
          allowOrigins: [],
          insecure: true
        }
      )
    expect(create('0.0.0.0')).toThrow(expect.objectContaining({ code: 'ERR_OPTIONS' }))
    expect(create('127.0.0.1')).not.toThrow()
  })

  it('access: host names are taken apart, not matched by their beginning', () => {
    expect(parseAuthority('[::1]:80')).toEqual({ host: '::1', port: '80' })
    expect(parseAuthority('a b')).toBeUndefined()
    expect(parseAuthority('')).toBeUndefined()
    expect(isLoopback('127.evil.example')).toBe(false)
    expect(isLoopback('127.0.0.1')).toBe(true)
  })
})

describe('sidecar server', () => {
  it('errors: every answer is a problem document of the same shape', async () => {
    const b = await startBench()
    const cases = [
      [await b.call('/nothing'), 404, 'ERR_NOT_FOUND'],
      [await b.call('/v1/publish/a'), 405, 'ERR_METHOD'],
      [await b.call('/v1/subscriptions/x', { method: 'POST' }), 405, 'ERR_METHOD'],
      [await b.call('/v1/status?x=1'), 400, 'ERR_OPTIONS'],
      [await b.call('/v1/subscriptions/%zz'), 400, 'ERR_OPTIONS']
    ] as const
    for (const [answer, status, code] of cases) {
      expect(answer.status).toBe(status)
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
      expect(answer.problem()).toMatchObject({
        type: `urn:skein:error:${code}`,
        title: ERRORS[code].meaning,
        status,
        code,
        retryable: false
      })
    }
    expect(cases[1][0].headers.allow).toBe('POST')
  })

  it('errors: a refusal that may pass says when to try again', async () => {
    const b = await startBench()
    b.node.isReady = false
    const answer = await b.call('/readyz')
    expect(answer.status).toBe(503)
    expect(answer.headers['retry-after']).toBe('1')
    expect((await b.call('/healthz')).status).toBe(200)
  })

  it.each([
    ['GET / HTTP/1.1\r\nbad header\r\n\r\n', 400],
    ['\x16\x03\x01 not http\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431]
  ])(
    'errors: broken HTTP (%#) gets a problem and the connection is closed',
    async (bytes, status) => {
      const b = await startBench()
      const { hostname, port } = new URL(b.sidecar.url)
      const text = await new Promise<string>((resolve, reject) => {
        let received = ''
        const socket = connect(Number(port), hostname, () => socket.write(bytes))
        socket.setEncoding('utf8')
        socket.on('data', (chunk: string) => {
          received += chunk
        })
        socket.on('end', () => resolve(received)).on('error', reject)
      })
      expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
      expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({ status })
    }
  )

  it('status: shows node, peers, topics and metrics', async () => {
    const b = await startBench()
    const status = (await b.call('/v1/status')).json()
    for (const key of [
      'peerId',
      'name',
      'mesh',
      'startedAt',
      'peers',
      'store',
      'topics',
      'outbox'
    ]) {
      expect(status).toHaveProperty(key)
    }
    expect((await b.call('/v1/peers')).json()).toMatchObject([
      {
        peerId: BEN,
        name: 'ben',
        state: 'suspect',
        custodian: true,
        lastSeen: '1970-01-01T00:00:01.000Z',
        connected: false
      }
    ])
    expect((await b.call('/v1/topics')).json()).toMatchObject([{ channel: 'orders' }])
    expect((await b.call('/v1/topology')).json()).toMatchObject({
      nodes: [
        { peerId: PEER, state: 'up', connectedTo: [] },
        { peerId: BEN, name: 'ben', state: 'down' }
      ]
    })
    const metrics = await b.call('/metrics')
    expect(metrics.text).toContain('skein_published_total 0')
    expect(metrics.headers['content-type']).toMatch(/^text\/plain; version=0.0.4/)
  })

  it.each(['websocket', 'h2c'])(
    'upgrade: a request that offers %s is answered like any other',
    async (protocol) => {
      const b = await startBench()
      const headers = { connection: 'Upgrade', upgrade: protocol }
      expect((await b.call('/v1/status', { headers })).status).toBe(200)
      expect((await b.post('/v1/publish/a', 'x', headers)).status).toBe(202)
      const foreign = { ...headers, origin: 'http://evil.example' }
      expect((await b.call('/v1/status', { headers: foreign })).status).toBe(403)
    }
  )

  it('listen: a taken port moves to the next, unless it was given', async () => {
    const first = await startBench()
    const port = Number(new URL(first.sidecar.url).port)
    const second = await startBench({ port, exactPort: false })
    expect(Number(new URL(second.sidecar.url).port)).toBeGreaterThan(port)
    await expect(startBench({ port, exactPort: true })).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      details: { port }
    })
  })

  it('listen: serve opens an embedded node and makes a token', async () => {
    const node = new FakeNode()
    const served = await serve(node, { http: '127.0.0.1:0', logger: silentLogger })
    const refused = await fetch(`${served.url}/v1/status`)
    expect(refused.status).toBe(401)
    await refused.text()
    const answer = await fetch(`${served.url}/v1/status`, {
      headers: { authorization: `Bearer ${served.token}` }
    })
    expect(await answer.json()).toMatchObject({ name: 'fake' })
    await served.stop()
    await served.stop()
    await expect(fetch(`${served.url}/healthz`)).rejects.toThrow('fetch failed')
    await expect(serve(node, { http: '7400' })).rejects.toMatchObject({ code: 'ERR_OPTIONS' })
    expect(parseHostPort('http', '[::1]:1')).toEqual({ host: '::1', port: 1 })
  })
})
