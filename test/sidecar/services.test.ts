import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { eventually } from '../processes/skein-process.ts'
import { served } from './served-node.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void

/** A service that is asked over HTTP. */
async function webhook(handler: Handler): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => handler(request, response, Buffer.concat(chunks)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  onTestFinished(close)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, close }
}

describe('sidecar services', () => {
  it('services: a webhook gets the request with all that belongs to it, and its answer is the reply', async () => {
    const { call, node } = await served()
    const seen: unknown[] = []
    let seconds = 0
    const hook = await webhook((request, response, body) => {
      const { headers, method, url } = request
      seen.push([method, url, body.toString(), headers['content-type'], headers['skein-from']])
      seen.push([headers['skein-service'], headers['skein-header-a']])
      seconds = Number(headers['skein-timeout'])
      response.writeHead(201, { 'content-type': 'text/html', 'skein-header-b': 'é', 'x-own': '1' })
      response.end('<p>')
    })
    const put = await call('/v1/services/pri%20ce', { method: 'PUT', body: { webhook: hook.url } })
    expect(await put.json()).toEqual({
      service: 'pri ce',
      webhook: hook.url,
      concurrency: LIMITS.serviceConcurrency,
      running: 0,
      waiting: 0
    })
    const reply = await node.request('pri ce', { a: 1 }, { timeoutMs: 2500, headers: { a: 'ü' } })
    expect(reply.text()).toBe('<p>')
    expect(reply).toMatchObject({ contentType: 'text/html', headers: { b: 'é' } })
    expect(seen).toEqual([
      ['POST', '/hook', '{"a":1}', 'application/json', node.peerId],
      ['pri ce', Buffer.from('ü').toString('latin1')]
    ])
    expect(seconds).toBeGreaterThan(0)
    expect(seconds).toBeLessThanOrEqual(2.5)
    expect(await (await call('/v1/services/pri%20ce')).json()).toMatchObject({ webhook: hook.url })
  })

  it('services: what fails at the webhook is the responder’s error, with what it says', async () => {
    const { call, node } = await served()
    let status = 500
    let text: string | Buffer = 'sold out'
    const hook = await webhook((_request, response) => {
      response.writeHead(status, { 'content-type': 'text/plain', location: '/elsewhere' })
      response.end(text)
    })
    await call('/v1/services/shop', { method: 'PUT', body: { webhook: hook.url } })
    const failed = (message: string): object => ({ code: 'ERR_RESPONDER', message })
    await expect(node.request('shop', '')).rejects.toMatchObject(failed('sold out'))
    status = 302
    text = ''
    const moved = 'the webhook answered with HTTP 302'
    await expect(node.request('shop', '')).rejects.toMatchObject(failed(moved))
    status = 200
    text = Buffer.alloc(LIMITS.payloadBytes + 1)
    await expect(node.request('shop', '')).rejects.toMatchObject({
      code: 'ERR_RESPONDER',
      details: { code: 'ERR_PAYLOAD_TOO_LARGE' }
    })
    await hook.close()
    await expect(node.request('shop', '')).rejects.toMatchObject({ code: 'ERR_RESPONDER' })
    // Registered without an end, it stays.
    expect((await call('/v1/services/shop')).status).toBe(200)
  })

  it('services: who does not wait any more hangs up on the webhook', async () => {
    const { call, node } = await served()
    let left: () => void = () => undefined
    const gone = new Promise<void>((resolve) => (left = resolve))
    const hook = await webhook((_request, response) => void response.on('close', left))
    await call('/v1/services/slow', { method: 'PUT', body: { webhook: hook.url } })
    await expect(node.request('slow', '', { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT'
    })
    await gone
  })

  it('services: are put again, end by themselves or when they are deleted', async () => {
    const { call, node } = await served()
    const one = await webhook((_request, response) => void response.end('one'))
    const two = await webhook((_request, response) => void response.end('two'))
    const put = (body: object): Promise<Response> => call('/v1/services/s', { method: 'PUT', body })
    await put({ webhook: one.url })
    expect((await node.request('s', '')).text()).toBe('one')
    await put({ webhook: two.url })
    expect((await node.request('s', '')).text()).toBe('two')
    const least = await put({ webhook: one.url, concurrency: 1, ttlMs: 1000 })
    expect(await least.json()).toMatchObject({ concurrency: 1, ttlMs: 1000 })
    expect((await node.request('s', '')).text()).toBe('one')
    await eventually(async () => (await call('/v1/services/s')).status === 404)
    await expect(node.request('s', '')).rejects.toMatchObject({ code: 'ERR_NO_RESPONDERS' })
    // One that is gone takes its service with it where it was to say that it is there.
    await put({ webhook: two.url, ttlMs: 60_000 })
    await two.close()
    await eventually(async () => {
      const failure: unknown = await node.request('s', '').catch((error: unknown) => error)
      return (failure as { code: string }).code === 'ERR_NO_RESPONDERS'
    })
    await put({ webhook: one.url })
    expect((await call('/v1/services/s', { method: 'DELETE' })).status).toBe(204)
    await expect(node.request('s', '')).rejects.toMatchObject({ code: 'ERR_NO_RESPONDERS' })
    expect((await call('/v1/services/s', { method: 'DELETE' })).status).toBe(404)
  })

  it('services: without an end they outlive a restart, with one they do not', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-services-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const hook = await webhook((_request, response) => void response.end('here'))
    const before = await served({ dataDir })
    const put = (service: string, body: object): Promise<Response> =>
      before.call(`/v1/services/${service}`, { method: 'PUT', body })
    await put('kept', { webhook: hook.url, concurrency: 3 })
    await put('leased', { webhook: hook.url, ttlMs: 60_000 })
    await put('gone', { webhook: hook.url })
    await before.call('/v1/services/gone', { method: 'DELETE' })
    await before.stop()
    const after = await served({ dataDir })
    expect((await after.node.request('kept', '')).text()).toBe('here')
    expect(await (await after.call('/v1/services/kept')).json()).toMatchObject({ concurrency: 3 })
    expect((await after.call('/v1/services/leased')).status).toBe(404)
    expect((await after.call('/v1/services/gone')).status).toBe(404)
  })

  it.each([
    ['/v1/services/s', { webhook: 'ftp://a/b' }, 'webhook'],
    ['/v1/services/s', {}, 'webhook'],
    ['/v1/services/s', { webhook: 'http://a/b', concurrency: 0 }, 'concurrency'],
    ['/v1/services/s', { webhook: 'http://a/b', ttlMs: 1 }, 'ttlMs'],
    ['/v1/services/s', { webhook: 'http://a/b', url: 1 }, 'url'],
    ['/v1/services/s?x=1', { webhook: 'http://a/b' }, 'x'],
    ['/v1/services/a%2Fb', { webhook: 'http://a/b' }, 'service']
  ])('services: PUT %s %o is refused, naming the option', async (path, body, option) => {
    const { call } = await served()
    const answer = await call(path, { method: 'PUT', body })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
  })
})
