import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { Reply } from '../../src/node/reply.ts'
import type { ServiceRequest } from '../../src/services/contract.ts'
import { eventually } from '../processes/skein-process.ts'
import { gate, known, servingMesh } from './serving-mesh.ts'

describe('requests: one answer', () => {
  it('is what the handler made of what was asked, with headers and types both ways', async () => {
    const { nodes, requests } = await servingMesh(2)
    const [a, b] = nodes
    const seen: ServiceRequest[] = []
    requests[1]?.reply(
      'price',
      (request) => {
        seen.push(request)
        const { sku } = request.json<{ sku: string }>()
        if (sku === 'raw')
          return new Reply(Uint8Array.of(1), { contentType: 'image/x', headers: { h: '1' } })
        return sku === 'none' ? undefined : { sku, price: 7 }
      },
      {}
    )
    await known(a!, 'price', [b!])
    const answer = await requests[0]!.request(
      'price',
      { sku: 'A1' },
      { headers: { trace: 't' }, timeoutMs: 9000 }
    )
    expect(answer.json()).toEqual({ sku: 'A1', price: 7 })
    expect(answer).toMatchObject({ responder: b!.id, contentType: 'application/json' })
    expect(seen[0]).toMatchObject({
      service: 'price',
      from: a!.id,
      contentType: 'application/json'
    })
    expect(seen[0]?.headers['trace']).toBe('t')
    expect(seen[0]?.timeoutMs).toBeGreaterThan(0)
    expect(seen[0]?.timeoutMs).toBeLessThanOrEqual(9000)
    const raw = await requests[0]!.request('price', { sku: 'raw' }, {})
    expect([...raw.payload]).toEqual([1])
    expect(raw).toMatchObject({ contentType: 'image/x' })
    expect(raw.headers['h']).toBe('1')
    const none = await requests[0]!.request('price', { sku: 'none' }, {})
    expect(none.text()).toBe('')
    expect(() => none.json()).toThrow(expect.objectContaining({ code: 'ERR_PAYLOAD' }))
  })

  it('comes from this node too, and nobody else is needed', async () => {
    const { nodes, requests } = await servingMesh(1)
    const handle = requests[0]!.reply('own', (request) => request.text().toUpperCase(), {})
    expect((await requests[0]!.request('own', 'abc', {})).text()).toBe('ABC')
    await handle.stop()
    await expect(requests[0]!.request('own', 'abc', {})).rejects.toMatchObject({
      code: 'ERR_NO_RESPONDERS'
    })
    expect(nodes[0]!.engine.services.host.names()).toEqual([])
  })

  it('is missing at once where nobody serves it', async () => {
    const { requests } = await servingMesh(2)
    const asked = requests[0]!.request('nobody', 'x', { timeoutMs: 3_600_000 })
    await expect(asked).rejects.toMatchObject({
      code: 'ERR_NO_RESPONDERS',
      details: { service: 'nobody' }
    })
    await expect(requests[0]!.scatter('nobody', 'x', {})).rejects.toMatchObject({
      code: 'ERR_NO_RESPONDERS'
    })
  })

  it('each of a thousand at once is the right one', async () => {
    const { nodes, requests } = await servingMesh(2)
    requests[1]!.reply('echo', (request) => request.payload, {})
    await known(nodes[0]!, 'echo', [nodes[1]!])
    const texts = Array.from({ length: 1000 }, (_, at) => `request ${at}`)
    const answers = await Promise.all(texts.map((text) => requests[0]!.request('echo', text, {})))
    expect(answers.map((answer) => answer.text())).toEqual(texts)
  })

  it('takes turns between those that serve it, and goes where less is under way', async () => {
    const { nodes, requests } = await servingMesh(3)
    const held = gate()
    for (const one of requests) {
      one.reply(
        'work',
        async () => {
          await held.passed
          return 'done'
        },
        {}
      )
    }
    await known(nodes[0]!, 'work', nodes.slice(1))
    const asked = Array.from({ length: 60 }, () => requests[0]!.request('work', 'x', {}))
    const share = (): number[] => nodes.map(({ engine }) => engine.services.host.stats.received)
    await eventually(() => share().reduce((sum, one) => sum + one, 0) === 60)
    held.open()
    await Promise.all(asked)
    for (const count of share()) expect(count).toBeGreaterThan(10)
  })
})

describe('requests: what goes wrong', () => {
  it('carries code and message of a handler that failed, and says whose they are', async () => {
    const { nodes, requests } = await servingMesh(2)
    requests[1]!.reply(
      'bad',
      (request) => {
        if (request.text() === 'skein') throw new SkeinError('ERR_STORE_FULL', 'no room')
        if (request.text() === 'own')
          throw Object.assign(new Error('sold'), { code: 'OUT_OF_STOCK' })
        if (request.text() === 'large') return new Uint8Array(LIMITS.payloadBytes + 1)
        throw new Error('plain')
      },
      {}
    )
    await known(nodes[0]!, 'bad', [nodes[1]!])
    const failure = async (text: string): Promise<unknown> =>
      requests[0]!.request('bad', text, {}).catch((error: unknown) => error)
    const peer = nodes[1]!.id
    const code = 'ERR_RESPONDER'
    expect(await failure('skein')).toMatchObject({
      code,
      message: 'no room',
      details: { code: 'ERR_STORE_FULL', peer }
    })
    expect(await failure('own')).toMatchObject({ code, details: { code: 'OUT_OF_STOCK' } })
    expect(await failure('large')).toMatchObject({
      code,
      details: { code: 'ERR_PAYLOAD_TOO_LARGE' }
    })
    expect(await failure('plain')).toMatchObject({
      message: 'plain',
      details: { code: 'ERR_INTERNAL' }
    })
  })

  it('ends at the deadline, for the handler too', async () => {
    const { nodes, requests } = await servingMesh(2)
    const reason = gate<unknown>()
    requests[1]!.reply(
      'slow',
      ({ signal }) =>
        new Promise<undefined>((resolve) => {
          signal.addEventListener('abort', () => {
            reason.open(signal.reason)
            resolve(undefined)
          })
        }),
      {}
    )
    await known(nodes[0]!, 'slow', [nodes[1]!])
    const asked = requests[0]!.request('slow', 'x', { timeoutMs: 60 })
    await expect(asked).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    expect(await reason.passed).toMatchObject({
      code: expect.stringMatching(/^ERR_(TIMEOUT|ABORTED)$/)
    })
  })

  it('is cancelled at the handler when its caller gives up, or goes', async () => {
    const { mesh, nodes, requests } = await servingMesh(2)
    const reasons: unknown[] = []
    const handle = requests[1]!.reply(
      'slow',
      ({ signal }) =>
        new Promise<undefined>((resolve) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason)
            resolve(undefined)
          })
        }),
      {}
    )
    await known(nodes[0]!, 'slow', [nodes[1]!])
    const caller = new AbortController()
    const asked = requests[0]!.request('slow', 'x', { signal: caller.signal })
    await eventually(() => handle.running === 1)
    caller.abort(new Error('changed my mind'))
    await expect(asked).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await eventually(() => reasons.length === 1 && handle.running === 0)
    const lost = requests[0]!.request('slow', 'x', { timeoutMs: 60_000 })
    await eventually(() => handle.running === 1)
    mesh.cut(nodes[0]!, nodes[1]!)
    await expect(lost).rejects.toMatchObject({
      code: 'ERR_STREAM',
      details: { peer: nodes[1]!.id }
    })
    await eventually(() => reasons.length === 2)
    expect(reasons).toMatchObject([{ code: 'ERR_ABORTED' }, { code: 'ERR_ABORTED' }])
    const next = requests[0]!.request('slow', 'x', { signal: AbortSignal.abort() })
    await expect(next).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })

  it('does not go where the link has dropped, and goes there again when it is back', async () => {
    const { mesh, nodes, requests } = await servingMesh(2)
    requests[1]!.reply('echo', (request) => request.payload, {})
    await known(nodes[0]!, 'echo', [nodes[1]!])
    await requests[0]!.request('echo', 'x', {})
    mesh.cut(nodes[0]!, nodes[1]!)
    await expect(requests[0]!.request('echo', 'x', {})).rejects.toMatchObject({
      code: 'ERR_NO_RESPONDERS'
    })
    mesh.heal(nodes[0]!, nodes[1]!)
    await eventually(() =>
      requests[0]!.request('echo', 'back', {}).then(
        () => true,
        () => false
      )
    )
  })

  it('goes elsewhere when a node does not serve it any more, unseen by a handler', async () => {
    const { nodes, requests } = await servingMesh(3)
    const stays = gate()
    const handles = requests.slice(1).map((one, at) =>
      one.reply(
        'work',
        async () => {
          if (at === 0) await stays.passed
          return `from ${at}`
        },
        { concurrency: 1 }
      )
    )
    await known(nodes[0]!, 'work', nodes.slice(1))
    const asked = Array.from({ length: 10 }, () => requests[0]!.request('work', 'x', {}))
    await eventually(() => handles[0]!.waiting > 0)
    const stopped = handles[0]!.stop()
    stays.open()
    await stopped
    const answers = (await Promise.all(asked)).map((answer) => answer.text())
    expect(answers.filter((text) => text === 'from 0')).toHaveLength(1)
    expect(answers.filter((text) => text === 'from 1')).toHaveLength(9)
  })

  it('is finished when the node that has it stops, as far as that takes no longer than it may', async () => {
    const { nodes, requests } = await servingMesh(2)
    const held = gate()
    const handle = requests[1]!.reply(
      'work',
      async () => {
        await held.passed
        return 'done'
      },
      {}
    )
    await known(nodes[0]!, 'work', [nodes[1]!])
    const asked = requests[0]!.request('work', 'x', {})
    await eventually(() => handle.running === 1)
    const stopping = nodes[1]!.stop()
    held.open()
    expect((await asked).text()).toBe('done')
    await stopping
  })

  it('is refused for names, options and payloads that cannot be', async () => {
    const { requests } = await servingMesh(1)
    const [one] = requests
    const reply = (name: string): unknown => one!.reply(name, () => 'x', {})
    for (const name of ['', 'a/b', 'x'.repeat(65), 'a\n']) {
      expect(() => reply(name)).toThrow(expect.objectContaining({ code: 'ERR_OPTIONS' }))
    }
    reply('twice')
    expect(() => reply('twice')).toThrow(/already/)
    expect(() => one!.reply('c', () => 'x', { concurrency: 0 })).toThrow(/concurrency/)
    const large = new Uint8Array(LIMITS.payloadBytes + 1)
    expect(() => one!.request('twice', large, {})).toThrow(
      expect.objectContaining({ code: 'ERR_PAYLOAD_TOO_LARGE' })
    )
    expect(() => one!.request('twice', 'x', { headers: { h: 'x'.repeat(9000) } })).toThrow(
      expect.objectContaining({ code: 'ERR_HEADERS_TOO_LARGE' })
    )
    expect(() => one!.request('twice', 'x', { timeoutMs: 0 })).toThrow(/timeoutMs/)
    for (let at = 1; at < LIMITS.presenceNames; at++) reply(`s${at}`)
    expect(() => reply('one more')).toThrow(/at most 64/)
  })
})
