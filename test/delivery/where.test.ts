import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isSkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { Subject } from '../../src/delivery/attributes.ts'
import type { SubscribeOptions, WhereFilter } from '../../src/delivery/contract.ts'
import { PayloadFields } from '../../src/delivery/payload-fields.ts'
import { compileWhere } from '../../src/delivery/where.ts'
import type { PublishOptions } from '../../src/node/contract.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { openMemory } from '../../src/store/directory.ts'
import type { DecodedMessage } from '../../src/wire/body.ts'
import type { RecordHeader } from '../../src/wire/record.ts'
import { Collected, EngineMesh } from '../fixtures/engine-mesh.ts'
import { type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'

const header = {
  channel: 'orders',
  publisher: 'p1',
  session: '018f000000000001',
  first: 10
} as RecordHeader

function subject(message: Partial<DecodedMessage>): Subject {
  const whole = { suffix: '/x', payload: new Uint8Array(), ...message } as DecodedMessage
  return { header, messages: [whole], index: 0 }
}

function passes(filters: unknown, message: Partial<DecodedMessage>): boolean {
  return compileWhere(filters, new PayloadFields())?.(subject(message)) ?? true
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** The law in the fewest words: every attribute is looked up anew, every payload parsed anew. */
function naive(filter: WhereFilter, message: DecodedMessage): boolean {
  const [[dialect, value] = ['', undefined]] = Object.entries(filter) as [string, unknown][]
  if (dialect === 'not') return !naive(value as WhereFilter, message)
  if (dialect === 'all') return (value as WhereFilter[]).every((inner) => naive(inner, message))
  if (dialect === 'any') return (value as WhereFilter[]).some((inner) => naive(inner, message))
  return Object.entries(value as Record<string, string>).every(([name, expected]) => {
    const actual = valueOf(name, message)
    if (actual === undefined) return false
    if (dialect === 'exact') return actual === expected
    return dialect === 'prefix' ? actual.startsWith(expected) : actual.endsWith(expected)
  })
}

function valueOf(name: string, message: DecodedMessage): string | undefined {
  const own: Record<string, string | undefined> = {
    topic: `orders${message.suffix}`,
    contenttype: message.contentType,
    datacontenttype: message.contentType,
    key: message.key,
    partitionkey: message.key,
    publisher: 'p1',
    priority: `${message.priority ?? 0}`
  }
  if (Object.hasOwn(own, name)) return own[name]
  if (name.startsWith('data.')) return fieldOf(name.slice(5), message)
  const event: Record<string, string> = {
    id: 'p1/018f000000000001/10/orders',
    source: 'skein:p1',
    type: 'skein.message',
    subject: `orders${message.suffix}`
  }
  const all = new Map([...Object.entries(event), ...Object.entries(message.headers ?? {})])
  return all.get(name)
}

function fieldOf(field: string, { payload }: DecodedMessage): string | undefined {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(payload).toString())
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const found = new Map(Object.entries(value)).get(field) as unknown
  return ['string', 'number', 'boolean'].includes(typeof found) ? `${found as string}` : undefined
}

const names = fc.constantFrom(
  'topic',
  'key',
  'partitionkey',
  'contenttype',
  'publisher',
  'priority',
  'type',
  'id',
  'subject',
  'trace',
  '__proto__',
  'toString',
  'data.a',
  'data.b',
  'data.__proto__',
  'data.x.y'
)
const values = fc.constantFrom(
  'a',
  'b',
  'ab',
  'orders/x',
  'orders/',
  '/x',
  'p1',
  '0',
  '5',
  '1',
  '1.5',
  'true',
  'skein',
  'application/json',
  'skein.message',
  '1e+21'
)
const attributes = fc.dictionary(names, values, { minKeys: 1, maxKeys: 2 })
const where = fc.letrec<{ filter: WhereFilter }>((tie) => ({
  filter: fc.oneof(
    { depthSize: 'small', maxDepth: LIMITS.whereDepth - 2 },
    attributes.map((exact) => ({ exact })),
    attributes.map((prefix) => ({ prefix })),
    attributes.map((suffix) => ({ suffix })),
    fc.array(tie('filter'), { minLength: 1, maxLength: 2 }).map((all) => ({ all })),
    fc.array(tie('filter'), { minLength: 1, maxLength: 2 }).map((any) => ({ any })),
    tie('filter').map((not) => ({ not }))
  )
})).filter

const scalars = fc.oneof(values, fc.constantFrom(1, 1.5, 1e21, true, false, null, [1], { y: 'a' }))
const messages: fc.Arbitrary<DecodedMessage> = fc.record({
  suffix: fc.constantFrom('', '/x', '/ab'),
  payload: fc.oneof(
    fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'x.y'), scalars).map(json),
    fc
      .constantFrom('[1]', '"a"', '{bad', ' \n{"a":"b"}', '', 'null')
      .map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 8 })
  ),
  contentType: fc.constantFrom(undefined, 'application/json'),
  key: fc.option(values, { nil: undefined }),
  headers: fc.option(fc.dictionary(fc.constantFrom('trace', 'type', 'topic'), values), {
    nil: undefined
  }),
  priority: fc.constantFrom(undefined, 5),
  ttlMs: fc.constant(undefined),
  deliverAt: fc.constant(undefined),
  id: fc.constant(undefined),
  replyTo: fc.constant(undefined)
})

describe('where: what a filter says', () => {
  it('agrees with the plain reading of the dialects, for any filter and message', () => {
    fc.assert(
      fc.property(
        fc.array(where, { maxLength: 2 }),
        fc.array(messages, { minLength: 1, maxLength: 4 }),
        (filters, list) => {
          const fields = new PayloadFields()
          const compiled = compiledOf(filters, fields)
          // Twice: what is remembered of a payload changes nothing.
          for (const index of [...list.keys(), ...list.keys()]) {
            const message = list[index] as DecodedMessage
            const expected = filters.every((filter) => naive(filter, message))
            // The id says where the message stands in its record.
            const at = { header: { ...header, first: 10 - index }, messages: list, index }
            expect(compiled(at)).toBe(expected)
          }
        }
      ),
      { numRuns: 400 }
    )
  })

  it('an attribute that a message does not have is neither equal nor a beginning', () => {
    expect(passes([{ exact: { key: 'a' } }], {})).toBe(false)
    expect(passes([{ not: { exact: { key: 'a' } } }], {})).toBe(true)
    expect(passes([{ prefix: { 'data.a': 'x' } }], { payload: Buffer.from('x') })).toBe(false)
  })

  it('reads numbers and booleans of a payload as text, whatever its content type', () => {
    const payload = json({ total: 7.5, paid: true, items: [1] })
    expect(passes([{ exact: { 'data.total': '7.5', 'data.paid': 'true' } }], { payload })).toBe(
      true
    )
    expect(passes([{ prefix: { 'data.items': '1' } }], { payload })).toBe(false)
  })

  it('a header stands before what the message would show as an event, never before what it has', () => {
    const headers = { type: 'order.created', topic: 'other' }
    expect(passes([{ exact: { type: 'order.created', topic: 'orders/x' } }], { headers })).toBe(
      true
    )
    expect(passes([{ exact: { type: 'skein.message' } }], {})).toBe(true)
  })

  it('asks for nothing where it is empty', () => {
    expect(compileWhere([], new PayloadFields())).toBeUndefined()
  })
})

function compiledOf(filters: unknown, fields: PayloadFields): (subject: Subject) => boolean {
  return compileWhere(filters, fields) ?? (() => true)
}

function pathOf(filters: unknown): unknown {
  try {
    compileWhere(filters, new PayloadFields())
  } catch (error) {
    if (isSkeinError(error, 'ERR_OPTIONS')) return error.details['path']
    throw error
  }
  return 'no error'
}

function nested(levels: number): WhereFilter {
  return levels === 1 ? { exact: { key: 'a' } } : { not: nested(levels - 1) }
}

describe('where: what is refused', () => {
  it.each([
    [{ exact: { key: 'a' } }, 'where'],
    [[{}], 'where[0]'],
    [['x'], 'where[0]'],
    [[{ exact: { key: 'a' }, prefix: { key: 'a' } }], 'where[0]'],
    [[{ sql: 'TRUE' }], 'where[0].sql'],
    [[{ constructor: { key: 'a' } }], 'where[0].constructor'],
    [[{ exact: {} }], 'where[0].exact'],
    [[{ exact: { key: '' } }], 'where[0].exact.key'],
    [[{ exact: { '': 'a' } }], 'where[0].exact.'],
    [[{ exact: { 'data.': 'a' } }], 'where[0].exact.data.'],
    [[{ exact: { 'data.total': 7 } }], 'where[0].exact.data.total'],
    [[{ exact: { key: 'a' } }, { any: [] }], 'where[1].any'],
    [[{ all: [{ any: [{ not: [] }] }] }], 'where[0].all[0].any[0].not'],
    [[{ exact: { key: 'a'.repeat(LIMITS.whereBytes) } }], 'where'],
    [[nested(LIMITS.whereDepth)], 'no error']
  ])('%j at %s', (filters, path) => {
    expect(pathOf(filters)).toBe(path)
  })

  it('more filters or levels than there may be', () => {
    const many = Array.from({ length: LIMITS.whereTerms / 2 }, () => ({ exact: { key: 'a' } }))
    expect(pathOf(many)).toBe('no error')
    expect(pathOf([...many, { exact: { key: 'a' } }])).toBe(`where[${many.length}]`)
    expect(pathOf([nested(LIMITS.whereDepth + 1)])).toMatch(/^where\[0\](\.not){8}$/)
    const loop: { not?: unknown } = {}
    loop.not = loop
    expect(pathOf([loop])).toMatch(/^where\[0\](\.not){8}$/)
  })
})

async function lone(init: Parameters<typeof createLoneEngine>[0] = {}): Promise<LoneEngine> {
  const node = await createLoneEngine(init)
  onTestFinished(() => node.engine.stop())
  return node
}

async function publish(
  { engine }: Pick<LoneEngine, 'engine'>,
  topic: string,
  data: unknown,
  options: PublishOptions = {}
): Promise<void> {
  await engine.publisher.publish(outgoing(topic, data as object, options, 1024 * 1024), 'stored')
}

async function collect(
  { engine }: Pick<LoneEngine, 'engine'>,
  filter: string,
  options: SubscribeOptions
): Promise<Collected> {
  const subscription = engine.subscriptions.subscribe(filter, options)
  const collected = new Collected(subscription)
  await subscription.ready
  return collected
}

const NZ: readonly WhereFilter[] = [{ exact: { 'data.country': 'NZ' } }]

describe('where: subscriptions', () => {
  it('passes over what does not match, live and from disk, and the cursor moves on', async () => {
    const disk = openMemory()
    const node = await lone({ disk })
    const live = await collect(node, 'a/#', { where: NZ })
    for (let i = 0; i < 20; i++) {
      await publish(node, 'a/b', { country: i % 5 === 0 ? 'NZ' : 'AU', i })
    }
    expect(await live.atLeast(4)).toHaveLength(4)
    const stored = await collect(node, 'a/#', { where: NZ, from: 'earliest', durable: 'd' })
    expect(await stored.atLeast(4)).toHaveLength(4)
    await stored.subscription.stop()
    await node.engine.stop()
    const again = await lone({ disk, seed: 2 })
    const [status] = await again.engine.subscriptions.list()
    expect(status).toMatchObject({ lag: 0, where: NZ })
  })

  it('goes a long way past what does not match, in slices', async () => {
    const node = await lone()
    const filler = 'x'.repeat(60 * 1024)
    for (let i = 0; i < 40; i++) await publish(node, 'a', { country: 'AU', filler })
    await publish(node, 'a', { country: 'NZ' })
    const behind = await collect(node, 'a', { where: NZ, from: 'earliest' })
    expect(await behind.atLeast(1)).toEqual(['{"country":"NZ"}'])
  })

  it("'last' begins with the newest message of each topic where that one passes", async () => {
    const node = await lone()
    await publish(node, 'a/x', { country: 'NZ', n: 1 })
    await publish(node, 'a/y', { country: 'NZ', n: 2 })
    await publish(node, 'a/y', { country: 'AU', n: 3 })
    const last = await collect(node, 'a/#', { where: NZ, from: 'last' })
    await publish(node, 'a/z', { country: 'NZ', n: 4 })
    const texts = await last.atLeast(2)
    expect(texts.map((text) => (JSON.parse(text) as { n: number }).n)).toEqual([1, 4])
  })

  it('a durable one keeps its filters, and refuses others', async () => {
    const node = await lone()
    const filters = [{ exact: { 'data.country': 'NZ', key: 'k' } }]
    const first = await collect(node, 'a', { durable: 'd', where: filters })
    await first.subscription.stop()
    // What its owner does to it later changes nothing.
    filters[0] = { exact: { 'data.country': 'AU', key: 'k' } }
    const conflict = { code: 'ERR_SUBSCRIPTION_CONFLICT', details: { field: 'where' } }
    for (const where of [filters, [], NZ]) {
      expect(() => node.engine.subscriptions.subscribe('a', { durable: 'd', where })).toThrow(
        expect.objectContaining({ code: conflict.code }) as Error
      )
    }
    const bad = [{ exact: {} }]
    expect(() => node.engine.subscriptions.subscribe('a', { durable: 'd', where: bad })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' }) as Error
    )
    const same = [{ exact: { key: 'k', 'data.country': 'NZ' } }]
    for (const where of [same, undefined]) {
      const again = await collect(node, 'a', { durable: 'd', where })
      await publish(node, 'a', { country: 'AU' }, { key: 'k' })
      await publish(node, 'a', { country: 'NZ' }, { key: 'k' })
      expect(await again.atLeast(1)).toEqual(['{"country":"NZ"}'])
      await again.subscription.stop()
    }
    const plain = await collect(node, 'a', { durable: 'plain', where: [] })
    expect(plain.subscription.status().where).toBeUndefined()
    await plain.subscription.stop()
    expect(() => node.engine.subscriptions.subscribe('a', { durable: 'plain', where: NZ })).toThrow(
      expect.objectContaining({ code: conflict.code }) as Error
    )
  })

  it('chooses among what another node published, also while this one was off', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [a, b] = [await mesh.start(), await mesh.start()]
    await mesh.settled()
    const where = [{ any: [...NZ, { prefix: { trace: 'v' } }] }]
    const first = await collect(b, 'a/#', { durable: 'd', where })
    await publish(a, 'a/1', { country: 'AU' })
    await publish(a, 'a/2', { country: 'NZ' })
    expect(await first.atLeast(1)).toEqual(['{"country":"NZ"}'])
    await b.stop()
    await publish(a, 'a/3', { country: 'AU', n: 3 })
    await publish(a, 'a/4', { country: 'AU', n: 4 }, { headers: { trace: 'v1' } })
    await publish(a, 'a/5', { country: 'NZ', n: 5 })
    await b.start()
    const again = await collect(b, 'a/#', { durable: 'd' })
    expect(await again.atLeast(2)).toEqual(['{"country":"AU","n":4}', '{"country":"NZ","n":5}'])
  })
})
