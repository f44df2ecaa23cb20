import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { WaitingMessage } from '../../src/delivery/outbox.ts'
import type { LogRef } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { decodeMessages } from '../../src/wire/body.ts'
import { signReceipt } from '../../src/wire/inbox-receipt.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'
import { InboxNode, type InboxNodeInit, message, peerOf, signerOf } from './inbox-node.ts'

const [ANNA, BEN, CLEO] = [1, 2, 3]
const DAY_MS = 24 * 3_600_000

async function node(init: Partial<InboxNodeInit> = {}): Promise<InboxNode> {
  const started = new InboxNode({ fill: ANNA, clock: new ManualClock(), ...init })
  onTestFinished(() => started.stop())
  return started.start()
}

/** Ben signs for messages of Anna's, as if he had them. */
function received(anna: InboxNode, from: number, to: number): void {
  const [{ publisher, session }] = anna.logsOf(peerOf(BEN)) as [LogRef]
  const receipt = { publisher, session, ranges: [{ from, to }] }
  anna.receipts.accept(signReceipt(receipt, signerOf(BEN)), peerOf(BEN))
}

/** What became of a promise by now. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  const state = promise.then(
    () => 'resolved',
    (error: unknown) => (error as { code: string }).code
  )
  await settled()
  return Promise.race([state, Promise.resolve('waiting')])
}

const deadLetters = async (anna: InboxNode): Promise<Record<string, unknown>[]> => {
  const entries = await anna.store.readJournal('$dlq/outbox', 0)
  return entries
    .flatMap(({ record }) =>
      record === undefined ? [] : decodeMessages(record.body, record.header.count)
    )
    .map((one) => ({
      ...one,
      payload: Buffer.from(one.payload).toString(),
      headers: { ...one.headers }
    }))
}

describe('outbox', () => {
  it('lists what waits, oldest first, until its receipt is here', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    const first = await anna.outbox.send(message(peerOf(BEN), 'one', { ttlMs: 5000 }))
    await clock.advance(1000)
    await anna.outbox.send(message(peerOf(CLEO), 'other', { topic: 'x' }))
    expect(anna.outbox.list()).toMatchObject([
      {
        id: first.id,
        to: peerOf(BEN),
        toName: 'ben',
        topic: 'alerts/disk',
        bytes: 3,
        since: new Date(1_800_000_000_000),
        expiresAt: new Date(1_800_000_005_000),
        custodians: []
      },
      { to: peerOf(CLEO), toName: undefined, topic: 'x', bytes: 5 }
    ])
    expect(first).toMatchObject({ to: peerOf(BEN), time: new Date(1_800_000_000_000) })
    expect(await outcome(first.delivered)).toBe('waiting')
    received(anna, 1, 1)
    expect(await outcome(first.delivered)).toBe('resolved')
    expect(anna.outbox.list()).toHaveLength(1)
    expect(anna.outbox.stats).toEqual({ sent: 2, received: 1, expired: 0 })
  })

  it('shows the record of a message nothing but its length', async () => {
    const anna = await node()
    const secret = 'the third oak'
    await anna.outbox.send(
      message(peerOf(BEN), secret, { topic: secret, key: secret, headers: { secret } })
    )
    const [log] = anna.logsOf(peerOf(BEN)) as [LogRef]
    const [entry] = await anna.store.readLog(log, 1)
    expect(Buffer.from(entry?.record?.bytes ?? []).includes('third oak')).toBe(false)
    expect(entry?.record?.header.channel).toBe(`@${peerOf(BEN)}`)
  })

  it('waits on over a restart, and lets go when the receipt comes', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const before = await new InboxNode({ fill: ANNA, clock, disk }).start()
    const sent = await before.outbox.send(message(peerOf(BEN), 'one'))
    await before.outbox.send(message(peerOf(BEN), 'two'))
    const listed = before.outbox.list()
    await before.stop()
    expect(await outcome(sent.delivered)).toBe('ERR_STOPPED')

    const after = await node({ clock, disk })
    expect(after.outbox.list()).toEqual(listed)
    received(after, 1, 2)
    await settled()
    expect(after.outbox.list()).toEqual([])
    expect(after.store.log(after.logsOf(peerOf(BEN))[0] as LogRef)?.floor).toBe(3)
    await after.stop()

    const last = await node({ clock, disk })
    expect(last.outbox.list()).toEqual([])
    expect(await last.store.values('outbox').entries()).toEqual([])
    expect(await last.store.values('outbox-messages').entries()).toEqual([])
  })

  it('knows after a crash what its receipts had said, and what had no row yet', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const before = await new InboxNode({ fill: ANNA, clock, disk }).start()
    const sent = []
    for (const text of ['one', 'two', 'three']) {
      sent.push(await before.outbox.send(message(peerOf(BEN), text)))
    }
    received(before, 2, 2)
    await settled()
    // The last one lost its row, as in a crash between its record and its row.
    await before.store.values('outbox').delete(sent[2]?.id ?? '')
    await before.store.values('outbox-messages').delete(sent[2]?.id ?? '')
    await before.stop()
    const after = await node({ clock, disk })
    expect(after.outbox.list().map(({ id, topic }) => [id, topic])).toEqual([
      [sent[0]?.id, 'alerts/disk'],
      [sent[2]?.id, '']
    ])
    received(after, 1, 3)
    await settled()
    expect(after.outbox.list()).toEqual([])
    expect(after.store.log(after.logsOf(peerOf(BEN))[0] as LogRef)?.floor).toBe(4)
  })

  it('takes a receipt that is faster than its own disk', async () => {
    const anna = await node()
    await anna.outbox.send(message(peerOf(BEN), 'one'))
    received(anna, 1, 5)
    await settled()
    const sent = await anna.outbox.send(message(peerOf(BEN), 'two'))
    expect(await outcome(sent.delivered)).toBe('resolved')
    expect(anna.outbox.list()).toEqual([])
    expect(await anna.store.values('outbox').entries()).toEqual([])
  })

  it('never trims what is under way: two at once, the later one received first', async () => {
    const anna = await node()
    await Promise.all([
      anna.outbox.send(message(peerOf(BEN), 'one')),
      anna.outbox.send(message(peerOf(BEN), 'two'))
    ])
    received(anna, 2, 2)
    await settled()
    const [log] = anna.logsOf(peerOf(BEN)) as [LogRef]
    expect(anna.store.log(log)?.floor).toBe(1)
    expect(anna.outbox.size).toBe(1)
  })

  it('a message to oneself is there at once', async () => {
    const anna = await node()
    const sent = await anna.outbox.send(message(anna.self, 'note'))
    expect(await outcome(sent.delivered)).toBe('resolved')
    expect(anna.outbox.list()).toEqual([])
  })
})

describe('outbox: expiry', () => {
  it('makes a dead letter with everything, and says so', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    const expired: WaitingMessage[] = []
    anna.outbox.events.on('expired', (entry) => expired.push(entry))
    const sent = await anna.outbox.send(
      message(peerOf(BEN), 'disk full', { ttlMs: 1000, key: 'k', headers: { host: 'db1' } })
    )
    const [listed] = anna.outbox.list()
    await clock.advance(999)
    expect(expired).toEqual([])
    await clock.advance(1)
    await settled()
    expect(expired).toEqual([listed])
    expect(await outcome(sent.delivered)).toBe('ERR_TIMEOUT')
    expect(anna.outbox.list()).toEqual([])
    expect(await deadLetters(anna)).toMatchObject([
      {
        suffix: '/alerts/disk',
        payload: 'disk full',
        contentType: 'text/plain',
        key: 'k',
        headers: {
          host: 'db1',
          'skein-reason': 'outcome unknown',
          'skein-to': peerOf(BEN),
          'skein-id': sent.id,
          'skein-time': new Date(1_800_000_000_000).toISOString()
        }
      }
    ])
    expect(anna.store.log(anna.logsOf(peerOf(BEN))[0] as LogRef)?.floor).toBe(2)
  })

  it('does not come because the wall clock jumps', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    await anna.outbox.send(message(peerOf(BEN), 'one', { ttlMs: DAY_MS }))
    clock.jump(40 * DAY_MS)
    await clock.advance(DAY_MS - 1)
    expect(anna.outbox.size).toBe(1)
    clock.jump(-80 * DAY_MS)
    await clock.advance(1)
    await settled()
    expect(anna.outbox.size).toBe(0)
  })

  it('counts the time of a stop', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const before = await new InboxNode({ fill: ANNA, clock, disk }).start()
    await before.outbox.send(message(peerOf(BEN), 'short', { ttlMs: 1000 }))
    await before.outbox.send(message(peerOf(BEN), 'long', { ttlMs: DAY_MS }))
    await before.stop()
    await clock.advance(5000)
    const after = await node({ clock, disk })
    await clock.advance(0)
    await settled()
    expect(after.outbox.list().map(({ bytes }) => bytes)).toEqual(['long'.length])
    expect(await deadLetters(after)).toMatchObject([{ payload: 'short' }])
  })

  it('gives no more time than was asked for when the wall clock went back over a stop', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const before = await new InboxNode({ fill: ANNA, clock, disk }).start()
    await before.outbox.send(message(peerOf(BEN), 'one', { ttlMs: 1000 }))
    await before.stop()
    clock.jump(-10_000)
    const after = await node({ clock, disk })
    await clock.advance(999)
    expect(after.outbox.size).toBe(1)
    await clock.advance(1)
    await settled()
    expect(after.outbox.size).toBe(0)
  })

  it('what retention or damage took from the disk is not passed over', async () => {
    const disk = openMemory()
    const clock = new ManualClock()
    const before = await new InboxNode({ fill: ANNA, clock, disk }).start()
    await before.outbox.send(message(peerOf(BEN), 'trimmed'))
    const row = (await before.store.values('outbox').entries())[0]?.[1] as Uint8Array
    const inner = (await before.store.values('outbox-messages').entries())[0]?.[1] as Uint8Array
    const id = `${before.self}/018f000000000001/7/@${peerOf(CLEO)}`
    await before.store.values('outbox').put(id, row)
    await before.store.values('outbox-messages').put(id, inner)
    await before.stop()
    const after = await node({ clock, disk })
    await clock.advance(0)
    await settled()
    expect(await deadLetters(after)).toMatchObject([{ headers: { 'skein-id': id } }])
    expect(after.outbox.list().map(({ to }) => to)).toEqual([peerOf(BEN)])
  })

  it('is not begun again while it is under way', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    await anna.outbox.send(message(peerOf(BEN), 'one', { ttlMs: 1000 }))
    const publish = anna.publisher.publish.bind(anna.publisher)
    let release = (): void => {}
    const held = new Promise<void>((resolve) => (release = resolve))
    anna.publisher.publish = async (outgoing, confirm) => {
      if (outgoing.topic.channel === '$dlq/outbox') await held
      return publish(outgoing, confirm)
    }
    await clock.advance(1000)
    await anna.outbox.send(message(peerOf(BEN), 'two', { ttlMs: 1 }))
    await clock.advance(1)
    release()
    await settled()
    await clock.advance(0)
    await settled()
    expect((await deadLetters(anna)).map(({ payload }) => payload)).toEqual(['one', 'two'])
  })

  it('happens once for each of many, whatever their order', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    let expired = 0
    anna.outbox.events.on('expired', () => expired++)
    for (let i = 0; i < 10; i++) {
      await anna.outbox.send(message(peerOf(BEN), `${i}`, { ttlMs: 1000 + 100 * ((i * 7) % 10) }))
    }
    await clock.advance(3000)
    await settled(40)
    expect(expired).toBe(10)
    expect(await deadLetters(anna)).toHaveLength(10)
    expect(anna.store.log(anna.logsOf(peerOf(BEN))[0] as LogRef)?.floor).toBe(11)
  })

  it('is put off while the dead letter cannot be written', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    await anna.outbox.send(message(peerOf(BEN), 'one', { ttlMs: 1000 }))
    const publish = anna.publisher.publish.bind(anna.publisher)
    anna.publisher.publish = () => Promise.reject(new Error('no room'))
    await clock.advance(1000)
    expect(anna.outbox.size).toBe(1)
    anna.publisher.publish = publish
    await clock.advance(60_000)
    await settled()
    expect(anna.outbox.size).toBe(0)
    expect(await deadLetters(anna)).toHaveLength(1)
  })
})

describe('outbox: what cannot be sent', () => {
  it.each([
    ['a wildcard', { topic: 'a/#' }, 'ERR_TOPIC'],
    ['no topic', { topic: '' }, 'ERR_TOPIC'],
    ['too many levels', { topic: 'a/a/a/a/a/a/a/a/a/a/a/a/a' }, 'ERR_TOPIC'],
    ['a long topic', { topic: 'x'.repeat(150) }, 'ERR_TOPIC'],
    ['no time', { ttlMs: 0 }, 'ERR_OPTIONS'],
    ['half a millisecond', { ttlMs: 0.5 }, 'ERR_OPTIONS'],
    ['too much time', { ttlMs: 31 * DAY_MS }, 'ERR_OPTIONS'],
    ['fewer than no custodians', { custodians: -1 }, 'ERR_OPTIONS'],
    ['a recipient that is none', { to: 'ben' }, 'ERR_OPTIONS'],
    ['headers', { headers: { a: 'x'.repeat(LIMITS.headersBytes) } }, 'ERR_HEADERS_TOO_LARGE'],
    ['a payload', { payload: new Uint8Array(LIMITS.payloadBytes) }, 'ERR_PAYLOAD_TOO_LARGE'],
    ['an aborted signal', { signal: AbortSignal.abort() }, 'ERR_ABORTED']
  ])('%s', async (_, more, code) => {
    const anna = await node()
    const sending = anna.outbox.send({ ...message(peerOf(BEN), 'x'), ...more })
    await expect(sending).rejects.toMatchObject({ code })
    expect(anna.outbox.list()).toEqual([])
    expect(anna.store.logs()).toEqual([])
  })

  it('the largest that may be sent can become a dead letter', async () => {
    const clock = new ManualClock()
    const anna = await node({ clock })
    const room = LIMITS.headersBytes - LIMITS.deadLetterHeadersBytes - 1
    await anna.outbox.send(
      message(peerOf(BEN), 'x', {
        topic: `${'l/'.repeat(11)}${'x'.repeat(124)}`,
        headers: { a: 'x'.repeat(room) },
        ttlMs: 1
      })
    )
    await clock.advance(1)
    await settled()
    expect(await deadLetters(anna)).toHaveLength(1)
  })

  it('nothing after a stop', async () => {
    const transport = new LoneTransport(signerOf(ANNA).publicKey)
    const anna = await node({ transport })
    await anna.outbox.stop()
    await expect(anna.outbox.send(message(peerOf(BEN), 'x'))).rejects.toMatchObject({
      code: 'ERR_STOPPED'
    })
  })
})
