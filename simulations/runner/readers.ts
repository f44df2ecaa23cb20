import type { Message } from '../../src/delivery/contract.ts'
import { slotOf } from '../../src/groups/slots.ts'
import type { SubscriptionLoad } from '../scenario/contract.ts'
import type { RunTime } from './contract.ts'
import { createApp, type SimulatedHandler } from './app.ts'
import { contentOf } from './content.ts'
import type { Letters } from './letters.ts'
import { Reader } from './reader.ts'
import type { Recorder } from './recorder.ts'

export interface ReaderComponents {
  readonly time: RunTime
  readonly recorder: Recorder
}

export interface SubscriberInit {
  readonly load: SubscriptionLoad
  readonly node: string
  /** Does its node keep what it knows from one life to the next? */
  readonly remembers: boolean
  /** What the trace calls it; an ephemeral one with the number of its life. */
  readonly id: string
  readonly handler: SimulatedHandler | undefined
  /** The least time that any node keeps messages. */
  readonly keepsMs: number
}

/** A subscriber whose doings are written down. */
export function createSubscriber(
  { recorder, time }: ReaderComponents,
  { handler, id, keepsMs, load, node, remembers }: SubscriberInit
): Reader {
  const name = load.durable ?? load.group
  const durable = name !== undefined && remembers
  const slow = load.reading.kind !== 'auto'
  const { filter, group, label } = load
  let subscription = id
  let opened = 0
  return new Reader(time, {
    load,
    node,
    onOpen: ({ events }, life) => {
      opened++
      if (!durable) subscription = `${id}#${opened}`
      const own = subscription
      if (!durable || opened === 1) {
        const waits = durable && load.onGap !== 'skip'
        const facts = { filter, durable, node, label, slow, waits, keepsMs }
        const shared = group === undefined ? {} : { group }
        recorder.add({ kind: 'subscribed', subscription, ...facts, ...shared })
      }
      events.on('gap', ({ channel, from, publisher, reason, session, to }) => {
        // A durable one waits for what is missing: that is no loss yet.
        if (!life.alive || (reason === 'missing' && name !== undefined)) return
        const log = { publisher: recorder.nameOf(publisher), session, channel, from, to }
        recorder.add({ kind: 'gap', subscription: own, ...log, reason })
      })
    },
    onMessage: (message, life) => {
      const { attempt, fence, id, key, late, payload, topic } = message
      const keyed = group === undefined || key === undefined ? {} : { key }
      const fenced = fence === undefined ? {} : { fence: { slot: slotOf(key, id), token: fence } }
      recorder.add({
        kind: 'handed',
        subscription,
        message: recorder.ref(message.id),
        attempt,
        late,
        ...keyed,
        ...fenced,
        content: contentOf(topic, payload)
      })
      return handler?.(message, createApp(recorder, node, life))
    },
    onAcknowledged: ({ id: message }) => {
      const ref = recorder.ref(message)
      if (durable) recorder.add({ kind: 'acknowledged', subscription, id: ref.id })
    },
    onUnanswered: ({ id: message }) => {
      recorder.add({ kind: 'unanswered', subscription, id: recorder.ref(message).id })
    },
    onUnfinished: ({ id: message }) => {
      if (durable) recorder.add({ kind: 'unfinished', subscription, id: recorder.ref(message).id })
    },
    onClosed: () => {
      if (!durable && opened > 0) recorder.add({ kind: 'unsubscribed', subscription })
    }
  })
}

/** Opens a node's own inbox. A subscription of this name cannot be in a scenario's way. */
const INBOX_LOAD: SubscriptionLoad = {
  label: '@me',
  nodes: [],
  filter: '@me/#',
  durable: '@me',
  group: undefined,
  majority: undefined,
  from: 'earliest',
  reading: { kind: 'auto' },
  fromMs: 0,
  untilMs: undefined,
  onGap: 'wait'
}

/** The application that a node's inbox messages are for. */
export function createInboxReader(time: RunTime, letters: Letters, node: string): Reader {
  const acknowledged = new Set<string>()
  const seen = new Set<string>()
  return new Reader(time, {
    load: INBOX_LOAD,
    node,
    onOpen: () => undefined,
    onMessage: ({ id }: Message) => {
      // Again before it was acknowledged is as it should be after a crash.
      if (seen.has(id) && !acknowledged.has(id)) return
      seen.add(id)
      letters.received(id, node)
    },
    onAcknowledged: ({ id }) => void acknowledged.add(id),
    onUnanswered: () => undefined,
    onUnfinished: () => undefined,
    onClosed: () => undefined
  })
}
