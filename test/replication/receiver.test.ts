import { describe, expect, it, onTestFinished } from 'vitest'
import { BodyBuilder } from '../../src/wire/body.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { ForeignLog, type LoneEngine, createLoneEngine } from '../fixtures/lone-engine.ts'
import { settled } from '../fixtures/manual-clock.ts'

async function lone(): Promise<LoneEngine> {
  const lone = await createLoneEngine()
  onTestFinished(() => lone.engine.stop())
  return lone
}

const held = ({ engine }: LoneEngine): number => engine.store.usage().records

describe('receiver', () => {
  it('accepts and stores a good record, and ignores it the second time', async () => {
    const node = await lone()
    const record = new ForeignLog('a').record(['1', '2'])
    expect(await node.transport.receive('a', record.bytes)).toBe('accept')
    await settled()
    expect(held(node)).toBe(1)
    expect(await node.transport.receive('a', record.bytes)).toBe('ignore')
    expect(node.engine.receiver.stats).toMatchObject({ records: 1, messages: 2, duplicates: 1 })
  })

  it('rejects every cut and every flipped bit of a record, and stores nothing of it', async () => {
    const node = await lone()
    const { bytes } = new ForeignLog('a').record(['hello', 'world'])
    for (let at = 0; at < bytes.length; at++) {
      expect(await node.transport.receive('a', bytes.subarray(0, at))).toBe('reject')
      const flipped = Uint8Array.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
      expect(await node.transport.receive('a', flipped), `bit flipped in byte ${at}`).toBe('reject')
    }
    await settled()
    expect(held(node)).toBe(0)
    expect(await node.transport.receive('a', bytes)).toBe('accept')
  })

  it('rejects a record on another channel than its own', async () => {
    const node = await lone()
    expect(await node.transport.receive('b', new ForeignLog('a').record(['1']).bytes)).toBe(
      'reject'
    )
  })

  it('does not take a good head as proof of the same head under another signature', async () => {
    const node = await lone()
    const record = new ForeignLog('a').record(['1'])
    const head = record.bytes.subarray(0, record.headLength)
    expect(await node.transport.receive('a', head, false)).toBe('accept')
    const forged = Uint8Array.from(record.bytes)
    forged[record.headLength - 40] = (forged[record.headLength - 40] ?? 0) ^ 1
    expect(await node.transport.receive('a', forged)).toBe('reject')
    expect(await node.transport.receive('a', record.bytes)).toBe('accept')
  })

  it('rejects a body that its publisher signed but that is no list of messages', async () => {
    const node = await lone()
    const signer = createSigner(new Uint8Array(32).fill(3))
    const record = sealRecord(
      {
        session: '018f000000000001',
        channel: 'a',
        first: 1,
        count: 1,
        previous: undefined,
        before: undefined,
        time: { ms: 1_800_000_000_000, counter: 0 },
        body: Buffer.from('this is not protobuf')
      },
      signer
    )
    expect(await node.transport.receive('a', record.bytes)).toBe('reject')
    await settled()
    expect(held(node)).toBe(0)
  })

  it("says so when someone publishes in this node's own session, and keeps its own", async () => {
    const node = await lone()
    await node.publish('a', 'mine')
    const impostors: unknown[] = []
    node.engine.receiver.events.on('impostor', (impostor) => impostors.push(impostor))
    const builder = new BodyBuilder()
    builder.add({ suffix: '', payload: Buffer.from('not mine') })
    const record = sealRecord(
      {
        session: node.engine.publisher.session,
        channel: 'a',
        first: 2,
        count: 1,
        previous: new Uint8Array(32).fill(1),
        before: undefined,
        time: { ms: 1_800_000_000_000, counter: 5 },
        body: builder.finish()
      },
      createSigner(new Uint8Array(32).fill(7))
    )
    expect(await node.transport.receive('a', record.bytes)).toBe('ignore')
    expect(impostors).toMatchObject([{ peer: 'neighbour', sequence: 2 }])
    await settled()
    expect(held(node)).toBe(1)
  })

  it('opens a session above one of its own that comes back from a peer', async () => {
    const node = await lone()
    const before = node.engine.publisher.session
    const log = new ForeignLog('a', { key: 7, session: '01fff00000000001' })
    expect(await node.transport.receive('a', log.record(['from a lost disk']).bytes)).toBe('accept')
    expect(node.engine.publisher.session > '01fff00000000001').toBe(true)
    expect(node.engine.publisher.session).not.toBe(before)
  })

  it('does not race a live node under its own identity for the greatest session', async () => {
    const node = await lone()
    const impostors: unknown[] = []
    node.engine.receiver.events.on('impostor', (impostor) => impostors.push(impostor))
    await node.transport.receive(
      'a',
      new ForeignLog('a', { key: 7, session: '01fff00000000001' }).record(['1']).bytes
    )
    const own = node.engine.publisher.session
    await node.transport.receive(
      'a',
      new ForeignLog('a', { key: 7, session: '01fff10000000001' }).record(['2']).bytes
    )
    expect(node.engine.publisher.session).toBe(own)
    expect(impostors).toMatchObject([{ session: '01fff10000000001' }])
  })

  it('learns from the next session that the end of the one before is missing', async () => {
    const node = await lone()
    node.engine.membership.hold('a', 'all')
    const log = new ForeignLog('a')
    const [one, two] = [log.record(['1']), log.record(['2', '3'])]
    await node.transport.receive('a', one.bytes)
    await settled()
    const builder = new BodyBuilder()
    builder.add({ suffix: '', payload: Buffer.from('next life') })
    const next = sealRecord(
      {
        session: '018f000000000002',
        channel: 'a',
        first: 1,
        count: 1,
        previous: undefined,
        before: { session: '018f000000000001', sequence: 3, digest: two.digest },
        time: { ms: 1_800_000_000_000, counter: 9 },
        body: builder.finish()
      },
      log.signer
    )
    await node.transport.receive('a', next.bytes)
    await settled()
    expect(node.engine.gaps.in('a')).toMatchObject([
      { session: '018f000000000001', from: 2, to: 3 }
    ])
    await node.transport.receive('a', two.bytes)
    await settled()
    expect(node.engine.gaps.in('a')).toEqual([])
  })

  it('keeps the first of two records at one sequence and freezes the log there', async () => {
    const node = await lone()
    const forks: unknown[] = []
    node.engine.store.events.on('fork', (fork) => forks.push(fork))
    const one = new ForeignLog('a').record(['one'])
    const other = new ForeignLog('a').record(['other'])
    await node.transport.receive('a', one.bytes)
    await settled()
    await node.transport.receive('a', other.bytes)
    await settled()
    expect(forks).toMatchObject([{ sequence: 1 }])
    expect(held(node)).toBe(1)
  })

  it('knows a hole, and that it was filled', async () => {
    const node = await lone()
    const log = new ForeignLog('a')
    const [one, two, three] = [log.record(['1']), log.record(['2', '3']), log.record(['4'])]
    for (const record of [one, three]) await node.transport.receive('a', record.bytes)
    await settled()
    expect(node.engine.gaps.in('a')).toMatchObject([{ from: 2, to: 3 }])
    await node.transport.receive('a', two.bytes)
    await settled()
    expect(node.engine.gaps.in('a')).toEqual([])
    expect(node.engine.gaps.detected).toBe(1)
  })

  it('tells of a record of which only the head came', async () => {
    const node = await lone()
    const announced: unknown[] = []
    node.engine.receiver.events.on('announced', (event) => announced.push(event))
    const record = new ForeignLog('a').record(['1', '2'])
    expect(
      await node.transport.receive('a', record.bytes.subarray(0, record.headLength), false)
    ).toBe('accept')
    expect(announced).toMatchObject([{ log: { channel: 'a' }, last: 2 }])
  })
})
