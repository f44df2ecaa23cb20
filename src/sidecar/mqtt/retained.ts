import { setTimeout as delay } from 'node:timers/promises'
import { isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Message, SkeinNode, Subscription } from '../../node/contract.ts'
import { topicMatcher } from '../../node/topic-filter.ts'
import { qosOf } from './qos-header.ts'
import type { Qos } from './session-names.ts'

/** The last value of a topic; an empty payload stands for none. */
export interface RetainedValue {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
}

interface Kept extends RetainedValue {
  readonly message: Pick<Message, 'time' | 'publisher' | 'session' | 'sequence'>
}

/** Somebody who has subscribed, and is to hear of last values from before that come to be known later. */
interface Watch {
  readonly matches: (topic: string) => boolean
  /** When it subscribed. */
  readonly since: number
  readonly onLate: (value: RetainedValue) => void
}

/** Where the last values of topics are. */
const RETAINED = '$retained'
/** What one costs beside its topic and payload. */
const OVERHEAD_BYTES = 250
/** What is on disk at the start is waited for so long, ms; the rest comes later. */
const LOAD_MS = 5_000
const LOOK_MS = 20
/** A look at what is not yet read from disk waits so long, ms; so many looks in vain, and the rest is left out. */
const READ_MS = 250
const READS = 20

/**
 * The last values of all topics, as this node has them: it holds their channel, and keeps what it hears of there in
 * memory, up to a bound, so that a subscription costs no reading. Above the bound, they are read from disk.
 */
export class RetainedValues {
  readonly #node: Pick<SkeinNode, 'subscribe' | 'topics'>
  /** Bytes kept in memory at most. */
  readonly #most: number
  readonly #kept = new Map<string, Kept>()
  readonly #watches = new Set<Watch>()
  #bytes = 0
  #isTooMuch = false
  #subscription: Subscription | undefined

  constructor(
    node: Pick<SkeinNode, 'subscribe' | 'topics'>,
    init: { readonly bytes?: number } = {}
  ) {
    this.#node = node
    this.#most = init.bytes ?? LIMITS.mqttRetainedBytes
  }

  /** Resolves when the values are here that are on disk. */
  async start(): Promise<void> {
    const subscription = this.#node.subscribe(`${RETAINED}/#`, { from: 'last' })
    this.#subscription = subscription
    subscription.onMessage((message) => this.#heard(message))
    await subscription.ready
    for (let waited = 0; waited < LOAD_MS && subscription.status().lag > 0; waited += LOOK_MS) {
      await delay(LOOK_MS)
    }
  }

  async stop(): Promise<void> {
    await this.#subscription?.stop()
  }

  /** Those that a filter matches and that are not empty. */
  async *matching(filter: string): AsyncGenerator<RetainedValue> {
    if (this.#isTooMuch) {
      yield* this.#fromDisk(filter)
      return
    }
    const exact = this.#kept.get(filter)
    const matches = topicMatcher(filter)
    const topics = exact === undefined ? [...this.#kept.keys()].filter(matches) : [filter]
    for (const topic of topics) {
      // The newest, however long the one before took to be sent.
      const value = this.#kept.get(topic)
      if (value !== undefined && value.payload.byteLength > 0) yield value
    }
  }

  /** Calls `onLate` for values from before now that this node gets to know of later, until the signal. */
  watch(filter: string, onLate: (value: RetainedValue) => void, signal: AbortSignal): void {
    const watch = { matches: topicMatcher(filter), since: Date.now(), onLate }
    this.#watches.add(watch)
    signal.addEventListener('abort', () => this.#watches.delete(watch), { once: true })
  }

  #heard(message: Message): void {
    const topic = message.topic.slice(RETAINED.length + 1)
    const { publisher, sequence, session, time } = message
    const kept = {
      topic,
      // A copy: the message's is a part of a whole record.
      payload: Buffer.from(message.payload),
      qos: qosOf(message),
      message: { publisher, sequence, session, time }
    }
    if (!this.#isTooMuch && !this.#keep(kept)) return
    if (kept.payload.byteLength === 0) return
    for (const { matches, onLate, since } of this.#watches) {
      if (time.getTime() < since && matches(topic)) onLate(kept)
    }
  }

  /** False where a newer one is known. */
  #keep(kept: Kept): boolean {
    const before = this.#kept.get(kept.topic)
    if (before !== undefined && !isNewer(kept, before)) return false
    if (before !== undefined) this.#bytes -= costOf(before)
    this.#kept.set(kept.topic, kept)
    this.#bytes += costOf(kept)
    if (this.#bytes > this.#most) {
      this.#isTooMuch = true
      this.#kept.clear()
    }
    return true
  }

  async *#fromDisk(filter: string): AsyncGenerator<RetainedValue> {
    let subscription: Subscription
    try {
      subscription = this.#node.subscribe(`${RETAINED}/${filter}`, { from: 'last' })
    } catch (error) {
      // One level or some bytes more than a filter may have.
      if (isSkeinError(error, 'ERR_FILTER')) return
      throw error
    }
    try {
      await subscription.ready
      // What is retained from now on must not keep this from ending.
      let most = this.#node.topics().find(({ channel }) => channel === RETAINED)?.messages ?? 0
      for (let looks = 0; most > 0 && looks < READS;) {
        const isBehind = subscription.status().lag > 0
        const [message] = await subscription.pull(1, isBehind ? READ_MS : 0)
        if (message === undefined && !isBehind) return
        if (message === undefined) {
          looks++
          continue
        }
        most--
        const { payload } = message
        const topic = message.topic.slice(RETAINED.length + 1)
        if (payload.byteLength > 0) yield { topic, payload, qos: qosOf(message) }
      }
    } finally {
      await subscription.stop()
    }
  }
}

function costOf({ payload, topic }: RetainedValue): number {
  return payload.byteLength + 2 * topic.length + OVERHEAD_BYTES
}

function isNewer({ message: one }: Kept, { message: other }: Kept): boolean {
  const [time, otherTime] = [one.time.getTime(), other.time.getTime()]
  if (time !== otherTime) return time > otherTime
  if (one.publisher !== other.publisher) return one.publisher > other.publisher
  if (one.session !== other.session) return one.session > other.session
  return one.sequence >= other.sequence
}
