import { describe, expect, it, onTestFinished } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { CUSTODY_PROTOCOL, decodeAnswer, encodeOffer } from '../../src/delivery/custody-frames.ts'
import { Decoder } from '../../src/delivery/decoder.ts'
import { createUnseal } from '../../src/delivery/inbox-unseal.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/mesh/memory-network.ts'
import type { LogRef } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { BodyBuilder, type EncodableMessage } from '../../src/wire/body.ts'
import { signReceipt } from '../../src/wire/inbox-receipt.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { sealMessage } from '../../src/wire/sealed-message.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { seededRandom } from '../../src/core/random.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'
import {
  InboxNode,
  type InboxNodeInit,
  keyOf,
  message,
  peerOf,
  seedOf,
  signerOf
} from './inbox-node.ts'

const [ANNA, BEN, CLEO, DORA, EVE] = [1, 2, 3, 4, 5]
const HOUR_MS = 3_600_000

interface Town {
  readonly network: MemoryNetwork
  readonly clock: ManualClock
  readonly add: (fill: number, init?: Partial<InboxNodeInit>) => Promise<InboxNode>
}

/** Nodes that all see each other. Anna asks whom she is connected to. */
function town(): Town {
  const clock = new ManualClock()
  const network = createMemoryNetwork({ clock })
  return {
    network,
    clock,
    add: async (fill, init = {}) => {
      const transport = network.transport({ privateKey: seedOf(fill) })
      const candidates = (): string[] =>
        transport
          .peers()
          .filter(({ connected }) => connected)
          .map(({ id }) => id)
      const node = new InboxNode({ fill, clock, transport, candidates, ...init })
      onTestFinished(() => node.stop())
      await node.start()
      await settled()
      return node
    }
  }
}

const textsAt = async (node: InboxNode, log: LogRef): Promise<string[]> => {
  const decoder = new Decoder({ unseal: createUnseal(peerOf(BEN), keyOf(BEN)) })
  const entries = await node.store.readLog(log, 1)
  return entries
    .flatMap(({ record }) => (record === undefined ? [] : decoder.messagesOf(record)))
    .map(({ payload }) => Buffer.from(payload).toString())
}

const benLog = (node: InboxNode): LogRef => node.logsOf(peerOf(BEN))[0] as LogRef

describe('custody', () => {
  it('send resolves when two custodians have a copy that only the recipient can read', async () => {
    const { add } = town()
    const disks = [openMemory(), openMemory()]
    const cleo = await add(CLEO, { disk: disks[0] as ReturnType<typeof openMemory> })
    const dora = await add(DORA, { disk: disks[1] as ReturnType<typeof openMemory> })
    const anna = await add(ANNA)
    const synced: boolean[] = []
    for (const { store } of [cleo, dora]) {
      const append = store.append.bind(store)
      store.append = (items, options) => {
        synced.push(options.sync)
        return append(items, options)
      }
    }
    const sent = await anna.outbox.send(
      message(peerOf(BEN), 'the third oak', { custodians: 2, topic: 'treasure', key: 'a secret' })
    )
    expect(synced).toEqual([true, true])
    expect([...(anna.outbox.list()[0]?.custodians ?? [])].toSorted()).toEqual(
      [cleo.self, dora.self].toSorted()
    )
    expect(sent.to).toBe(peerOf(BEN))
    for (const custodian of [cleo, dora]) {
      expect(await textsAt(custodian, benLog(custodian))).toEqual(['the third oak'])
      await custodian.stop()
    }
    for (const disk of disks) {
      const level = await disk.openLevel()
      await level.open()
      const found: string[] = []
      let bytes = 0
      for await (const [key, value] of level.iterator()) {
        bytes += value.length
        for (const secret of ['third oak', 'treasure', 'a secret']) {
          if (Buffer.concat([key, value]).includes(secret)) found.push(secret)
        }
      }
      expect(bytes).toBeGreaterThan(200)
      expect(found).toEqual([])
    }
  })

  it('goes to the next one when one refuses: no custodian, no room, the recipient', async () => {
    const { add } = town()
    const ben = await add(BEN)
    const cleo = await add(CLEO, { custodian: false })
    const dora = await add(DORA, { custodyBytes: 1000 })
    const eve = await add(EVE)
    const anna = await add(ANNA)
    for (let i = 0; i < 5; i++) {
      await anna.outbox.send(message(peerOf(BEN), `${i}`, { custodians: 1 }))
    }
    expect(anna.outbox.list().map(({ custodians }) => custodians)).toEqual(
      Array.from({ length: 5 }, () => [eve.self])
    )
    expect([cleo, dora].map(({ store }) => store.logs())).toEqual([[], []])
    expect(ben.custody.stats.refused).toBe(0)
  })

  it('too few: the call says so, and the message waits at its sender', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    const sending = anna.outbox.send(message(peerOf(BEN), 'one', { custodians: 3 }))
    await expect(sending).rejects.toMatchObject({
      code: 'ERR_CUSTODIANS',
      details: { wanted: 3, have: 1, mayBeDelivered: true }
    })
    expect(anna.outbox.list()).toMatchObject([{ bytes: 3, custodians: [cleo.self] }])
  })

  it('one that does not answer is not waited for', async () => {
    const { add, clock } = town()
    const cleo = await add(CLEO)
    const dora = await add(DORA)
    cleo.transport.handle(CUSTODY_PROTOCOL, () => undefined)
    dora.transport.handle(CUSTODY_PROTOCOL, () => undefined)
    const anna = await add(ANNA)
    let ended = ''
    const sending = anna.outbox.send(message(peerOf(BEN), 'one', { custodians: 1 }))
    sending.catch((error: { code: string }) => (ended = error.code))
    await settled()
    await clock.advance(LIMITS.custodyTimeoutMs)
    await settled()
    expect(ended).toBe('')
    await clock.advance(LIMITS.custodyTimeoutMs)
    await settled()
    expect(ended).toBe('ERR_CUSTODIANS')
  })

  it('stops asking when its signal aborts', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    cleo.transport.handle(CUSTODY_PROTOCOL, () => undefined)
    const anna = await add(ANNA)
    const abort = new AbortController()
    const sending = anna.outbox.send(
      message(peerOf(BEN), 'one', { custodians: 1, signal: abort.signal })
    )
    await settled()
    abort.abort()
    await expect(sending).rejects.toMatchObject({
      code: 'ERR_ABORTED',
      details: { mayBeDelivered: true }
    })
    expect(anna.outbox.size).toBe(1)
  })

  it('goes without what was sent in between, and takes it when it comes after all', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    for (let i = 1; i <= 6; i++) {
      await anna.outbox.send(message(peerOf(BEN), `${i}`, { custodians: i % 3 === 0 ? 1 : 0 }))
    }
    const log = benLog(cleo)
    expect(cleo.store.log(log)).toMatchObject({ floor: 1, head: 6, islands: [] })
    expect(await textsAt(cleo, log)).toEqual(['3', '6'])
    const [late] = await anna.store.readLog(log, 2, { to: 2 })
    const kept = await offer(anna, cleo, late?.record as SealedRecord)
    expect(kept).toEqual({ kept: true })
    expect(await textsAt(cleo, log)).toEqual(['2', '3', '6'])
  })

  it('lets go of what the recipient has signed for', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    for (let i = 1; i <= 5; i++) {
      await anna.outbox.send(message(peerOf(BEN), `${i}`, { custodians: i === 2 ? 0 : 1 }))
    }
    const { publisher, session, ...rest } = benLog(cleo)
    const sign = (...ranges: [number, number][]): Uint8Array =>
      signReceipt(
        { publisher, session, ranges: ranges.map(([from, to]) => ({ from, to })) },
        signerOf(BEN)
      )
    const log = { publisher, session, ...rest }
    cleo.receipts.accept(sign([1, 1], [3, 3], [5, 5]), 'x')
    await settled()
    expect(await textsAt(cleo, log)).toEqual(['4', '5'])
    cleo.receipts.accept(sign([3, 5]), 'x')
    await settled()
    expect(await textsAt(cleo, log)).toEqual([])
    // The sender learns of it here.
    anna.receipts.accept(cleo.receipts.held(log) as Uint8Array, cleo.self)
    await settled()
    expect(anna.outbox.list().map(({ id }) => id.split('/')[2])).not.toContain('5')
  })

  it('lets go later where the disk did not let it, and of nothing that comes again', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    await anna.outbox.send(message(peerOf(BEN), 'one', { custodians: 1 }))
    const log = benLog(cleo)
    const [sent] = await anna.store.readLog(log, 1)
    const { publisher, session } = log
    const receipt = signReceipt({ publisher, session, ranges: [{ from: 1, to: 1 }] }, signerOf(BEN))
    const raiseFloor = cleo.store.raiseFloor.bind(cleo.store)
    cleo.store.raiseFloor = () => Promise.reject(new SkeinError('ERR_STORE_WRITE', 'no'))
    cleo.receipts.accept(receipt, 'x')
    await settled()
    expect(await textsAt(cleo, log)).toEqual(['one'])
    cleo.store.raiseFloor = raiseFloor
    cleo.receipts.accept(receipt, 'x')
    await settled()
    expect(await textsAt(cleo, log)).toEqual([])
    expect(await offer(anna, cleo, sent?.record as SealedRecord)).toEqual({
      kept: false,
      reason: 'it was received'
    })
  })

  it('does not hold up a stop', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    cleo.transport.handle(CUSTODY_PROTOCOL, () => undefined)
    const anna = await add(ANNA)
    const sending = anna.outbox.send(message(peerOf(BEN), 'one', { custodians: 1 }))
    sending.catch(() => {})
    await settled()
    await anna.outbox.stop()
    await expect(sending).rejects.toMatchObject({ code: 'ERR_CUSTODIANS' })
  })

  it('drops a message when its time to live has passed', async () => {
    const { add, clock } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    for (const ttlMs of [HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS]) {
      await anna.outbox.send(message(peerOf(BEN), `${ttlMs / HOUR_MS}`, { custodians: 1, ttlMs }))
    }
    const log = benLog(cleo)
    await clock.advance(HOUR_MS - 60_000)
    expect(await textsAt(cleo, log)).toEqual(['1', '2', '4'])
    await clock.advance(HOUR_MS + 120_000)
    expect(await textsAt(cleo, log)).toEqual(['4'])
    expect(cleo.custody.stats).toEqual({ kept: 3, refused: 0, expired: 2 })
  })
})

/** Offers a record as a peer would that keeps to no rule. */
async function offer(
  from: InboxNode,
  to: InboxNode,
  record: SealedRecord,
  ageMs = 0
): Promise<unknown> {
  const stream = await from.transport.open(to.self, CUSTODY_PROTOCOL)
  try {
    await stream.send(encodeOffer({ record: record.bytes, ageMs }))
    for await (const frame of stream.frames) return decodeAnswer(frame)
    return 'closed'
  } finally {
    await stream.close()
  }
}

function recordBy(key: number, channel: string, one: Partial<EncodableMessage> = {}): SealedRecord {
  const builder = new BodyBuilder()
  const sealed = sealMessage(
    { suffix: '/a', payload: Buffer.from('x'), ttlMs: HOUR_MS },
    { sender: peerOf(key), recipient: peerOf(BEN), random: seededRandom(1) }
  )
  builder.add({ ...sealed, ...one })
  return sealRecord(
    {
      session: '018f000000000001',
      channel,
      first: 1,
      count: 1,
      previous: undefined,
      before: undefined,
      time: { ms: 1_800_000_000_000, counter: 0 },
      body: builder.finish()
    },
    signerOf(key)
  )
}

describe('custody: who asks too much', () => {
  const toBen = `@${peerOf(BEN)}`

  it.each([
    ['the message of another', recordBy(DORA, toBen), 0],
    ['a message to the custodian itself', recordBy(ANNA, `@${peerOf(CLEO)}`), 0],
    ['a message to nobody', recordBy(ANNA, '@nobody'), 0],
    ['what is no message to one peer', recordBy(ANNA, 'orders'), 0],
    ['what has lived its time', recordBy(ANNA, toBen), HOUR_MS]
  ])('%s is refused', async (_, record, ageMs) => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    expect(await offer(anna, cleo, record, ageMs)).toMatchObject({ kept: false })
    expect(cleo.store.logs()).toEqual([])
    expect(cleo.custody.stats).toMatchObject({ kept: 0, refused: 1 })
  })

  it.each([
    ['a message that is not sealed', recordBy(ANNA, toBen, { contentType: 'text/plain' })],
    ['a record that was changed', changed(recordBy(ANNA, toBen))]
  ])('%s lowers the standing of its bearer', async (_, record) => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    const before = cleo.transport.score(anna.self)
    await expect(offer(anna, cleo, record)).rejects.toMatchObject({ code: 'ERR_STREAM' })
    expect(cleo.transport.score(anna.self)).toBeLessThan(before)
    expect(cleo.store.logs()).toEqual([])
  })

  it('a copy that is there already is a copy', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    const record = recordBy(ANNA, toBen)
    expect(await offer(anna, cleo, record)).toEqual({ kept: true })
    expect(await offer(anna, cleo, record)).toEqual({ kept: true })
  })

  it('one sender gets a quarter of the room, others the rest', async () => {
    const { add } = town()
    const cleo = await add(CLEO, { custodyBytes: 100_000 })
    const dora = await add(DORA)
    const anna = await add(ANNA)
    const fill = async (node: InboxNode): Promise<number> => {
      for (let sent = 0; ; sent++) {
        const sending = node.outbox.send(message(peerOf(BEN), 'x'.repeat(5000), { custodians: 2 }))
        await sending.catch((error: SkeinError) => error.code)
        if (!node.outbox.list().at(-1)?.custodians.includes(cleo.self)) return sent
      }
    }
    const kept = [await fill(anna), await fill(dora)]
    expect(kept).toEqual([4, 4])
    expect(cleo.custody.usedBytes()).toBeLessThanOrEqual(50_000)
  })

  it('many offers at once are taken at a steady rate', async () => {
    const { add, clock } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    const record = recordBy(ANNA, toBen)
    const answers: unknown[] = []
    for (let i = 0; i <= LIMITS.custodyRecordsPerSecond; i++) {
      answers.push(await offer(anna, cleo, record))
    }
    expect(answers.filter((answer) => (answer as { kept: boolean }).kept)).toHaveLength(
      LIMITS.custodyRecordsPerSecond
    )
    await clock.advance(100)
    expect(await offer(anna, cleo, record)).toEqual({ kept: true })
  })

  it('nothing is taken while the disk takes nothing', async () => {
    const { add } = town()
    const cleo = await add(CLEO)
    const anna = await add(ANNA)
    cleo.store.assertWritable = () => {
      throw new SkeinError('ERR_STORE_FULL', 'full')
    }
    expect(await offer(anna, cleo, recordBy(ANNA, toBen))).toMatchObject({ kept: false })
  })
})

function changed(record: SealedRecord): SealedRecord {
  const bytes = Uint8Array.from(record.bytes)
  bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 1
  return { ...record, bytes }
}
