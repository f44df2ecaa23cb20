import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { ServiceReply } from '../../src/services/contract.ts'
import { REQUEST_PROTOCOL } from '../../src/services/request-holder.ts'
import { decodeRequestFrames, encodeRequestFrame } from '../../src/wire/request-frames.ts'
import { eventually } from '../processes/skein-process.ts'
import { untilAborted, known, servingMesh } from './serving-mesh.ts'

async function textsOf(replies: AsyncIterable<ServiceReply>): Promise<string[]> {
  const texts: string[] = []
  for await (const reply of replies) texts.push(reply.text())
  return texts
}

describe('requests: many replies of one node', () => {
  it('come in order, however many there are, from others and from this node', async () => {
    const { nodes, requests } = await servingMesh(2)
    const count = async function* (request: { text(): string }): AsyncGenerator<string> {
      for (let at = 0; at < Number(request.text()); at++) yield `${at}`
    }
    requests[1]!.reply('count', count, {})
    requests[0]!.reply('own', count, {})
    await known(nodes[0]!, 'count', [nodes[1]!])
    const expected = Array.from({ length: 300 }, (_, at) => `${at}`)
    expect(await textsOf(requests[0]!.requestMany('count', '300', {}))).toEqual(expected)
    expect(await textsOf(requests[0]!.requestMany('own', '300', {}))).toEqual(expected)
    expect(await textsOf(requests[0]!.requestMany('count', '0', {}))).toEqual([])
    expect((await requests[0]!.request('count', '300', {})).text()).toBe('0')
    await expect(requests[0]!.request('count', '0', {})).rejects.toMatchObject({
      code: 'ERR_RESPONDER'
    })
  })

  it('are made no faster than they are taken, and no more once nobody takes them', async () => {
    const { nodes, requests } = await servingMesh(2)
    let made = 0
    let ended = 0
    requests[1]!.reply(
      'endless',
      async function* () {
        try {
          for (;;) yield `${made++}`
        } finally {
          ended++
        }
      },
      {}
    )
    await known(nodes[0]!, 'endless', [nodes[1]!])
    const taken = requests[0]!.requestMany('endless', 'x', {})
    expect((await taken.next()).value?.text()).toBe('0')
    await eventually(() => made >= LIMITS.replyWindow)
    // Whatever else would still be made has been by the time another request has gone there and back.
    await requests[0]!.request('endless', 'x', {})
    made--
    expect(made).toBe(LIMITS.replyWindow)
    await taken.return?.()
    await eventually(() => ended === 2)
  })

  it('end with what broke them: a handler that fails, a link that drops, a wait that is too long', async () => {
    const { mesh, nodes, requests } = await servingMesh(2)
    requests[1]!.reply(
      'some',
      async function* (request) {
        yield 'one'
        if (request.text() === 'fail') throw new Error('no more')
        await new Promise<void>((resolve) => {
          request.signal.addEventListener('abort', () => resolve())
        })
      },
      {}
    )
    await known(nodes[0]!, 'some', [nodes[1]!])
    await expect(textsOf(requests[0]!.requestMany('some', 'fail', {}))).rejects.toMatchObject({
      code: 'ERR_RESPONDER',
      message: 'no more'
    })
    await expect(
      textsOf(requests[0]!.requestMany('some', 'wait', { timeoutMs: 50 }))
    ).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    const cut = requests[0]!.requestMany('some', 'wait', {})
    expect((await cut.next()).value?.text()).toBe('one')
    mesh.cut(nodes[0]!, nodes[1]!)
    await expect(cut.next()).rejects.toMatchObject({ code: 'ERR_STREAM' })
    await expect(textsOf(requests[0]!.requestMany('some', 'x', {}))).rejects.toMatchObject({
      code: 'ERR_NO_RESPONDERS'
    })
  })
})

describe('requests: answers of all', () => {
  it('are gathered until all have answered, there are enough, or the time is over', async () => {
    const { nodes, requests } = await servingMesh(3)
    requests.map((one, at) =>
      one.reply(
        'where',
        (request) => {
          if (request.text() === 'fail' && at === 1) throw new Error('not here')
          if (request.text() === 'hang' && at === 2) return untilAborted(request)
          return `${at}`
        },
        {}
      )
    )
    await known(nodes[0]!, 'where', nodes.slice(1))
    const ask = async (text: string, options: object = {}): Promise<string[]> =>
      (await requests[0]!.scatter('where', text, options)).map((one) => one.text()).toSorted()
    expect(await ask('all')).toEqual(['0', '1', '2'])
    expect(await ask('fail')).toEqual(['0', '2'])
    expect(await ask('hang', { timeoutMs: 100 })).toEqual(['0', '1'])
    expect(await ask('hang', { count: 2, timeoutMs: 60_000 })).toEqual(['0', '1'])
    await expect(ask('all', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_ABORTED'
    })
  })
})

describe('requests: peers that misbehave', () => {
  it('are cut off for nonsense, for one id twice, and for answers to nothing', async () => {
    const { nodes } = await servingMesh(2)
    const [a, b] = nodes
    const end = { kind: 'end', id: 1 } as const
    for (const bytes of [Uint8Array.of(255, 255), encodeRequestFrame(end)]) {
      const stream = await a!.engine.transport.open(b!.id, REQUEST_PROTOCOL)
      await stream.send(bytes)
      await expect(stream.frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({
        code: 'ERR_STREAM'
      })
    }
    expect(b!.engine.transport.score(a!.id)).toBeLessThan(0)
  })

  it('get ERR_BUSY for more than they may have under way, and ERR_NO_RESPONDERS for what is not served', async () => {
    const { nodes, requests } = await servingMesh(2)
    const [a, b] = nodes
    const handle = requests[1]!.reply('held', untilAborted, {})
    const stream = await a!.engine.transport.open(b!.id, REQUEST_PROTOCOL)
    const content = { payload: new Uint8Array(), contentType: undefined, headers: undefined }
    const ask = (id: number, service: string): Uint8Array =>
      encodeRequestFrame({
        kind: 'request',
        id,
        call: { service, timeoutMs: 0, window: 0, content }
      })
    await stream.send(ask(1, 'nothing'))
    const frames = stream.frames[Symbol.asyncIterator]()
    const next = async (): Promise<unknown> =>
      decodeRequestFrames((await frames.next()).value as Uint8Array)[0]
    expect(await next()).toMatchObject({ id: 1, code: 'ERR_NO_RESPONDERS', refused: true })
    const many = Array.from({ length: LIMITS.requestsInFlight + 1 }, (_, at) => ask(at + 2, 'held'))
    await stream.send(Buffer.concat(many))
    expect(await next()).toMatchObject({
      id: LIMITS.requestsInFlight + 2,
      code: 'ERR_BUSY',
      refused: true
    })
    expect(handle).toMatchObject({ running: LIMITS.serviceConcurrency })
    expect(handle.running + handle.waiting).toBe(LIMITS.requestsInFlight)
    stream.abort(new Error('done'))
    await eventually(() => handle.waiting === 0)
  })
})
