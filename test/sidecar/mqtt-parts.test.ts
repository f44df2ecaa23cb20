import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import { MqttConnection, type Refusal } from '../../src/sidecar/mqtt/connection.ts'
import { KeptFilters, type Qos, nameOf } from '../../src/sidecar/mqtt/session-names.ts'
import { Outlet } from '../../src/sidecar/mqtt/outlet.ts'
import { RetainedValues } from '../../src/sidecar/mqtt/retained.ts'
import { Unacknowledged } from '../../src/sidecar/mqtt/unacknowledged.ts'
import { until } from './mqtt-client.ts'

const runs = process.env['SKEIN_TEST_FULL'] === '1' ? 1000 : 100

const byText = (one: string, other: string): number => (one < other ? -1 : 1)

/** What is read of bytes that come in pieces, and why no more. */
async function readPieces(
  pieces: readonly Uint8Array[]
): Promise<{ bytes: number; refusal: Refusal | undefined }> {
  let refusal: Refusal | undefined
  let bytes = 0
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const client = connect(port, '127.0.0.1')
  client.on('error', () => {})
  const [socket] = await once(server, 'connection')
  const connection = new MqttConnection(socket, {
    packetBytes: 300,
    connectBytes: 100,
    onRefused: (reason) => {
      refusal = reason
    }
  })
  connection.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  for (const piece of pieces) client.write(piece)
  client.end()
  await once(connection, 'close')
  server.close()
  return { bytes, refusal }
}

/** A packet of so many bytes, all in all. */
function packetOf(first: number, bytes: number): Buffer {
  const length = bytes - (bytes < 130 ? 2 : 3)
  const head = length < 128 ? [first, length] : [first, 0x80 | (length & 0x7f), length >> 7]
  // What stands in a body must not be taken for a head.
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 0xff)])
}

describe('mqtt: connection', () => {
  it('reads packets up to their limits, however they are cut', async () => {
    const sizes = fc.array(fc.integer({ min: 2, max: 300 }), { maxLength: 5 })
    const cut = fc.integer({ min: 1, max: 50 })
    await fc.assert(
      fc.asyncProperty(sizes, cut, async (lengths, step) => {
        const rest = lengths.map((bytes) => packetOf(0x30, bytes))
        const all = Buffer.concat([packetOf(0x10, 100), ...rest])
        const pieces = Array.from({ length: Math.ceil(all.length / step) }, (_, at) =>
          all.subarray(at * step, (at + 1) * step)
        )
        expect(await readPieces(pieces)).toEqual({ bytes: all.length, refusal: undefined })
      }),
      { numRuns: runs / 5 }
    )
  })

  it.each<[string, readonly Buffer[], Refusal]>([
    ['another first packet', [packetOf(0x30, 10)], 'not connect'],
    ['a large CONNECT', [packetOf(0x10, 101)], 'packet too large'],
    ['a large packet', [packetOf(0x10, 10), packetOf(0x30, 301)], 'packet too large'],
    ['a length without end', [Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80])], 'malformed length']
  ])('refuses %s', async (_what, pieces, refusal) => {
    expect((await readPieces(pieces)).refusal).toBe(refusal)
  })
})

describe('mqtt: names of subscriptions', () => {
  const text = fc.oneof(
    fc.string({ minLength: 1, maxLength: 200 }),
    fc.string({ minLength: 1, maxLength: 80, unit: 'grapheme' }),
    fc.constantFrom('a', 'a/b', 'a:b', '~', '%7E', 'a%2Fb', '#', '+/+')
  )
  const qos = fc.constantFrom<Qos>(0, 1, 2)

  it('fit what a name may have, and differ where client, filter or QoS do', () => {
    const one = fc.tuple(text, text, qos)
    fc.assert(
      fc.property(one, one, (a, b) => {
        expect(Buffer.byteLength(nameOf(...a))).toBeLessThanOrEqual(LIMITS.nameBytes)
        expect(nameOf(...a)).not.toContain('/')
        expect(nameOf(...a) === nameOf(...b)).toBe(a.every((value, at) => value === b[at]))
      }),
      { numRuns: runs }
    )
  })

  it('tell what a session had', async () => {
    await fc.assert(
      fc.asyncProperty(text, text, qos, async (clientId, filter, granted) => {
        const name = nameOf(clientId, filter, granted)
        const kept = new KeptFilters()
        const of = (durable: string, own: string) => ({ durable, filter: own }) as never
        await kept.load({
          subscriptions: () => Promise.resolve([of('billing', 'x'), of(name, filter)])
        })
        expect(kept.of(clientId)).toEqual([{ filter, qos: granted, name }])
        expect(kept.size).toBe(1)
        kept.remove(clientId, filter)
        expect(kept.size).toBe(0)
      }),
      { numRuns: runs }
    )
  })
})

describe('mqtt: messages that are not acknowledged', () => {
  it('have packet ids of their own, and are done once, over any number of connections', () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('send' as const), key: fc.nat({ max: 20 }) }),
      fc.record({ kind: fc.constantFrom('ack' as const, 'receive' as const), at: fc.nat() }),
      fc.constant({ kind: 'cut' as const })
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const window = new Unacknowledged(() => {})
        /** Those of this connection that the client has not acknowledged, by key. */
        const open = new Map<string, number>()
        const done: string[] = []
        const clashes: number[] = []
        for (const step of actions) {
          const ids = [...open.values()]
          if (step.kind === 'send') {
            const key = String(step.key)
            if (open.has(key) || done.includes(key)) continue
            const admission = window.admit(key, () => {
              open.delete(key)
              done.push(key)
            })
            if (admission.kind === 'had') continue
            if (ids.includes(admission.packetId)) clashes.push(admission.packetId)
            open.set(key, admission.packetId)
          } else if (step.kind === 'cut') {
            window.disconnect()
            open.clear()
          } else if (ids.length > 0) {
            const id = ids[step.at % ids.length] as number
            if (step.kind === 'ack') window.complete(id)
            else window.received(id)
          }
        }
        expect(clashes).toEqual([])
        expect(new Set(done).size).toBe(done.length)
      }),
      { numRuns: runs }
    )
  })

  it('keep their ids when they are sent again, and are not sent again once the client has them', () => {
    const window = new Unacknowledged(() => {})
    const ids = ['a', 'b'].map((key) => {
      const admission = window.admit(key, () => {})
      return admission.kind === 'send' ? admission.packetId : 0
    })
    window.received(ids[1] as number)
    window.disconnect()
    expect(window.released()).toEqual([ids[1]])
    expect(window.admit('a', () => {})).toEqual({ kind: 'send', packetId: ids[0], again: true })
    window.complete(ids[1] as number)
    let isDone = false
    expect(window.admit('b', () => (isDone = true))).toEqual({ kind: 'had' })
    expect(isDone).toBe(true)
  })
})

describe('mqtt: what is written to a client', () => {
  it('is bounded while its socket takes nothing, and goes on when it does', () => {
    const written: (() => void)[] = []
    const client = {
      closed: false,
      publish: (_packet: object, done: () => void) => void written.push(done)
    }
    let rooms = 0
    const outlet = new Outlet(client as never, () => void rooms++)
    const payload = new Uint8Array(1000)
    const message = { topic: 'x', payload, qos: 0, retain: false, dup: false } as const
    while (outlet.hasRoom) outlet.send(message, undefined)
    expect(written.length * 1000).toBeLessThanOrEqual(LIMITS.mqttWriteBytes)
    expect(rooms).toBe(0)
    for (const done of written) done()
    expect([outlet.hasRoom, rooms > 0]).toEqual([true, true])
  })
})

describe('mqtt: last values', () => {
  const all = async (values: RetainedValues, filter: string): Promise<string[]> => {
    const found: string[] = []
    for await (const { topic, payload } of values.matching(filter)) {
      found.push(`${topic}=${Buffer.from(payload).toString()}`)
    }
    return found.toSorted(byText)
  }

  it.each([
    ['from memory', undefined],
    ['from disk', 300]
  ])('are read %s alike', async (_where, bytes) => {
    const node = await createNode({
      mdns: false,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      logger: silentLogger
    })
    onTestFinished(() => node.stop())
    const values = new RetainedValues(node, bytes === undefined ? {} : { bytes })
    onTestFinished(() => values.stop())
    await node.publish('a/b', '1', { retain: true })
    await values.start()
    for (const [topic, text] of Object.entries({
      a: '2',
      'a/c': '3',
      b: '4',
      'a/b': '5',
      x: '6'
    })) {
      await node.publish(topic, text, { retain: true })
    }
    await node.publish('x', '', { retain: true })
    await until(async () => (await all(values, '#')).join(' ') === 'a/b=5 a/c=3 a=2 b=4')
    expect(await all(values, 'a/#')).toEqual(['a/b=5', 'a/c=3', 'a=2'])
    expect(await all(values, '+/c')).toEqual(['a/c=3'])
    expect(await all(values, 'b')).toEqual(['b=4'])
    expect(await all(values, 'x')).toEqual([])
  })

  it('are the newest by time, in whatever order they come', async () => {
    const messages = ['one', 'two', 'three'].map((text, at) => ({
      topic: '$retained/a',
      payload: Buffer.from(text),
      headers: {},
      time: new Date(1000 + at),
      publisher: 'p',
      session: 's',
      sequence: 9 - at
    }))
    for (const order of [messages, messages.toReversed()]) {
      const node = {
        topics: () => [],
        subscribe: () => ({
          ready: Promise.resolve(),
          status: () => ({ lag: 0 }),
          onMessage: (handler: (message: object) => void) => order.forEach((one) => handler(one))
        })
      }
      const values = new RetainedValues(node as never)
      await values.start()
      expect(await all(values, '+')).toEqual(['a=three'])
    }
  })
})
