import { setTimeout as wait } from 'node:timers/promises'
import { SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import type {
  Data,
  From,
  Gap,
  Message,
  NodeEvents,
  NodeStatus,
  OutboxEntry,
  PublishOptions,
  Published,
  SendOptions,
  Sent,
  SkeinNode,
  SubscribeOptions,
  SubscriberStatus,
  Subscription,
  SubscriptionStatus
} from '../../src/node/contract.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { SubscriptionEvents } from '../../src/delivery/contract.ts'
import { topicMatches } from '../../src/wire/topic.ts'
import { FakeDeadLetters } from './fake-dead-letters.ts'
import { topicsOf } from './fake-topics.ts'
import { BEN, FakeInbox, bytesOf, lone, subscriberAtBen, topologyAtBen } from './fake-inbox.ts'

export const PEER = '12D3KooWFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake'
const SESSION = '0192f00dba5e0001'

interface Stored {
  readonly offset: number
  readonly topic: string
  readonly payload: Uint8Array
  readonly options: PublishOptions
  readonly time: Date
  readonly late: boolean
}

interface Durable {
  readonly name: string
  readonly filter: string
  readonly options: SubscribeOptions
  readonly createdAt: Date
  next: number
  readonly done: Set<number>
  /** offset -> attempts so far */
  readonly attempts: Map<number, number>
  open: FakeSubscription | undefined
}

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted ?? false

class FakeSubscription implements Subscription {
  readonly filter: string
  readonly durable: string | undefined
  readonly ready: Promise<void>
  readonly emitter = new Emitter<SubscriptionEvents>(() => {})
  readonly #node: FakeNode
  readonly #state: Durable | undefined
  readonly #maxInFlight: number
  readonly #flight = new Map<number, Message>()
  readonly #again: number[] = []
  #offset: number
  #wakers = new Set<() => void>()
  stopped = false

  constructor(node: FakeNode, filter: string, options: SubscribeOptions, state?: Durable) {
    this.#node = node
    this.filter = filter
    this.durable = options.durable
    this.#state = state
    this.#maxInFlight = options.maxInFlight ?? state?.options.maxInFlight ?? LIMITS.maxInFlight
    this.#offset = state === undefined ? node.offsetOf(options.from ?? 'now') : state.next
    this.ready = Promise.resolve()
  }

  get events() {
    return this.emitter
  }

  /** Pulls that wait for a message. */
  get waiting(): number {
    return this.#wakers.size
  }

  wake(): void {
    for (const waker of this.#wakers) waker()
    this.#wakers.clear()
  }

  async pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]> {
    const deadline = Date.now() + waitMs
    for (;;) {
      if (this.stopped) throw new SkeinError('ERR_STOPPED', 'the subscription has stopped')
      const messages = this.#take(max)
      const left = deadline - Date.now()
      if (messages.length > 0 || left <= 0 || signal?.aborted === true) return messages
      const timer = new AbortController()
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#wakers.add(resolve)
          signal?.addEventListener('abort', () => resolve(), { signal: timer.signal })
        }),
        wait(left, undefined, { signal: timer.signal, ref: false }).catch(() => {})
      ])
      timer.abort()
      if (isAborted(signal)) this.wake()
    }
  }

  #take(max: number): Message[] {
    const messages: Message[] = []
    const { log } = this.#node
    while (messages.length < max && this.#again.length > 0) {
      messages.push(this.#hand(log[this.#again.shift() as number] as Stored))
    }
    while (messages.length < max && this.#offset < log.length) {
      if (this.#state !== undefined && this.#flight.size >= this.#maxInFlight) break
      const stored = log[this.#offset++] as Stored
      if (!topicMatches(this.filter, stored.topic) || this.#state?.done.has(stored.offset)) continue
      messages.push(this.#hand(stored))
    }
    return messages
  }

  #hand(stored: Stored): Message {
    const state = this.#state
    const attempt = (state?.attempts.get(stored.offset) ?? 0) + 1
    state?.attempts.set(stored.offset, attempt)
    const message = this.#node.message(stored, attempt, {
      ack: async () => {
        if (state === undefined) return
        if (!this.#flight.delete(stored.offset)) {
          throw new SkeinError('ERR_MESSAGE_UNKNOWN', 'not in flight')
        }
        state.done.add(stored.offset)
        while (state.done.has(state.next)) state.done.delete(state.next++)
        this.wake()
      },
      nack: async (options = {}) => {
        if (state === undefined || !this.#flight.delete(stored.offset)) return
        if ((options.delayMs ?? 0) > 0) await wait(options.delayMs, undefined, { ref: false })
        this.#again.push(stored.offset)
        this.wake()
      }
    })
    if (state !== undefined) this.#flight.set(stored.offset, message)
    return message
  }

  inFlight(id: string): Message | undefined {
    return [...this.#flight.values()].find((message) => message.id === id)
  }

  onMessage(): void {
    throw new Error('not needed')
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    while (!this.stopped) yield* await this.pull(1, 1000)
  }

  status(): SubscriptionStatus {
    return {
      filter: this.filter,
      durable: this.durable,
      open: !this.stopped,
      inFlight: this.#flight.size,
      lag: this.#node.log.length - (this.#state?.next ?? this.#offset),
      gaps: [],
      createdAt: this.#state?.createdAt ?? new Date(0),
      channels: [this.filter.split('/')[0] ?? '']
    }
  }

  async stop(): Promise<void> {
    if (this.stopped) return
    this.stopped = true
    if (this.#state !== undefined) this.#state.open = undefined
    this.wake()
    this.emitter.emit('end', { error: undefined })
  }
}

function notNeeded(): never {
  throw new Error('not needed')
}

/** A node in memory that keeps the contract as far as the sidecar can see it. */
export class FakeNode extends Emitter<NodeEvents> implements SkeinNode {
  readonly peerId = PEER
  readonly name = 'fake'
  readonly mesh = 'test'
  readonly log: Stored[] = []
  readonly live = new Set<FakeSubscription>()
  readonly durables = new Map<string, Durable>()
  isReady = true
  /** Set to have what is published now handed over as late. */
  isLate = false
  /** Set to make publishes fail from this sequence on. */
  failFrom: { sequence: number; error: SkeinError } | undefined
  /** Set to make publishes wait. */
  hold: Promise<void> | undefined
  waiting = 0
  readonly inbox = new FakeInbox()
  readonly handleStream = notNeeded
  readonly openStream = notNeeded
  readonly reply = notNeeded
  request: SkeinNode['request'] = notNeeded
  readonly requestMany = notNeeded
  readonly scatter = notNeeded
  readonly history = notNeeded
  readonly dead = new FakeDeadLetters()
  /** What durable subscriptions wait for, by name. */
  readonly gaps = new Map<string, Gap[]>()

  constructor() {
    super(() => {})
  }

  async publish(topic: string, data: Data, options: PublishOptions = {}): Promise<Published> {
    if (/[#+]/.test(topic) || topic === '') {
      throw new SkeinError('ERR_TOPIC', `'${topic}' is not a topic.`, { details: { topic } })
    }
    const payload = bytesOf(data)
    if (payload.length > LIMITS.payloadBytes) {
      throw new SkeinError('ERR_PAYLOAD_TOO_LARGE', 'too large')
    }
    const offset = this.log.length
    const { failFrom } = this
    if (failFrom !== undefined && offset + 1 >= failFrom.sequence) throw failFrom.error
    const time = new Date()
    this.log.push({ offset, topic, payload, options, time, late: this.isLate })
    this.waiting++
    await this.hold
    this.waiting--
    for (const subscription of this.live) subscription.wake()
    return { id: this.idOf(offset, topic), sequence: offset + 1, time }
  }

  async publishBatch(): Promise<Published[]> {
    throw new Error('not needed')
  }

  idOf(offset: number, topic: string): string {
    return `${PEER}/${SESSION}/${offset + 1}/${topic.split('/')[0]}`
  }

  offsetOf(from: From): number {
    if (from === 'earliest') return 0
    if (from === 'now' || from === 'last') return this.log.length
    if (from instanceof Date) {
      const found = this.log.findIndex((stored) => stored.time >= from)
      return found === -1 ? this.log.length : found
    }
    const match = /^fake\.(\d+)$/.exec(from.cursor)
    if (match !== null) return Number(match[1])
    throw new SkeinError('ERR_CURSOR_UNKNOWN', 'not a cursor of this store')
  }

  message(stored: Stored, attempt: number, settle: Pick<Message, 'ack' | 'nack'>): Message {
    const { options, payload } = stored
    return {
      id: this.idOf(stored.offset, stored.topic),
      topic: stored.topic,
      payload,
      contentType: options.contentType,
      key: options.key,
      headers: options.headers ?? {},
      publisher: PEER,
      session: SESSION,
      sequence: stored.offset + 1,
      priority: options.priority ?? 0,
      time: stored.time,
      expiresAt:
        options.ttlMs === undefined ? undefined : new Date(stored.time.getTime() + options.ttlMs),
      attempt,
      late: stored.late,
      fence: undefined,
      cursor: `fake.${stored.offset + 1}`,
      json: <T>() => JSON.parse(Buffer.from(payload).toString()) as T,
      text: () => Buffer.from(payload).toString(),
      ...settle
    }
  }

  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    if (filter.includes('#/')) {
      throw new SkeinError('ERR_FILTER', `'${filter}' is not a filter.`, { details: { filter } })
    }
    const state = options.durable === undefined ? undefined : this.#durable(filter, options)
    const subscription = new FakeSubscription(this, filter, options, state)
    if (state !== undefined) state.open = subscription
    this.live.add(subscription)
    subscription.emitter.on('end', () => this.live.delete(subscription))
    return subscription
  }

  #durable(filter: string, options: SubscribeOptions): Durable {
    const name = options.durable as string
    const known = this.durables.get(name)
    if (known === undefined) {
      const state: Durable = {
        name,
        filter,
        options,
        createdAt: new Date(),
        next: this.offsetOf(options.from ?? 'now'),
        done: new Set(),
        attempts: new Map(),
        open: undefined
      }
      this.durables.set(name, state)
      return state
    }
    if (known.open !== undefined) throw new SkeinError('ERR_SUBSCRIPTION_IN_USE', 'in use')
    if (known.filter !== filter) throw new SkeinError('ERR_SUBSCRIPTION_CONFLICT', 'other filter')
    return known
  }

  async subscriptions(): Promise<SubscriptionStatus[]> {
    return [...this.durables.values()].map((state) => ({
      filter: state.filter,
      durable: state.name,
      open: state.open !== undefined,
      inFlight: state.open?.status().inFlight ?? 0,
      lag: this.log.length - state.next,
      gaps: this.gaps.get(state.name) ?? [],
      createdAt: state.createdAt,
      channels: [state.filter.split('/')[0] ?? ''],
      limits: {
        maxInFlight: state.options.maxInFlight ?? LIMITS.maxInFlight,
        ackTimeoutMs: state.options.ackTimeoutMs ?? LIMITS.ackTimeoutMs,
        maxDeliveries: state.options.maxDeliveries ?? LIMITS.maxDeliveries,
        gapTimeoutMs: state.options.gapTimeoutMs ?? LIMITS.gapTimeoutMs,
        onGap: state.options.onGap ?? 'wait'
      }
    }))
  }

  readonly groups = async () => []
  readonly forgetGroup = async () => undefined

  async deleteSubscription(name: string): Promise<void> {
    if (!this.durables.delete(name)) throw new SkeinError('ERR_SUBSCRIPTION_UNKNOWN', 'unknown')
  }

  send(peer: string, topic: string, data: Data, options: SendOptions = {}): Promise<Sent> {
    return this.inbox.send(peer, topic, data, options)
  }

  readonly outbox = async (): Promise<OutboxEntry[]> => this.inbox.sent.map(({ entry }) => entry)

  async skipGaps(name: string): Promise<Gap[]> {
    if (!this.durables.has(name)) throw new SkeinError('ERR_SUBSCRIPTION_UNKNOWN', 'unknown')
    const gaps = this.gaps.get(name) ?? []
    this.gaps.set(name, [])
    return gaps.map((gap) => ({ ...gap, reason: 'skipped' }))
  }

  async deadLetters(query = {}) {
    return this.dead.list(query)
  }

  async redrive(name: string, ids?: readonly string[]) {
    return this.dead.redrive(this.durables.has(name), ids)
  }

  async subscribers(): Promise<SubscriberStatus[]> {
    const remote = subscriberAtBen()
    const own = [...this.durables.values()].map((state) => ({
      peerId: PEER,
      node: this.name,
      subscription: state.name,
      filter: state.filter,
      lag: this.log.length - state.next,
      state: 'up' as const,
      lastSeen: new Date(),
      createdAt: state.createdAt
    }))
    return [...own, remote]
  }

  status(): NodeStatus {
    return {
      peerId: PEER,
      name: this.name,
      mesh: this.mesh,
      version: '0.0.0',
      startedAt: new Date(0),
      ready: this.isReady,
      addresses: ['/ip4/127.0.0.1/tcp/4001'],
      dataDir: undefined,
      networkKeyId: undefined,
      peers: { connected: 0, known: 1 },
      store: {
        condition: 'open',
        epoch: 'e',
        bytes: 0,
        records: this.log.length,
        freeBytes: undefined,
        reserveBytes: 0
      },
      topics: ['orders'],
      subscriptions: this.durables.size,
      published: this.log.length,
      delivered: 0,
      outbox: this.inbox.sent.length
    }
  }

  peers() {
    return [
      {
        peerId: BEN,
        name: 'ben',
        state: 'suspect' as const,
        since: new Date(1000),
        lastSeen: new Date(1000),
        custodian: true,
        addresses: ['/ip4/10.0.0.1/tcp/4001'],
        connected: false,
        channels: ['orders'],
        services: ['price'],
        roundTripMs: undefined
      }
    ]
  }

  readonly topology = async () => [lone(this), topologyAtBen()]

  topics() {
    return topicsOf(this.log.length)
  }

  async metrics(): Promise<string> {
    return '# HELP skein_published_total Messages published.\nskein_published_total 0\n'
  }

  async stop(): Promise<void> {
    for (const subscription of this.live) await subscription.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
