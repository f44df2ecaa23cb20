import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { RequestOptions } from '../../src/node/contract.ts'
import { ReceivedReply } from '../../src/services/received.ts'
import type { Content } from '../../src/wire/request-frames.ts'
import { type Bench, startBench } from './http-client.ts'

interface Asked {
  readonly service: string
  readonly body: Buffer
  readonly options: RequestOptions
}

/** A node whose mesh answers everything in one way. */
async function answering(answer: Partial<Content>): Promise<{ bench: Bench; asked: Asked[] }> {
  const bench = await startBench()
  const asked: Asked[] = []
  bench.node.request = async (service, data, options = {}) => {
    asked.push({ service, body: Buffer.from(data as Uint8Array), options })
    const nothing = { payload: new Uint8Array(), contentType: undefined, headers: undefined }
    return new ReceivedReply({ ...nothing, ...answer }, 'peer-b')
  }
  return { bench, asked }
}

describe('sidecar request', () => {
  it('request: gives body, type, headers and deadline, and gets those of the reply', async () => {
    const { asked, bench } = await answering({
      payload: Buffer.from('{"price":7}'),
      contentType: 'application/json',
      headers: { trace: 'é', 'no name': 'x', split: 'a\r\nb: c' }
    })
    const answer = await bench.post('/v1/request/pri%20ce', Buffer.from([0, 255]), {
      'content-type': 'image/png',
      'skein-timeout': '0.5',
      'skein-header-Trace': 'abc'
    })
    expect(answer.status).toBe(200)
    expect(answer.json()).toEqual({ price: 7 })
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'skein-responder': 'peer-b',
      'skein-header-trace': Buffer.from('é').toString('latin1')
    })
    expect(Object.keys(answer.headers)).not.toContain('b')
    expect(asked).toMatchObject([
      {
        service: 'pri ce',
        body: Buffer.from([0, 255]),
        options: { contentType: 'image/png', timeoutMs: 500, headers: { trace: 'abc' } }
      }
    ])
  })

  it('request: a type that no header can hold is bytes', async () => {
    const { bench } = await answering({ contentType: 'text/html\r\nx: y' })
    const answer = await bench.post('/v1/request/price', 'x')
    expect(answer.headers).toMatchObject({ 'content-type': 'application/octet-stream' })
  })

  it.each([
    ['ERR_NO_RESPONDERS', 503],
    ['ERR_STREAM', 503],
    ['ERR_TIMEOUT', 504],
    ['ERR_RESPONDER', 502]
  ] as const)('request: %s is %d', async (code, status) => {
    const bench = await startBench()
    bench.node.request = () =>
      Promise.reject(new SkeinError(code, 'why', { details: { code: 'OWN' } }))
    const answer = await bench.post('/v1/request/price', 'x')
    expect(answer.problem()).toMatchObject({
      code,
      status,
      detail: 'why',
      details: { code: 'OWN' }
    })
  })

  it.each([
    ['/v1/request/price', { 'skein-timeout': '0' }, 'Skein-Timeout'],
    ['/v1/request/price', { 'skein-timeout': '3601' }, 'Skein-Timeout'],
    ['/v1/request/price', { 'skein-key': 'k' }, 'skein-key'],
    ['/v1/request/price?x=1', {}, 'x']
  ])('request: %s %o is refused, naming the option', async (path, headers, option) => {
    const { asked, bench } = await answering({})
    const answer = await bench.post(path, 'x', headers as Record<string, string>)
    expect(answer.problem()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(asked).toEqual([])
  })

  it('request: a body above the limit is 413, another method 405', async () => {
    const { bench } = await answering({})
    const large = await bench.post('/v1/request/price', Buffer.alloc(LIMITS.payloadBytes + 1))
    expect(large.status).toBe(413)
    expect((await bench.call('/v1/request/price')).status).toBe(405)
  })

  it('request: who goes away cancels it', async () => {
    const bench = await startBench()
    let aborted: () => void = () => undefined
    const cancelled = new Promise<void>((resolve) => (aborted = resolve))
    let asked: () => void = () => undefined
    const arrived = new Promise<void>((resolve) => (asked = resolve))
    bench.node.request = (_service, _data, options) =>
      new Promise((_, reject) => {
        options?.signal?.addEventListener('abort', () => {
          aborted()
          reject(new SkeinError('ERR_ABORTED', 'gone'))
        })
        asked()
      })
    const open = bench.open('/v1/request/price', { method: 'POST' })
    open.on('error', () => undefined)
    open.end('x')
    await arrived
    open.destroy()
    await expect(cancelled).resolves.toBeUndefined()
  })
})
