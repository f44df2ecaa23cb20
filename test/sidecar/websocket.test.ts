import { request } from 'node:http'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { eventually } from '../processes/skein-process.ts'
import { connect } from './socket-client.ts'
import { TOKEN, pushing } from './webhook-endpoint.ts'

describe('websocket: who may connect', () => {
  it('a token as a protocol, as web pages must, or as a header', async () => {
    const { url } = await pushing()
    const page = await connect(url)
    expect(page.socket.protocol).toBe('skein.v1')
    const headers = { authorization: `Bearer ${TOKEN}` }
    const program = await connect(url, [], { headers })
    expect(program.socket.protocol).toBe('')
    expect(await program.ask({ type: 'publish', topic: 'a' })).toMatchObject({ type: 'ok' })
  })

  it.each([
    ['no token', ['skein.v1'], {}, '401 ERR_TOKEN'],
    ['a wrong one', ['skein.v1', 'bearer.d3Jvbmc'], {}, '401 ERR_TOKEN'],
    ['a wrong header', [], { headers: { authorization: 'Bearer wrong' } }, '401 ERR_TOKEN'],
    ['a foreign origin', undefined, { origin: 'https://evil.example' }, '403 ERR_ORIGIN'],
    ['a foreign host', undefined, { headers: { host: 'evil.example' } }, '403 ERR_HOST'],
    [
      'a token alone',
      [`bearer.${Buffer.from(TOKEN).toString('base64url')}`],
      {},
      '400 ERR_OPTIONS'
    ],
    [
      'another protocol',
      ['mqtt'],
      { headers: { authorization: `Bearer ${TOKEN}` } },
      '400 ERR_OPTIONS'
    ]
  ])('%s is refused at the upgrade', async (_what, protocols, options, refusal) => {
    const { url } = await pushing()
    await expect(connect(url, protocols, options)).rejects.toThrow(refusal)
  })

  it('a request that offers another upgrade is answered as the plain one it is', async () => {
    const { node, url } = await pushing()
    const heard = node.subscribe('a')
    await heard.ready
    const status = await new Promise((resolve, reject) => {
      const post = request(`${url}/v1/publish/a`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${TOKEN}`,
          connection: 'Upgrade, HTTP2-Settings',
          upgrade: 'h2c',
          'http2-settings': 'AAMAAABkAAQAAP__',
          'content-type': 'text/plain'
        }
      })
      post.on('response', (response) => resolve(response.resume().statusCode))
      post.on('error', reject)
      post.end('text')
    })
    expect(status).toBe(202)
    expect((await heard.pull(1, 5000))[0]?.text()).toBe('text')
  })

  it('a plain GET has no answer but that it is a WebSocket', async () => {
    const { call } = await pushing()
    expect((await call('/v1/ws')).status).toBe(426)
  })
})

describe('websocket: messages', () => {
  it('what is published comes to who subscribed: JSON, text, bytes', async () => {
    const { url } = await pushing()
    const client = await connect(url)
    const opened = await client.ask({ type: 'subscribe', filter: 'a/#' })
    expect(opened).toEqual({ type: 'ok', ref: 1, subscription: 1, filter: 'a/#' })
    const big =
      '{"type":"publish","ref":"x","topic":"a/1","data":{"n":12345678901234567890},"key":"k"}'
    client.socket.send(big)
    const published = await client.take((frame) => frame.ref === 'x')
    expect(published).toMatchObject({ type: 'ok', sequence: 1 })
    const one = await client.next('message')
    expect(one).toMatchObject({ subscription: 1, cursor: expect.any(String) })
    expect(one.event).toMatchObject({
      skeinid: published.id,
      skeintopic: 'a/1',
      partitionkey: 'k',
      datacontenttype: 'application/json'
    })
    await client.ask({ type: 'publish', topic: 'a/2', data: 'text', headers: { color: 'red' } })
    const { event: text } = await client.next('message')
    expect(text).toMatchObject({ data: 'text', datacontenttype: 'text/plain', color: 'red' })
    await client.ask({ type: 'publish', topic: 'a/3', data_base64: 'AP8=' })
    expect((await client.next('message')).event).toMatchObject({ data_base64: 'AP8=' })
    const quoted = { type: 'publish', topic: 'a/4', data: 'q', contentType: 'application/json' }
    await client.ask(quoted)
    expect((await client.next('message')).event.data).toBe('q')
  })

  it('numbers stay as they were written', async () => {
    const { node, url } = await pushing()
    const heard = node.subscribe('a')
    await heard.ready
    const client = await connect(url)
    client.socket.send('{"type":"publish","ref":1,"topic":"a","data":{"n":1.50}}')
    expect((await heard.pull(1, 5000))[0]?.text()).toBe('{"n":1.50}')
  })

  it('a durable subscription is acknowledged, given back, and goes on after the connection', async () => {
    const { call, node, url } = await pushing()
    const first = await connect(url)
    const wanted = { type: 'subscribe', filter: 'a', durable: 's', maxInFlight: 2 }
    await first.ask(wanted)
    for (const text of ['1', '2', '3']) await node.publish('a', text)
    const one = await first.next('message')
    await first.next('message')
    expect(first.frames).toEqual([])
    const ids = [one.event.skeinid]
    expect(await first.ask({ type: 'ack', subscription: 1, ids })).toMatchObject({ acked: 1 })
    const three = await first.next('message')
    const again = await first.ask({ type: 'ack', subscription: 1, ids })
    expect(again).toMatchObject({ type: 'error', error: { code: 'ERR_MESSAGE_UNKNOWN' } })
    const nack = { type: 'nack', subscription: 1, ids: [three.event.skeinid], error: 'no' }
    expect(await first.ask(nack)).toMatchObject({ nacked: 1 })
    expect((await first.next('message')).event).toMatchObject({ data: '3', skeinattempt: 2 })
    first.socket.terminate()
    await eventually(async () => !(await call('/v1/subscriptions/s')).body.open)
    const second = await connect(url)
    await second.ask({ type: 'subscribe', durable: 's', ack: 'auto' })
    const rest = [await second.next('message'), await second.next('message')]
    expect(rest.map(({ event }) => [event.data, event.skeinattempt])).toEqual([
      ['2', 2],
      ['3', 3]
    ])
    await eventually(async () => (await call('/v1/subscriptions/s')).body.lag === 0)
  })

  it('another connection takes a durable subscription over, and the first one hears of it', async () => {
    const { node, url } = await pushing()
    const [one, two] = [await connect(url), await connect(url)]
    await one.ask({ type: 'subscribe', filter: 'a', durable: 's' })
    await two.ask({ type: 'subscribe', durable: 's' })
    expect(await one.next('error')).toMatchObject({
      subscription: 1,
      error: { code: 'ERR_SUBSCRIPTION_IN_USE' }
    })
    await node.publish('a', '1')
    await two.next('message')
    expect(one.frames).toEqual([])
    expect(await one.ask({ type: 'unsubscribe', subscription: 1 })).toMatchObject({
      error: { code: 'ERR_SUBSCRIPTION_UNKNOWN' }
    })
  })

  it('unsubscribe ends it, and what was not acknowledged comes again', async () => {
    const { node, url } = await pushing()
    const client = await connect(url)
    await client.ask({ type: 'subscribe', filter: 'a', durable: 's' })
    await node.publish('a', '1')
    expect((await client.next('message')).event.data).toBe('1')
    expect(await client.ask({ type: 'unsubscribe', subscription: 1 })).toMatchObject({ type: 'ok' })
    await client.ask({ type: 'subscribe', durable: 's' })
    const again = await client.next('message')
    expect(again).toMatchObject({ subscription: 2, event: { data: '1', skeinattempt: 2 } })
  })

  it('a client takes part in a work group', async () => {
    const { node, url } = await pushing()
    const client = await connect(url)
    const joined = await client.ask({ type: 'subscribe', filter: 'a', group: 'g', ack: 'auto' })
    expect(joined).toMatchObject({ type: 'ok', group: 'g' })
    await node.publish('a', '1')
    expect((await client.next('message')).event.data).toBe('1')
    await eventually(async () => (await node.groups())[0]?.lag === 0)
  })

  it('send reaches one peer', async () => {
    const { node, url } = await pushing()
    const inbox = node.subscribe('@me/#')
    await inbox.ready
    const client = await connect(url)
    const sent = await client.ask({ type: 'send', peer: node.peerId, topic: 't', data: [1] })
    expect(sent).toMatchObject({ type: 'ok', to: node.peerId })
    expect((await inbox.pull(1, 5000))[0]?.json()).toEqual([1])
  })
})

describe('websocket: mistakes', () => {
  it.each([
    ['{', 'frame'],
    ['[]', 'frame'],
    ['{"type":"shout","ref":1}', 'type'],
    ['{"type":"toString","ref":1}', 'type'],
    ['{"type":"publish","topic":"a"}', 'ref'],
    ['{"type":"publish","ref":1}', 'topic'],
    ['{"type":"publish","ref":1,"topic":"a","colour":1}', 'colour'],
    ['{"type":"publish","ref":1,"topic":"a","data":1,"data_base64":"AA=="}', 'data'],
    ['{"type":"publish","ref":1,"topic":"a","data_base64":"?"}', 'data_base64'],
    ['{"type":"publish","ref":1,"topic":"a","priority":10}', 'priority'],
    ['{"type":"subscribe","ref":1}', 'filter'],
    ['{"type":"subscribe","ref":1,"filter":"a","from":"soon"}', 'from'],
    ['{"type":"subscribe","ref":1,"filter":"a","ack":"manual"}', 'ack'],
    ['{"type":"serve","ref":1,"service":"a/b"}', 'service']
  ])('%s is answered with the problem, and the connection stays', async (text, option) => {
    const { url } = await pushing()
    const client = await connect(url)
    client.socket.send(text)
    const { error } = await client.next('error')
    expect(error).toMatchObject({ code: 'ERR_OPTIONS', details: { option } })
    expect(await client.ask({ type: 'publish', topic: 'a' })).toMatchObject({ type: 'ok' })
  })

  it('binary frames, and frames that are too large, close the connection', async () => {
    const { url } = await pushing()
    const [one, two] = [await connect(url), await connect(url)]
    one.socket.send(Buffer.from('{}'))
    expect(await one.closed).toBe(1003)
    two.socket.on('error', () => {})
    two.socket.send('x'.repeat(LIMITS.wsFrameBytes + 1))
    expect(await two.closed).toBe(1009)
  })
})

describe('websocket: services', () => {
  it('a client answers requests of the mesh, and asks others', async () => {
    const { node, url } = await pushing()
    const [server, client] = [await connect(url), await connect(url)]
    expect(await server.ask({ type: 'serve', service: 'price' })).toMatchObject({ type: 'ok' })
    const asked = client.ask({
      type: 'request',
      service: 'price',
      data: { sku: 'A' },
      timeoutMs: 5000
    })
    const push = await server.next('request')
    expect(push).toMatchObject({
      service: 'price',
      from: node.peerId,
      data: { sku: 'A' },
      contentType: 'application/json'
    })
    const reply = { type: 'reply', request: push.request, data: 7, headers: { a: 'b' } }
    expect(await server.ask(reply)).toMatchObject({ type: 'ok' })
    expect(await asked).toMatchObject({
      type: 'ok',
      data: 7,
      headers: { a: 'b' },
      responder: node.peerId
    })
    expect(await server.ask(reply)).toMatchObject({ error: { code: 'ERR_NOT_FOUND' } })
    // Bytes, both ways, and of an application of another kind.
    const raw = node.request('price', Uint8Array.of(1, 255))
    const bytes = await server.next('request')
    expect(bytes.data_base64).toBe('Af8=')
    await server.ask({ type: 'reply', request: bytes.request, data_base64: '/wE=' })
    expect([...(await raw).payload]).toEqual([255, 1])
  })

  it('an error goes to who asks, with its code', async () => {
    const { node, url } = await pushing()
    const server = await connect(url)
    await server.ask({ type: 'serve', service: 's' })
    const failed: Promise<unknown> = node.request('s', '').catch((error: unknown) => error)
    const { request: id } = await server.next('request')
    await server.ask({ type: 'reply', request: id, error: { message: 'sold out', code: 'E1' } })
    expect(await failed).toMatchObject({
      code: 'ERR_RESPONDER',
      message: 'sold out',
      details: { code: 'E1' }
    })
  })

  it('a connection that breaks fails its requests at once, and serves no more', async () => {
    const { node, url } = await pushing()
    const server = await connect(url)
    await server.ask({ type: 'serve', service: 's' })
    const asked = node.request('s', '', { timeoutMs: 60_000 })
    const failed: Promise<unknown> = asked.catch((error: unknown) => error)
    await server.next('request')
    server.socket.terminate()
    expect(await failed).toMatchObject({
      code: 'ERR_RESPONDER',
      details: { code: 'ERR_STREAM' }
    })
    await eventually(async () => {
      const failure: unknown = await node.request('s', '').catch((error: unknown) => error)
      return (failure as { code: string }).code === 'ERR_NO_RESPONDERS'
    })
  })

  it('unserve lets the client answer what it has', async () => {
    const { node, url } = await pushing()
    const server = await connect(url)
    await server.ask({ type: 'serve', service: 's', concurrency: 1 })
    const asked = node.request('s', '')
    const { request: id } = await server.next('request')
    const ended = server.ask({ type: 'unserve', service: 's' })
    await server.ask({ type: 'reply', request: id, data: 'last' })
    expect(await ended).toMatchObject({ type: 'ok' })
    expect((await asked).text()).toBe('last')
    expect(await server.ask({ type: 'unserve', service: 's' })).toMatchObject({
      error: { code: 'ERR_NOT_FOUND' }
    })
  })
})

describe('websocket: load and end', () => {
  it('a client that does not answer pings is cut off, one that does is not', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { url } = await pushing()
    const [silent, alive] = [await connect(url, undefined, { autoPong: false }), await connect(url)]
    await silent.ask({ type: 'publish', topic: 'a' })
    for (let beat = 0; beat < 4; beat++) {
      const pinged = new Promise((resolve) => alive.socket.once('ping', resolve))
      vi.advanceTimersByTime(LIMITS.wsPingMs)
      await pinged
      // Its answer has been read when that to what follows it is here.
      await alive.ask({ type: 'publish', topic: 'a' })
    }
    expect(await silent.closed).toBe(1006)
    expect(alive.socket.readyState).toBe(alive.socket.OPEN)
  })

  it('a slow reader costs a bounded buffer, gets everything in the end, and holds nobody up', async () => {
    const { call, node, url } = await pushing()
    const [slow, fast] = [await connect(url), await connect(url)]
    await slow.ask({ type: 'subscribe', filter: 'a' })
    await fast.ask({ type: 'subscribe', filter: 'a' })
    slow.socket.pause()
    const text = 'x'.repeat(64 * 1024)
    const count = 300
    for (let n = 0; n < count; n++) await node.publish('a', `${n} ${text}`)
    await eventually(() => fast.frames.length === count)
    // The rest of 19 MiB waits in its log.
    const figures = String((await call('/metrics')).body)
    const buffered = Number(/^skein_websocket_buffered_bytes (\d+)$/m.exec(figures)?.[1])
    expect(buffered).toBeGreaterThan(0)
    expect(buffered).toBeLessThan(LIMITS.sseBatchBytes + 4 * LIMITS.wsBatchBytes)
    slow.socket.resume()
    await eventually(() => slow.frames.length === count)
    expect(slow.frames.map(({ event }) => Number.parseInt(event.data, 10))).toEqual(
      Array.from({ length: count }, (_, n) => n)
    )
  })

  it('more commands than may be under way are read one after the other, and all are answered in order', async () => {
    const { url } = await pushing()
    const client = await connect(url)
    const count = LIMITS.wsCommands * 4
    for (let n = 0; n < count; n++) {
      client.socket.send(JSON.stringify({ type: 'publish', ref: n, topic: 'a', data: n }))
    }
    await eventually(() => client.frames.length === count)
    expect(client.frames.every(({ type }) => type === 'ok')).toBe(true)
    expect(client.frames.map(({ sequence }) => sequence).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: count }, (_, n) => n + 1)
    )
    expect(client.frames.find(({ ref }) => ref === 7).sequence).toBe(8)
  })

  it('large commands are read no faster than they are done', async () => {
    const { url } = await pushing()
    const client = await connect(url)
    const data = 'x'.repeat(LIMITS.payloadBytes)
    const count = 100
    for (let ref = 0; ref < count; ref++) {
      client.socket.send(JSON.stringify({ type: 'publish', ref, topic: 'a', data }))
    }
    await eventually(() => client.frames.length === count)
    expect(client.frames.every(({ type }) => type === 'ok')).toBe(true)
  })

  it('more requests than may wait are refused', async () => {
    const { url } = await pushing()
    const [server, client] = [await connect(url), await connect(url)]
    await server.ask({ type: 'serve', service: 's' })
    for (let n = 0; n <= LIMITS.wsLongCommands; n++) {
      client.socket.send(JSON.stringify({ type: 'request', ref: n, service: 's' }))
    }
    const refused = await client.next('error')
    expect(refused).toMatchObject({ ref: LIMITS.wsLongCommands, error: { code: 'ERR_BUSY' } })
  })

  it('a node that stops before its doors says so to who subscribed', async () => {
    const { node, url } = await pushing()
    const client = await connect(url)
    await client.ask({ type: 'subscribe', filter: 'a', durable: 's' })
    await node.stop()
    expect(await client.next('error')).toMatchObject({ subscription: 1 })
  })

  it('when the node stops, what is with the client may be answered, and it is told to go', async () => {
    const { node, stop, url } = await pushing()
    const client = await connect(url)
    await client.ask({ type: 'serve', service: 's' })
    const asked = node.request('s', '')
    const { request: id } = await client.next('request')
    const stopped = stop()
    await client.ask({ type: 'reply', request: id, data: 'last' })
    expect((await asked).text()).toBe('last')
    expect(await client.closed).toBe(1001)
    await stopped
  })
})
