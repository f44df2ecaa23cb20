import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { alteredMessages } from '../../simulations/checkers/altered-messages.ts'
import { inboxMessages } from '../../simulations/checkers/inbox-messages.ts'
import { lostMessages } from '../../simulations/checkers/lost-messages.ts'
import { publisherOrder } from '../../simulations/checkers/publisher-order.ts'
import { repeatedMessages } from '../../simulations/checkers/repeated-messages.ts'
import { silentGaps } from '../../simulations/checkers/silent-gaps.ts'
import type { MessageRef, Trace, TraceEvent } from '../../simulations/trace.ts'

const message = (sequence: number, session = 's1'): MessageRef => ({
  id: `p/${session}/${sequence}/a`,
  publisher: 'p',
  session,
  sequence,
  channel: 'a'
})
const subscribed = (subscription: string, durable = true, filter = 'a/#'): TraceEvent => ({
  kind: 'subscribed',
  subscription,
  filter,
  durable
})
const confirmed = (sequence: number, topic = 'a/x'): TraceEvent => ({
  kind: 'confirmed',
  message: message(sequence),
  topic
})
const handed = (
  subscription: string,
  of: MessageRef,
  { attempt = 1, late = false } = {}
): TraceEvent => ({
  kind: 'handed',
  subscription,
  message: of,
  attempt,
  late
})
const acknowledged = (subscription: string, of: MessageRef): TraceEvent => ({
  kind: 'acknowledged',
  subscription,
  id: of.id
})
const gap = (subscription: string, from: number, to: number): TraceEvent => ({
  kind: 'gap',
  subscription,
  publisher: 'p',
  session: 's1',
  channel: 'a',
  from,
  to
})

const checkers = { lostMessages, publisherOrder, repeatedMessages, silentGaps }

describe('checkers', () => {
  it('law: a trace in which everything goes well has no violation', () => {
    fc.assert(
      fc.property(fc.nat({ max: 30 }), fc.boolean(), (count, durable) => {
        const trace: Trace = [
          subscribed('d', durable),
          ...Array.from({ length: count }, (_, i) => [
            confirmed(i + 1),
            handed('d', message(i + 1)),
            acknowledged('d', message(i + 1))
          ]).flat()
        ]
        for (const check of Object.values(checkers)) expect(check(trace)).toEqual([])
      })
    )
  })

  it('law: any message taken out of what a durable subscription got is found to be lost', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), (count, pick) => {
        const missing = (pick % count) + 1
        const trace: TraceEvent[] = [subscribed('d')]
        for (let i = 1; i <= count; i++) {
          trace.push(confirmed(i))
          if (i !== missing) trace.push(handed('d', message(i)))
        }
        expect(lostMessages(trace).map(({ id }) => id)).toEqual([message(missing).id])
        expect(lostMessages([...trace, gap('d', missing, missing)])).toEqual([])
      })
    )
  })

  it('lost: counts neither other topics, nor what was confirmed before, nor ephemeral subscriptions', () => {
    const trace = [confirmed(1), subscribed('d'), subscribed('e', false), confirmed(2, 'b/x')]
    expect(lostMessages(trace)).toEqual([])
    expect(lostMessages([...trace, confirmed(3)])).toMatchObject([{ subscription: 'd' }])
  })

  it('lost: what a node did not live to finish, until it comes again', () => {
    const unfinished: TraceEvent = { kind: 'unfinished', subscription: 'd', id: message(1).id }
    const trace = [subscribed('d'), confirmed(1), handed('d', message(1)), unfinished]
    expect(lostMessages(trace)).toMatchObject([{ subscription: 'd', id: message(1).id }])
    expect(lostMessages([...trace, handed('d', message(1), { attempt: 2 })])).toEqual([])
  })

  it('lost: a gap is an excuse only where its reason can be', () => {
    const reader = { ...subscribed('d'), waits: true, keepsMs: 1000 } as TraceEvent
    const told = (at: number, reason: string): Trace => {
      const event = { ...gap('d', 1, 1), reason, at } as TraceEvent
      return [reader, confirmed(1), event, confirmed(2), handed('d', message(2))]
    }
    for (const reason of ['trimmed', 'expired']) {
      expect(lostMessages(told(999, reason))).toMatchObject([{ id: message(1).id }])
      expect(lostMessages(told(1000, reason))).toEqual([])
    }
    expect(lostMessages(told(5000, 'skipped'))).toMatchObject([{ id: message(1).id }])
    expect(lostMessages(told(0, 'damaged'))).toEqual([])
    // Wrong, and yet no silence.
    expect(silentGaps(told(0, 'trimmed'))).toEqual([])
  })

  it('altered: two contents under one id, wherever they are seen', () => {
    const seen = (event: TraceEvent, content: number): TraceEvent =>
      ({ ...event, content }) as TraceEvent
    const good = [seen(handed('d', message(1)), 7), seen(confirmed(1), 7)]
    expect(alteredMessages([...good, handed('e', message(1)), confirmed(2)])).toEqual([])
    expect(alteredMessages([...good, seen(handed('e', message(1)), 8)])).toMatchObject([
      { subscription: 'e', id: message(1).id }
    ])
    expect(alteredMessages([...good, seen(confirmed(1), 8)])).toMatchObject([{ subscription: 'p' }])
  })

  it('inbox: no receipt is owed to a sender that stays down', () => {
    const trace: Trace = [
      { kind: 'sent', id: 'l', from: 'a', to: 'b', topic: 't' },
      { kind: 'received', id: 'l', node: 'b' },
      { kind: 'stopped', node: 'a', how: 'crash' }
    ]
    expect(inboxMessages(trace)).toEqual([])
    expect(inboxMessages([...trace, { kind: 'started', node: 'a' }])).toHaveLength(1)
    expect(inboxMessages(trace.filter(({ kind }) => kind !== 'received'))).toHaveLength(1)
  })

  it('inbox: a message comes again only after its recipient lost power', () => {
    const received = { kind: 'received', id: 'l', node: 'b' } as const
    const down = (how: 'crash' | 'power-loss'): Trace => [
      { kind: 'sent', id: 'l', from: 'a', to: 'b', topic: 't' },
      received,
      { kind: 'stopped', node: 'b', how },
      { kind: 'started', node: 'b' },
      received,
      { kind: 'receipt', id: 'l' }
    ]
    expect(inboxMessages(down('power-loss'))).toEqual([])
    expect(inboxMessages([...down('power-loss'), received])).toHaveLength(1)
    expect(inboxMessages(down('crash'))).toHaveLength(1)
  })

  it('repeated: only after an acknowledgement that was answered, and of the same subscription', () => {
    const [one] = [message(1)]
    expect(repeatedMessages([handed('d', one), handed('d', one)])).toEqual([])
    expect(repeatedMessages([handed('d', one), acknowledged('d', one), handed('e', one)])).toEqual(
      []
    )
    expect(
      repeatedMessages([handed('d', one), acknowledged('d', one), handed('d', one)])
    ).toMatchObject([{ id: one.id }])
  })

  it('order: sees one message behind a later one, in a session and across sessions', () => {
    expect(publisherOrder([handed('d', message(2)), handed('d', message(1))])).toHaveLength(1)
    expect(publisherOrder([handed('d', message(1, 's2')), handed('d', message(9))])).toHaveLength(1)
  })

  it('order: exempts what is late and what is handed over again', () => {
    const again = handed('d', message(1), { attempt: 2 })
    const trace = [handed('d', message(1)), handed('d', message(3)), again]
    expect(publisherOrder(trace)).toEqual([])
    expect(publisherOrder([...trace, handed('d', message(2), { late: true })])).toEqual([])
    // The disk has lost that it was handed over before.
    expect(publisherOrder([...trace, handed('d', message(1)), handed('d', message(3))])).toEqual([])
    expect(
      publisherOrder([...trace, handed('d', message(1)), handed('d', message(2))])
    ).toHaveLength(1)
  })

  it('order: begins anew for a node that lost power, and for no other', () => {
    const lost = (node: string): Trace => [
      { ...subscribed('d', true), node: 'n' } as TraceEvent,
      handed('d', message(1, 's2')),
      { kind: 'stopped', node, how: 'power-loss' },
      handed('d', message(9)),
      handed('d', message(2, 's2'))
    ]
    expect(publisherOrder(lost('n'))).toEqual([])
    expect(publisherOrder(lost('m'))).toHaveLength(1)
    expect(publisherOrder([...lost('n'), handed('d', message(1))])).toHaveLength(1)
  })

  it('gaps: sees a hole between messages of an ephemeral subscription, unless it was told', () => {
    const trace = [
      subscribed('e', false),
      ...[1, 2, 3].map((sequence) => confirmed(sequence)),
      handed('e', message(1)),
      handed('e', message(3))
    ]
    expect(silentGaps(trace)).toMatchObject([{ id: message(2).id }])
    expect(silentGaps([...trace, gap('e', 2, 2)])).toEqual([])
    expect(silentGaps(trace.slice(0, -1))).toEqual([])
  })
})
