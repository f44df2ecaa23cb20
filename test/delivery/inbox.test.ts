import { describe, expect, it, onTestFinished } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Decoder } from '../../src/delivery/decoder.ts'
import { Inbox } from '../../src/delivery/inbox.ts'
import { createUnseal } from '../../src/delivery/inbox-unseal.ts'
import { heldOf } from '../../src/delivery/inbox-receipts.ts'
import type { LogRef, LogState } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { BodyBuilder, type EncodableMessage } from '../../src/wire/body.ts'
import { openReceipt, signReceipt } from '../../src/wire/inbox-receipt.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { sealMessage } from '../../src/wire/sealed-message.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { parseFilter, topicMatches } from '../../src/wire/topic.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'
import {
  carry,
  InboxNode,
  type InboxNodeInit,
  keyOf,
  message,
  peerOf,
  receiptOf,
  signerOf
} from './inbox-node.ts'

const [ANNA, BEN, CLEO] = [1, 2, 3]

async function node(init: InboxNodeInit): Promise<InboxNode> {
  const started = new InboxNode(init)
  onTestFinished(() => started.stop())
  return started.start()
}

/** A record in an inbox, with whatever messages. */
function recordOf(
  channel: string,
  messages: readonly EncodableMessage[],
  key = ANNA
): SealedRecord {
  const builder = new BodyBuilder()
  for (const one of messages) builder.add(one)
  return sealRecord(
    {
      session: '018f000000000001',
      channel,
      first: 1,
      count: messages.length,
      previous: undefined,
      before: undefined,
      time: { ms: 1_800_000_000_000, counter: 0 },
      body: builder.finish()
    },
    signerOf(key)
  )
}

describe('inbox: decoding', () => {
  const sealed = (text: string, sender = ANNA): EncodableMessage =>
    sealMessage(
      { suffix: '/alerts', payload: Buffer.from(text), headers: { a: 'b' }, key: 'k' },
      { sender: peerOf(sender), recipient: peerOf(BEN), random: seededRandom(3) }
    )
  const decoder = (): Decoder => new Decoder({ unseal: createUnseal(peerOf(BEN), keyOf(BEN)) })

  it('gives the messages of the own inbox opened, each in its place', () => {
    const record = recordOf(`@${peerOf(BEN)}`, [sealed('one'), sealed('two')])
    const messages = decoder().messagesOf(record)
    expect(messages.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['one', 'two'])
    expect(messages[1]).toMatchObject({
      suffix: '/alerts',
      headers: { a: 'b' },
      key: 'k',
      ttlMs: undefined
    })
  })

  it('keeps the place of what cannot be opened, which no filter matches', () => {
    const mixed = [
      sealed('one'),
      { suffix: '/plain', payload: Buffer.from('not sealed') },
      sealed('by another', CLEO),
      sealed('two')
    ]
    const decoding = decoder()
    const messages = decoding.messagesOf(recordOf(`@${peerOf(BEN)}`, mixed))
    const wanted = [`@${peerOf(BEN)}/#`, '#', '+/#', `@${peerOf(BEN)}`, '@+/#'].flatMap((text) => {
      try {
        return [parseFilter(text)]
      } catch {
        return []
      }
    })
    const seen = messages.map(({ suffix }) =>
      wanted.some((filter) => topicMatches(filter, `@${peerOf(BEN)}${suffix}`))
    )
    expect(seen).toEqual([true, false, false, true])
    expect(decoding.unreadable).toBe(2)
  })

  it('leaves other channels, and the inboxes of others, as they are', () => {
    const decoding = decoder()
    for (const channel of ['orders', `@${peerOf(CLEO)}`]) {
      const [one] = decoding.messagesOf(recordOf(channel, [sealed('one')]))
      expect(one).toMatchObject({ suffix: '', contentType: 'application/skein-sealed' })
    }
    expect(decoding.unreadable).toBe(0)
  })
})

describe('inbox: receipts', () => {
  /** Anna has sent messages to Ben, who has got those that `only` names. */
  async function exchange(
    count: number,
    only?: (first: number) => boolean
  ): Promise<{ anna: InboxNode; ben: InboxNode; log: LogRef }> {
    const anna = await node({ fill: ANNA })
    const ben = await node({ fill: BEN })
    for (let i = 1; i <= count; i++) await anna.outbox.send(message(ben.self, `${i}`))
    const [log] = anna.logsOf(ben.self)
    if (log === undefined) throw new Error('nothing was sent')
    await carry(anna, ben, log, only)
    return { anna, ben, log }
  }

  it('say what the recipient holds, and nothing of what it passed over', async () => {
    const { ben, log } = await exchange(6, (first) => first !== 3 && first !== 4)
    expect(openReceipt(await receiptOf(ben, log))).toEqual({
      recipient: ben.self,
      publisher: log.publisher,
      session: log.session,
      ranges: [
        { from: 1, to: 2 },
        { from: 5, to: 6 }
      ]
    })
  })

  it('are signed again only when more is held', async () => {
    const { anna, ben, log } = await exchange(2)
    const first = await receiptOf(ben, log)
    expect(await receiptOf(ben, log)).toBe(first)
    await anna.outbox.send(message(ben.self, 'third'))
    await carry(anna, ben, log)
    expect(openReceipt(await receiptOf(ben, log)).ranges).toEqual([{ from: 1, to: 3 }])
  })

  it('rest on a sync, and on what was there before it', async () => {
    const { anna, ben, log } = await exchange(1)
    await anna.outbox.send(message(ben.self, 'while the disk is syncing'))
    let synced: (() => void) | undefined
    const flush = ben.store.flush.bind(ben.store)
    ben.store.flush = async () => {
      await new Promise<void>((resolve) => (synced = resolve))
      await flush()
    }
    const signing = receiptOf(ben, log)
    await settled()
    await carry(anna, ben, log)
    expect(synced).toBeDefined()
    synced?.()
    expect(openReceipt(await signing).ranges).toEqual([{ from: 1, to: 1 }])
  })

  it('are given for no other channel than the own inbox', async () => {
    const { anna, log } = await exchange(1)
    expect(await anna.receipts.receiptFor(log)).toBeUndefined()
  })

  it('settle what they cover, and only that', async () => {
    const { anna, ben, log } = await exchange(4, (first) => first !== 2)
    anna.receipts.accept(await receiptOf(ben, log), ben.self)
    await settled()
    expect(anna.outbox.list().map(({ id }) => id.split('/')[2])).toEqual(['2'])
    expect(anna.store.log(log)?.floor).toBe(2)
    await carry(anna, ben, log)
    anna.receipts.accept(await receiptOf(ben, log), ben.self)
    await settled()
    expect(anna.outbox.list()).toEqual([])
    expect(anna.store.log(log)?.floor).toBe(5)
  })

  it('of anybody else, or for anybody else, change nothing', async () => {
    const { anna, ben, log } = await exchange(2)
    const { publisher, session } = log
    const ranges = [{ from: 1, to: 2 }]
    // Signed by Cleo, for her own inbox: a log that Anna has not.
    anna.receipts.accept(signReceipt({ publisher, session, ranges }, signerOf(CLEO)), 'x')
    // Signed by Cleo, in the name of Ben.
    const forged = Buffer.from(signReceipt({ publisher, session, ranges }, signerOf(CLEO)))
    forged.set(signerOf(BEN).publicKey, 2)
    expect(() => anna.receipts.accept(forged, 'x')).toThrow(
      expect.objectContaining({ code: 'ERR_RECORD' })
    )
    // Of another session.
    const other = { publisher, session: '018f0000000000ff', ranges }
    anna.receipts.accept(signReceipt(other, signerOf(BEN)), 'x')
    await settled()
    expect(anna.outbox.list()).toHaveLength(2)
    expect(await anna.store.values('receipts').entries()).toEqual([])
    anna.receipts.accept(await receiptOf(ben, log), 'x')
    await settled()
    expect(anna.outbox.list()).toHaveLength(0)
  })

  it('are kept over a restart, for whoever asks, until their log is gone', async () => {
    const disk = openMemory()
    const anna = await new InboxNode({ fill: ANNA, disk }).start()
    await anna.outbox.send(message(peerOf(BEN), 'hello'))
    const [log] = anna.logsOf(peerOf(BEN)) as [LogRef]
    const { publisher, session } = log
    const bytes = signReceipt({ publisher, session, ranges: [{ from: 1, to: 1 }] }, signerOf(BEN))
    anna.receipts.accept(bytes, 'x')
    await anna.stop()
    const again = await node({ fill: ANNA, disk })
    expect(again.receipts.held(log)).toEqual(bytes)
    expect(again.receipts.isReceived(log, 1)).toBe(true)
    expect(again.receipts.held({ ...log, channel: 'orders' })).toBeUndefined()
  })

  it('say nothing of what the store may have forgotten to lack, ever after', async () => {
    const { anna, ben, log } = await exchange(4)
    const state = ben.store.log(log) as LogState
    const voids = Array.from({ length: 60 }, (_, i) => ({ from: 3 + 2 * i, to: 3 + 2 * i }))
    const asked = ben.store.log.bind(ben.store)
    ben.store.log = () => ({ ...state, head: 124, voids })
    const many = openReceipt(await receiptOf(ben, log)).ranges
    expect(many).toHaveLength(60)
    expect(many[0]).toEqual({ from: 4, to: 4 })
    // Some of them come late, and the store knows of no others.
    ben.store.log = () => ({ ...state, head: 124, voids: voids.slice(0, 1) })
    expect(openReceipt(await receiptOf(ben, log)).ranges).toEqual([{ from: 4, to: 124 }])
    ben.store.log = asked
    anna.receipts.accept(await receiptOf(ben, log), ben.self)
    await settled()
    expect(anna.outbox.list()).toHaveLength(2)
  })

  it('tell what is held without holes and what lies above them', () => {
    const state = {
      floor: 3,
      head: 20,
      voids: [
        { from: 3, to: 4 },
        { from: 8, to: 9 },
        { from: 20, to: 20 },
        { from: 33, to: 34 }
      ],
      islands: [{ from: 30, to: 36 }]
    } as unknown as LogState
    expect(heldOf(state)).toEqual([
      { from: 5, to: 7 },
      { from: 10, to: 19 },
      { from: 30, to: 32 },
      { from: 35, to: 36 }
    ])
  })
})

describe('inbox: put together', () => {
  it('sends to a peer by name, and receives with the key of the node', async () => {
    const clock = new ManualClock()
    const throws = <Map extends object>(): Emitter<Map> =>
      new Emitter<Map>((error) => {
        throw error
      })
    // Store and publisher of a node that is started; the inbox is one of its own.
    const host = await node({ fill: ANNA, clock })
    const inbox = new Inbox(
      {
        store: host.store,
        publisher: host.publisher,
        transport: host.transport,
        clock,
        random: seededRandom(1),
        logger: silentLogger,
        signer: signerOf(ANNA)
      },
      {
        custodian: true,
        candidates: () => [],
        resolve: (peer) => {
          if (peer === 'ben') return peerOf(BEN)
          throw new SkeinError('ERR_PEER_UNKNOWN', `no peer ${peer} is known`)
        },
        nameOf: () => 'ben'
      },
      { outbox: throws(), receipts: throws() }
    )
    await inbox.start()
    const { topic, payload } = message('', 'hello')
    const sent = await inbox.send('ben', { topic, payload })
    expect(sent.to).toBe(peerOf(BEN))
    expect(inbox.outbox.list()).toMatchObject([{ toName: 'ben' }])
    await expect(inbox.send('carl', { topic, payload })).rejects.toMatchObject({
      code: 'ERR_PEER_UNKNOWN'
    })
    await inbox.stop()
    await expect(sent.delivered).rejects.toMatchObject({ code: 'ERR_STOPPED' })
    await inbox.stop()
  })
})
