import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { HistoryOptions, Message } from '../../src/delivery/contract.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import type { HybridTime } from '../../src/wire/hybrid-clock.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { decodeTimeCursor, encodeTimeCursor } from '../../src/wire/time-cursor.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import { type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'

const START = 1_800_000_000_000

async function lone(): Promise<LoneEngine> {
  const node = await createLoneEngine()
  onTestFinished(() => node.engine.stop())
  return node
}

async function read(
  { engine }: Pick<LoneEngine, 'engine'>,
  filter: string,
  options: HistoryOptions = {}
): Promise<Message[]> {
  const messages: Message[] = []
  for await (const message of engine.history.read(filter, options)) messages.push(message)
  return messages
}

const texts = (messages: readonly Message[]): string[] => messages.map((message) => message.text())

interface LogPlan {
  readonly channel: string
  readonly key: number
  readonly session: string
  /** Steps of the publisher's clock before each record, and the suffixes of its messages. */
  readonly records: readonly { step: number; suffixes: readonly string[] }[]
}

interface Said {
  readonly topic: string
  readonly text: string
  readonly time: HybridTime
  readonly publisher: string
  readonly session: string
  readonly sequence: number
}

const signers = [1, 2, 3].map((key) => createSigner(new Uint8Array(32).fill(key)))

/** Seals a log, and says what is in it. */
function seal(plan: LogPlan, payload = ''): { records: SealedRecord[]; said: Said[] } {
  const { channel, session } = plan
  const signer = signers[plan.key] as (typeof signers)[number]
  const records: SealedRecord[] = []
  const said: Said[] = []
  let [ms, first] = [START, 1]
  for (const [counter, { step, suffixes }] of plan.records.entries()) {
    ms += step
    const time = { ms, counter }
    const builder = new BodyBuilder()
    for (const [at, suffix] of suffixes.entries()) {
      const text = `${channel}/${plan.key}/${session}/${first + at}`
      builder.add({ suffix, payload: Buffer.from(text + payload) })
    }
    const record = sealRecord(
      {
        session,
        channel,
        first,
        count: suffixes.length,
        previous: records.at(-1)?.digest,
        before: undefined,
        time,
        body: builder.finish()
      },
      signer
    )
    const { publisher } = record.header
    for (const [at, suffix] of suffixes.entries()) {
      const text = `${channel}/${plan.key}/${session}/${first + at}`
      said.push({ topic: channel + suffix, text, time, publisher, session, sequence: first + at })
    }
    records.push(record)
    first += suffixes.length
  }
  return { records, said }
}

async function store(node: LoneEngine, records: readonly SealedRecord[]): Promise<void> {
  await node.engine.store.append(
    records.map((record) => ({ record, ageMs: 0 })),
    { sync: false }
  )
}

function inOrder(a: Said, b: Said): number {
  return (
    a.time.ms - b.time.ms ||
    a.time.counter - b.time.counter ||
    Number(a.publisher > b.publisher) - Number(a.publisher < b.publisher) ||
    Number(a.session > b.session) - Number(a.session < b.session) ||
    a.sequence - b.sequence
  )
}

const records = fc.array(
  fc.record({
    step: fc.integer({ min: 0, max: 20 }),
    suffixes: fc.array(fc.constantFrom('', '/x', '/y'), { minLength: 1, maxLength: 3 })
  }),
  { minLength: 1, maxLength: 12 }
)
// One publisher's hybrid clock never says a time twice, so each has one channel here.
const plans = fc.uniqueArray(
  fc.record({
    channel: fc.constantFrom('a', 'b'),
    key: fc.constantFrom(0, 1, 2),
    session: fc.constantFrom('018f000000000001', '018f000000000002'),
    records
  }),
  { minLength: 1, maxLength: 6, selector: ({ key, session }) => `${key}/${session}` }
)
const moment = fc.option(fc.integer({ min: 0, max: 200 }), { nil: undefined })
const dateOf = (ms: number | undefined): Date | undefined =>
  ms === undefined ? undefined : new Date(START + ms)

describe('history: the order of time', () => {
  it('merges the logs of all publishers and channels, in any pages', async () => {
    await fc.assert(
      fc.asyncProperty(
        plans,
        fc.constantFrom('#', 'a/#', 'b/x', '+/y'),
        fc.record({ since: moment, until: moment, page: fc.integer({ min: 1, max: 9 }) }),
        async (logs, filter, { page, ...range }) => {
          const node = await createLoneEngine()
          const sealed = logs.map((plan) => seal(plan))
          for (const { records } of sealed) await store(node, records)
          const pattern =
            filter === '#'
              ? /./
              : new RegExp(`^${filter.replace('+', '[ab]').replace('/#', '(/|$)')}`)
          const expected = sealed
            .flatMap(({ said }) => said)
            .filter(({ topic }) => pattern.test(topic))
            .filter(({ time }) => time.ms >= START + (range.since ?? 0))
            .filter(({ time }) => time.ms < START + (range.until ?? Infinity))
            .toSorted(inOrder)
          const options = { since: dateOf(range.since), until: dateOf(range.until) }
          expect(texts(await read(node, filter, options))).toEqual(expected.map(({ text }) => text))
          const pages: string[] = []
          for (let after: string | undefined; ;) {
            const messages = await read(node, filter, { ...options, after, limit: page })
            pages.push(...texts(messages))
            expect(messages.length).toBeLessThanOrEqual(page)
            if (messages.length === 0) break
            after = messages.at(-1)?.cursor
          }
          expect(pages).toEqual(expected.map(({ text }) => text))
          await node.engine.stop()
        }
      ),
      { numRuns: 60 }
    )
  })

  it('is the same with more logs than fit its memory', async () => {
    const node = await lone()
    const payload = 'x'.repeat(150 * 1024)
    const all = Array.from({ length: 24 }, (_, at) =>
      seal(
        {
          channel: `c${at % 4}`,
          key: at % 3,
          session: `018f0000000000${(at + 16).toString(16)}`,
          records: [3, 5, 7].map((step) => ({ step: step + (at % 5), suffixes: ['/x'] }))
        },
        payload
      )
    )
    expect(24 * 150 * 1024).toBeLessThan(LIMITS.historyBytes)
    expect(3 * 24 * 150 * 1024).toBeGreaterThan(LIMITS.historyBytes)
    for (const { records } of all) await store(node, records)
    const expected = all.flatMap(({ said }) => said).toSorted(inOrder)
    expect(
      (await read(node, '#')).map((message) => message.text().slice(0, -payload.length))
    ).toEqual(expected.map(({ text }) => text))
  })
})

describe('history: what is held', () => {
  it('shows what stands above a hole, and neither what has expired nor other topics', async () => {
    const node = await lone()
    const plan = { channel: 'a', key: 0, session: '018f000000000001' }
    const step = { step: 1, suffixes: ['/x'] }
    const { records } = seal({ ...plan, records: [step, step, step] })
    await store(node, [records[0] as SealedRecord, records[2] as SealedRecord])
    await node.publish('b/x', 'short', { ttlMs: 1000 })
    await node.publish('b/x', 'long', { ttlMs: 9000 })
    await node.clock.advance(2000)
    expect(texts(await read(node, '+/x'))).toEqual(['long', expect.any(String), expect.any(String)])
    expect(await read(node, 'a/y')).toEqual([])
    expect(await read(node, 'none/#')).toEqual([])
    expect(await read(node, '$subscribers')).toEqual([])
  })

  it('reads what was sent to this node, under @me', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [a, b] = [await mesh.start(), await mesh.start()]
    await mesh.settled()
    const inbox = await b.watch('@me/#', 'earliest')
    await a.engine.inbox.send(b.id, { topic: 'hi', payload: Buffer.from('secret') })
    await inbox.atLeast(1)
    expect(texts(await read(b, '@me/#'))).toEqual(['secret'])
    expect(await read(b, '#')).toEqual([])
  })

  it('goes on at another node with the cursor of the first', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [a, b] = [await mesh.start(), await mesh.start()]
    await mesh.settled()
    const there = await b.watch('a/#')
    for (const text of ['1', '2', '3', '4']) await a.publish('a/x', text)
    await there.atLeast(4)
    const [, second] = await read(a, 'a/#', { limit: 2 })
    expect(second).toMatchObject({ attempt: 0, late: false })
    await second?.ack()
    await second?.nack()
    expect(texts(await read(b, 'a/#', { after: second?.cursor ?? '' }))).toEqual(['3', '4'])
  })

  it('ends when its signal aborts, and refuses other cursors', async () => {
    const node = await lone()
    await node.publish('a', '1')
    await node.publish('a', '2')
    const abort = new AbortController()
    const seen: string[] = []
    const run = async (): Promise<void> => {
      for await (const message of node.engine.history.read('a', { signal: abort.signal })) {
        seen.push(message.text())
        abort.abort()
      }
    }
    await expect(run()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    expect(seen).toEqual(['1'])
    const subscription = node.engine.subscriptions.subscribe('a', { from: 'earliest' })
    const [first] = await subscription.pull(1, 1000)
    const refused = expect.objectContaining({ code: 'ERR_CURSOR_UNKNOWN' }) as Error
    for (const after of ['', 'x', first?.cursor ?? '']) {
      expect(() => node.engine.history.read('a', { after })).toThrow(refused)
    }
    const [held] = await read(node, 'a')
    const from = { cursor: held?.cursor ?? '' }
    await expect(node.engine.subscriptions.subscribe('a', { from }).ready).rejects.toThrow(refused)
  })
})

describe('history: cursors', () => {
  it('say the place they were made of, in 200 bytes at most, and nothing else is one', () => {
    const { publisher } = seal({
      channel: 'a',
      key: 0,
      session: '018f000000000001',
      records: [{ step: 0, suffixes: [''] }]
    }).said[0] as Said
    const place = fc.record({
      time: fc.record({ ms: fc.nat(2 ** 48 - 1), counter: fc.nat(0xffff) }),
      publisher: fc.constant(publisher),
      session: fc.constantFrom('018f000000000001', 'ffffffffffffffff'),
      sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
    })
    fc.assert(
      fc.property(place, fc.nat(), fc.string({ minLength: 1, maxLength: 3 }), (at, cut, other) => {
        const text = encodeTimeCursor(at)
        expect(text.length).toBeLessThanOrEqual(LIMITS.cursorBytes)
        expect(decodeTimeCursor(text)).toEqual(at)
        const where = cut % text.length
        const altered = text.slice(0, where) + other + text.slice(where + 1)
        if (altered === text) return
        expect(() => decodeTimeCursor(altered)).toThrow(
          expect.objectContaining({ code: 'ERR_CURSOR_UNKNOWN' }) as Error
        )
      })
    )
  })
})
