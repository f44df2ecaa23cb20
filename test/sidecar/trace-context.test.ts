import { createServer } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { served } from './served-node.ts'

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const tracestate = 'vendor=1'

describe('sidecar: trace context', () => {
  it('trace context: goes from the publisher’s request into the event, unless malformed or said otherwise', async () => {
    const { call } = await served()
    await call('/v1/subscriptions/all', { method: 'PUT', body: { filter: 'a/#' } })
    const own = `${traceparent.slice(0, -1)}0`
    for (const headers of [
      { traceparent, tracestate },
      { traceparent: '00-abc', tracestate },
      { traceparent, 'skein-header-traceparent': own }
    ]) {
      const answer = await call('/v1/publish/a/b', { method: 'POST', body: 1, headers })
      expect(answer.status).toBe(202)
    }
    const pulled = await call('/v1/subscriptions/all/pull', {
      method: 'POST',
      body: { max: 3, waitMs: 5000 }
    })
    const { messages } = (await pulled.json()) as { messages: Array<Record<string, unknown>> }
    expect(messages.map((event) => [event['traceparent'], event['tracestate']])).toEqual([
      [traceparent, tracestate],
      [undefined, undefined],
      [own, undefined]
    ])
  })

  it('trace context: goes from who asks over HTTP to the webhook that answers', async () => {
    const { call } = await served()
    const seen: IncomingHttpHeaders[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers)
      response.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const { port } = server.address() as AddressInfo
    const webhook = `http://127.0.0.1:${port}/`
    await call('/v1/services/price', { method: 'PUT', body: { webhook } })
    const headers = { traceparent, tracestate }
    const answer = await call('/v1/request/price', { method: 'POST', body: {}, headers })
    expect(answer.status).toBe(200)
    expect(seen[0]).toMatchObject({ traceparent, tracestate })
  })
})
