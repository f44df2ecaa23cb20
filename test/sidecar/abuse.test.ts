import { once } from 'node:events'
import type { ClientRequest } from 'node:http'
import { type Socket, connect } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { Logger } from '../../src/core/logger.ts'
import { type Bench, TOKEN, answerOf, startBench } from './http-client.ts'
import { served } from './served-node.ts'

const full = process.env['SKEIN_TEST_FULL'] === '1'

/** Unlike `once`, whatever error comes first. */
function closed(one: Socket | ClientRequest): Promise<void> {
  return new Promise((resolve) => void one.on('close', () => resolve()))
}

function dial(b: Bench): { socket: Socket; ended: Promise<string> } {
  const { hostname, port } = new URL(b.sidecar.url)
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => {})
  return { socket, ended: closed(socket).then(() => text) }
}

const head = (method: string, path: string, ...headers: string[]): string =>
  [
    `${method} ${path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${TOKEN}`,
    ...headers,
    '',
    ''
  ].join('\r\n')

const statusesOf = (text: string): string[] =>
  text.match(/HTTP\/1\.1 \d+/g)?.map((line) => line.slice(9)) ?? []

describe('sidecar abuse: slow and endless requests', () => {
  it('slowloris: who sends nothing, or headers for ever, is answered 408 and cut off', async () => {
    const b = await startBench({ headersTimeoutMs: 700 })
    const silent: ReturnType<typeof dial>[] = []
    // No more at once than wait to be accepted: of others, the system forgets that they called.
    for (let n = 0; n < (full ? 5000 : 500); n += 250) {
      silent.push(...Array.from({ length: 250 }, () => dial(b)))
      await b.call('/healthz')
    }
    const slow = dial(b)
    slow.socket.write('GET /v1/status HTTP/1.1\r\n')
    const drip = setInterval(() => slow.socket.write('x: y\r\n'), 20)
    onTestFinished(() => clearInterval(drip))
    // They do not keep others out.
    expect((await b.call('/v1/status')).status).toBe(200)
    const answers = await Promise.all([slow, ...silent].map(({ ended }) => ended))
    expect(new Set(answers.flatMap(statusesOf))).toEqual(new Set(['408']))
    expect(answers[0]).toContain('"code":"ERR_TIMEOUT"')
    expect((await b.call('/metrics')).text).toContain(
      `skein_http_refused_total{reason="timeout"} ${answers.length}`
    )
  })

  it('slow body: one that does not come in time is answered 408', async () => {
    const b = await startBench()
    const upload = b.open('/v1/publish/a', { method: 'POST' })
    const answer = answerOf(upload)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    upload.write('x')
    // The route has begun to read when its timer is there.
    await vi.waitUntil(() => vi.getTimerCount() > 0)
    await vi.advanceTimersByTimeAsync(LIMITS.httpBodyTimeoutMs)
    const refused = await answer
    expect(refused.status).toBe(408)
    expect(refused.problem()).toMatchObject({ code: 'ERR_TIMEOUT', status: 408 })
    expect(refused.headers['content-type']).toMatch(/^application\/problem/)
    expect(b.node.log).toHaveLength(0)
  })

  it.each([
    ['POST', '/v1/publish/a'],
    ['PUT', '/v1/subscriptions/a'],
    ['POST', '/v1/request/a'],
    ['POST', '/v1/send/ben/a']
  ])('endless body: %s %s is answered 413 at its limit, and cut off', async (method, path) => {
    const b = await startBench()
    const upload = b.open(path, { method, headers: { 'content-type': 'application/json' } })
    const cut = closed(upload)
    const answer = answerOf(upload)
    const chunk = Buffer.alloc(64 * 1024, 0x20)
    const pour = (): void => {
      while (!upload.destroyed && upload.write(chunk));
      if (!upload.destroyed) upload.once('drain', pour)
    }
    upload.on('error', () => {})
    pour()
    expect((await answer).problem().code).toBe('ERR_PAYLOAD_TOO_LARGE')
    await cut
    expect(b.node.log).toHaveLength(0)
  })

  it('1 GB: a body that says so is answered 413 before it comes', async () => {
    const b = await startBench()
    for (const path of ['/v1/publish/a', '/v1/subscriptions/a/ack']) {
      const { socket, ended } = dial(b)
      socket.write(
        head('POST', path, 'content-type: application/json', 'content-length: 1000000000')
      )
      await once(socket, 'data')
      socket.end()
      const answer = await ended
      expect(statusesOf(answer)[0]).toBe('413')
    }
  })
})

describe('sidecar abuse: malformed requests', () => {
  it('pipelining: requests on one connection are answered in their order', async () => {
    const b = await startBench()
    const { socket, ended } = dial(b)
    const publishes = Array.from(
      { length: 50 },
      (_, n) => `${head('POST', '/v1/publish/a', 'content-length: 2')}${String(n).padStart(2, '0')}`
    )
    socket.write(
      publishes.join('') + head('GET', '/nothing') + head('GET', '/healthz', 'connection: close')
    )
    const statuses = statusesOf(await ended)
    expect(statuses).toEqual([...publishes.map(() => '202'), '404', '200'])
    expect(b.node.log.map(({ payload }) => Number(Buffer.from(payload).toString()))).toEqual(
      publishes.map((_, n) => n)
    )
  })

  it('headers: many small ones are bounded by their bytes, and none is passed over', async () => {
    const b = await startBench()
    const flood = Array.from({ length: 3000 }, () => 'a:')
    const known = dial(b)
    known.socket.write(
      head(
        'POST',
        '/v1/publish/a',
        ...flood,
        'skein-nonsense: 1',
        'connection: close',
        'content-length: 0'
      )
    )
    expect(await known.ended).toContain('"option":"skein-nonsense"')
    const more = dial(b)
    more.socket.write(head('GET', '/healthz', ...flood.map((line) => `abcdefgh${line}`)))
    expect(statusesOf(await more.ended)).toEqual(['431'])
  })

  it.each([
    ['two lengths', ['content-length: 1', 'content-length: 2']],
    ['a length and chunks', ['content-length: 1', 'transfer-encoding: chunked']],
    ['a length that is none', ['content-length: 1x']]
  ])('smuggling: %s in one request are refused', async (_, headers) => {
    const b = await startBench()
    const { socket, ended } = dial(b)
    socket.write(`${head('POST', '/v1/publish/a', ...headers)}x`)
    expect(statusesOf(await ended)).toEqual(['400'])
    expect(b.node.log).toHaveLength(0)
  })

  it.each([
    ['/v1/publish/../../etc/passwd', '../../etc/passwd'],
    ['/v1/publish/%2e%2e%2f%2e%2e%2fetc', '../../etc'],
    ['/v1/publish/a%2Fb', 'a/b'],
    ['/v1/publish?topic=..%2F..', '../..']
  ])('paths: the topic of %s is %s, which is a name and nothing else', async (path, topic) => {
    const b = await startBench()
    expect((await b.post(path, 'x')).status).toBe(202)
    expect(b.node.log[0]?.topic).toBe(topic)
  })

  it('paths: none leads out of the routes', async () => {
    const b = await startBench()
    for (const path of [
      '/../package.json',
      '/%2e%2e/package.json',
      '/assets/..%2f..%2fpackage.json',
      '//etc/passwd'
    ]) {
      const { status } = await b.call(path)
      expect([path, status]).toEqual([path, 404])
    }
  })

  it('json: what is not as expected is refused by name, whatever it is', async () => {
    const b = await startBench()
    const bodies = [
      '{',
      '[]',
      'null',
      '"x"',
      '{"filter":',
      '{"filter":1}',
      '{"__proto__":{"filter":"a"}}',
      `${'['.repeat(100_000)}`
    ]
    for (const body of bodies) {
      const answer = await b.call('/v1/subscriptions/a', {
        method: 'PUT',
        body,
        headers: { 'content-type': 'application/json' }
      })
      expect([body.slice(0, 30), answer.status, answer.problem().code]).toEqual([
        body.slice(0, 30),
        400,
        'ERR_OPTIONS'
      ])
    }
    expect(
      (
        await b.call('/v1/subscriptions/a', {
          method: 'PUT',
          body: '{}',
          headers: { 'content-type': 'text/plain' }
        })
      ).status
    ).toBe(415)
  })
})

describe('sidecar abuse: clients', () => {
  it('connections: the one too many is closed, and there is room again after', async () => {
    const b = await startBench({ connections: 8 })
    const held = []
    for (let n = 0; n < 6; n++) {
      const reader = await b.stream('/v1/subscribe?filter=a')
      await reader.next()
      held.push(reader)
    }
    await expect(b.call('/healthz')).rejects.toThrow(/ECONNRESET|hang up/)
    held[0]?.close()
    await vi.waitUntil(
      async () => (await b.call('/healthz').catch(() => undefined))?.status === 200
    )
    expect((await b.call('/metrics')).text).toMatch(
      /skein_http_refused_total\{reason="client"\} [1-9]/
    )
  })

  it('tokens: many wrong ones are answered 429; the right one passes on this machine, and none is logged', async () => {
    const lines: unknown[] = []
    const log = (fields: object, text: string): void => void lines.push([fields, text])
    const logger: Logger = { error: log, warn: log, info: log, debug: log, child: () => logger }
    const b = await startBench({}, { logger })
    const guess = (n: number): Promise<number> =>
      b.call('/v1/status', { token: `a-guess-${n}` }).then(({ status }) => status)
    const statuses = []
    for (let n = 0; n < LIMITS.wrongTokens + 5; n++) statuses.push(await guess(n))
    expect(statuses.slice(0, LIMITS.wrongTokens)).toEqual(
      Array.from({ length: LIMITS.wrongTokens }, () => 401)
    )
    expect(statuses.slice(LIMITS.wrongTokens)).toEqual(Array.from({ length: 5 }, () => 429))
    const refused = await b.call('/v1/status', { token: 'again' })
    expect(refused.headers['retry-after']).toBe('1')
    // No token at all is no guess.
    expect((await b.call('/v1/status', { token: null })).status).toBe(401)
    expect((await b.call('/v1/status')).status).toBe(200)
    expect(lines).toHaveLength(1)
    expect(JSON.stringify(lines)).not.toMatch(/a-guess|again|secret/)
  })

  it('idempotency: one key from many connections at once is one message', async () => {
    const { call } = await served()
    const publish = (): Promise<Response> =>
      call('/v1/publish/a', { method: 'POST', body: 'x', headers: { 'idempotency-key': 'k' } })
    const answers = await Promise.all(Array.from({ length: 40 }, publish))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    const ids = await Promise.all(
      answers.map(async (answer) => ((await answer.json()) as { id: string }).id)
    )
    expect(new Set(ids).size).toBe(1)
    const { messages } = (await (await call('/v1/history?filter=a')).json()) as {
      messages: unknown[]
    }
    expect(messages).toHaveLength(1)
  })
})
