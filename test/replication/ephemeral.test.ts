import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { Emitter } from '../../src/core/events.ts'
import { seededRandom } from '../../src/core/random.ts'
import {
  type EphemeralEvents,
  type EphemeralMessages,
  EphemeralReceiver,
  EphemeralSender
} from '../../src/replication/ephemeral.ts'
import { HybridClock } from '../../src/wire/hybrid-clock.ts'
import { FLAGS, type SealedRecord } from '../../src/wire/record.ts'
import { openRecord, sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

interface Sent {
  readonly channel: string
  readonly record: SealedRecord
}

function sender(
  clock: ManualClock,
  key = 1,
  above?: string
): { sent: Sent[]; sender: EphemeralSender } {
  const sent: Sent[] = []
  const components = {
    transport: {
      broadcast: (channel: string, { bytes }: { bytes: Uint8Array }) => {
        sent.push({ channel, record: openRecord(bytes) })
      },
      tell: () => undefined
    },
    clock,
    random: seededRandom(key),
    hybridClock: new HybridClock({ clock }),
    signer: createSigner(new Uint8Array(32).fill(key))
  }
  return { sent, sender: new EphemeralSender(components, { above }) }
}

function receiver(clock: ManualClock): { got: EphemeralMessages[]; receiver: EphemeralReceiver } {
  const emitter = new Emitter<EphemeralEvents>((error) => {
    throw error
  })
  const got: EphemeralMessages[] = []
  emitter.on('message', (message) => got.push(message))
  return { got, receiver: new EphemeralReceiver({ clock }, emitter) }
}

const message = (text: string) => ({ suffix: '', payload: Buffer.from(text) })

const texts = (got: readonly EphemeralMessages[]): string[] =>
  got.flatMap(({ messages }) => messages.map(({ payload }) => Buffer.from(payload).toString()))

/** Sends these texts in `channel`, one record each. */
function send(from: ReturnType<typeof sender>, count: number, channel = 'a'): SealedRecord[] {
  for (let index = 1; index <= count; index++) from.sender.send(channel, [message(`${index}`)])
  return from.sent.map(({ record }) => record)
}

describe('ephemeral: sending', () => {
  it('seals records outside of any chain, numbered by channel in a session of its own', () => {
    const from = sender(new ManualClock())
    from.sender.send('a', [message('1'), message('2')])
    from.sender.send('b', [message('1')])
    from.sender.send('a', [message('3')])
    expect(from.sent.map(({ channel, record: { header } }) => [channel, header.first])).toEqual([
      ['a', 1],
      ['b', 1],
      ['a', 3]
    ])
    for (const { record } of from.sent) {
      expect(record.header).toMatchObject({
        session: from.sender.session,
        flags: FLAGS.ephemeral,
        previous: undefined,
        before: undefined
      })
    }
  })

  it('begins a session above the one it is given, whatever the clock says', () => {
    const above = 'ffff000000000000'
    expect(sender(new ManualClock(), 1, above).sender.session > above).toBe(true)
  })

  it('sends nothing of a message that breaks a limit, and what follows as if it had not been', () => {
    const from = sender(new ManualClock())
    const large = { suffix: '', payload: new Uint8Array(LIMITS.payloadBytes + 1) }
    expect(() => from.sender.send('a', [message('x'), large])).toThrow(
      expect.objectContaining({ code: 'ERR_PAYLOAD_TOO_LARGE' })
    )
    from.sender.send('a', [message('1')])
    expect(from.sent.map(({ record: { header } }) => [header.first, header.count])).toEqual([
      [1, 1]
    ])
  })
})

describe('ephemeral: receiving', () => {
  it('hands over each record once, drops older ones and counts what is lost', () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const [one, two, three, four] = send(sender(clock), 4) as [
      SealedRecord,
      SealedRecord,
      SealedRecord,
      SealedRecord
    ]
    const verdicts = [one, one, three, two, four].map((record) => to.receiver.take(record))
    expect(verdicts).toEqual(['accept', 'ignore', 'accept', 'ignore', 'accept'])
    expect(texts(to.got)).toEqual(['1', '3', '4'])
    expect(to.receiver.stats).toEqual({ received: 3, lost: 1, dropped: 2 })
  })

  it('does not count as lost what was sent before it was heard of', () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const records = send(sender(clock), 3)
    to.receiver.take(records[2] as SealedRecord)
    expect(to.receiver.stats).toEqual({ received: 1, lost: 0, dropped: 0 })
  })

  it('keeps channels and publishers apart', () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const from = sender(clock, 1)
    send(from, 1, 'a')
    send(from, 1, 'b')
    send(sender(clock, 2), 1)
      .concat(from.sent.map(({ record }) => record))
      .forEach(to.receiver.take)
    expect(to.got).toHaveLength(3)
    expect(to.receiver.publishers).toBe(2)
  })

  it('goes over to a later session at once, and drops echoes of the one before', async () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const before = send(sender(clock), 2)
    await clock.advance(1000)
    const after = send(sender(clock), 1)
    to.receiver.take(before[0] as SealedRecord)
    to.receiver.take(after[0] as SealedRecord)
    expect(to.receiver.take(before[1] as SealedRecord)).toBe('ignore')
    expect(to.got).toHaveLength(2)
  })

  it('hears a node that started again with its clock set back, once its former life is silent', async () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    to.receiver.take(send(sender(clock), 1)[0] as SealedRecord)
    clock.jump(-3_600_000)
    const back = send(sender(clock), 2)
    expect(to.receiver.take(back[0] as SealedRecord)).toBe('ignore')
    await clock.advance(30_000)
    expect(to.receiver.take(back[1] as SealedRecord)).toBe('accept')
  })

  it('refuses a body that is no list of messages, and remembers nothing of it', () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const signer = createSigner(new Uint8Array(32).fill(1))
    const record = sealRecord(
      {
        session: '018f000000000001',
        channel: 'a',
        first: 5,
        count: 1,
        previous: undefined,
        before: undefined,
        time: { ms: 1, counter: 0 },
        flags: FLAGS.ephemeral,
        body: Buffer.from('nonsense')
      },
      signer
    )
    expect(() => to.receiver.take(record)).toThrow(expect.objectContaining({ code: 'ERR_RECORD' }))
    expect(to.receiver.publishers).toBe(0)
    expect(to.receiver.stats).toEqual({ received: 0, lost: 0, dropped: 0 })
  })

  it('forgets the publisher that has been silent for longest when there are too many', () => {
    const clock = new ManualClock()
    const to = receiver(clock)
    const records = send(sender(clock, 1), 2)
    const sealed = records[0] as SealedRecord
    // As of another publisher each: what identifies one is taken from a verified header.
    const ofPublisher = (publisher: string): SealedRecord => ({
      ...sealed,
      header: { ...sealed.header, publisher }
    })
    for (let n = 0; n < LIMITS.ephemeralPublishers; n++) to.receiver.take(ofPublisher(`p${n}`))
    to.receiver.take({ ...sealed, header: { ...sealed.header, publisher: 'p0', first: 2 } })
    to.receiver.take(ofPublisher('one more'))
    expect(to.receiver.publishers).toBe(LIMITS.ephemeralPublishers)
    expect(to.receiver.take(ofPublisher('p0'))).toBe('ignore')
    expect(to.receiver.take(ofPublisher('p1'))).toBe('accept')
  })
})
