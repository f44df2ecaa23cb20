import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { type Bench, answerOf, startBench } from './http-client.ts'

/** A stop that cuts connections off takes longer than this; one that need not is done in some milliseconds. */
const AT_ONCE_MS = LIMITS.httpDrainMs / 2

async function dial(b: Bench): Promise<Socket> {
  const { hostname, port } = new URL(b.sidecar.url)
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  // Connections are accepted in turn: the one before has been taken when this is answered.
  await b.call('/healthz')
  return socket
}

async function msToStop(b: Bench): Promise<number> {
  const since = performance.now()
  await b.sidecar.stop()
  return performance.now() - since
}

describe('sidecar stop', () => {
  it('stop: a connection on which nothing was sent does not hold it up', async () => {
    const b = await startBench()
    const socket = await dial(b)
    const closed = once(socket, 'close')
    expect(await msToStop(b)).toBeLessThan(AT_ONCE_MS)
    socket.resume()
    await closed
  })

  it('stop: nor does one with half of its headers, or a fetch that its client gave up', async () => {
    const b = await startBench()
    const socket = await dial(b)
    socket.write('GET /v1/status HTTP/1.1\r\nHost: loc')
    for (const delayMs of [undefined, 0, 1, 2, 5]) {
      const client = new AbortController()
      const call = fetch(`${b.sidecar.url}/v1/subscribe?filter=a`, { signal: client.signal })
      if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs))
      client.abort()
      await call.catch(() => {})
    }
    await b.call('/healthz')
    expect(await msToStop(b)).toBeLessThan(AT_ONCE_MS)
  })

  it('stop: readiness goes first, what is under way is finished, nothing new is begun', async () => {
    const b = await startBench()
    const upload = b.open('/v1/publish/a', {
      method: 'POST',
      headers: { connection: 'keep-alive' }
    })
    const answer = answerOf(upload)
    upload.write('first half, ')
    const stream = await b.stream('/v1/subscribe?filter=a')
    await stream.next()
    await b.call('/healthz')
    const stopped = b.sidecar.stop()
    // A stream has no end of its own.
    expect(await stream.next()).toBeUndefined()
    const readiness = await b.call('/readyz', { token: null })
    expect([readiness.status, readiness.problem().code]).toEqual([503, 'ERR_STOPPED'])
    expect(readiness.headers['retry-after']).toBe('1')
    expect((await b.call('/healthz')).status).toBe(200)
    for (const path of ['/v1/status', '/v1/subscribe?filter=a']) {
      const refused = await b.call(path)
      expect([refused.status, refused.problem().code]).toEqual([503, 'ERR_STOPPED'])
      expect(refused.headers.connection).toBe('close')
    }
    const since = performance.now()
    upload.end('second half')
    expect((await answer).status).toBe(202)
    await stopped
    // The connection was to be kept, but there is nothing to keep it for.
    expect(performance.now() - since).toBeLessThan(AT_ONCE_MS)
    expect(Buffer.from(b.node.log[0]?.payload ?? []).toString()).toBe('first half, second half')
    await expect(b.call('/healthz')).rejects.toThrow('ECONNREFUSED')
  })

  it('stop: what does not end by itself is refused, and then cut off', async () => {
    const b = await startBench()
    const upload = b.open('/v1/publish/a', { method: 'POST' })
    const answer = answerOf(upload)
    upload.write('for ever')
    const lines = b.open('/v1/publish/a?split=lines', { method: 'POST' })
    const ended = answerOf(lines)
    lines.write('one\ntwo')
    await b.call('/healthz')
    while (b.node.log.length < 1) await new Promise((resolve) => setImmediate(resolve))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const stopped = b.sidecar.stop()
    // A stream of lines says how far it came, at once.
    const problem = (await ended).problem()
    expect(problem).toMatchObject({ code: 'ERR_STOPPED', details: { line: 2, published: 1 } })
    await vi.advanceTimersByTimeAsync(LIMITS.httpDrainMs)
    expect((await answer).problem().code).toBe('ERR_STOPPED')
    await stopped
  })
})
