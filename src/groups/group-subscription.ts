import { type Clock, type Timer, every } from '../core/clock.ts'
import { type SkeinError, isSkeinError, toSkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import { jitter, type Random } from '../core/random.ts'
import type {
  Message,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionLimits,
  SubscriptionStatus
} from '../delivery/contract.ts'
import { Consumer } from '../delivery/consumer.ts'
import type { Decoder } from '../delivery/decoder.ts'
import { Duplicates } from '../delivery/duplicates.ts'
import type { Feed } from '../delivery/feed.ts'
import { DeliveredMessage, type MessageOwner } from '../delivery/message.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Gaps } from '../replication/gaps.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { Store } from '../store/contract.ts'
import { Acknowledgements, givenBack, isUnconfirmed } from './acknowledgements.ts'
import { GapWatch } from './gap-watch.ts'
import type { GroupChannel } from './group-channel.ts'
import { type GroupCandidate, GroupLane, type Place } from './group-lane.ts'
import { type Hand, Hands } from './hands.ts'
import { SlotKeeper } from './slot-keeper.ts'
import { SLOTS, slotOf } from './slots.ts'

export interface GroupSubscriptionComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly gaps: Gaps
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly channel: GroupChannel
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly stats: DeliveryStats
}

export interface GroupSubscriptionInit extends SubscriptionLimits {
  readonly name: string
  readonly self: PeerId
  readonly filter: string
  readonly autoAck: boolean
  readonly retry: SubscribeOptions['retry']
  readonly matches: (topic: string) => boolean
  /** Makes sure that the group exists, joins the channels, gives the lanes their place. */
  readonly open: (subscription: GroupSubscription) => Promise<void>
  /** Resolves when all that neighbours know of the group is here, or they have had their time. */
  readonly hear: () => Promise<void>
  /** Undoes `open`; called once. */
  readonly close: (subscription: GroupSubscription) => void
  /** An earlier definition of the group came to be known. Rejects where this node's part does not go with it. */
  readonly redefined: (subscription: GroupSubscription) => Promise<void>
}

const TICK_MS = 250
/** Messages read whose key is not ready yet, or that have a later time, beyond which nothing more is read. */
const MAX_WAITING = 1_024
/** At its limit for so long, a member lets go of a slot, ms. */
const FULL_MS = 2_000
/** Before a message that was not acknowledged comes again here, its slot has so long to go elsewhere, ms. */
const EVICT_MS = 1_000

/** One node's part in a group that someone consumes. */
export class GroupSubscription implements Subscription, MessageOwner {
  readonly filter: string
  readonly durable = undefined
  readonly group: string
  readonly ready: Promise<void>
  readonly events: Emitter<SubscriptionEvents>
  readonly epoch: string
  readonly keeper: SlotKeeper
  readonly #components: GroupSubscriptionComponents
  readonly #init: GroupSubscriptionInit
  readonly #acknowledgements: Acknowledgements
  readonly #consumer: Consumer
  readonly #hands = new Hands<DeliveredMessage>()
  readonly #duplicates: Duplicates
  readonly #gaps: GapWatch
  readonly #lanes = new Map<string, GroupLane>()
  readonly #createdAt: Date
  #timer: Timer | undefined
  #redefined: (() => void) | undefined
  #fullSince: number | undefined
  #stopped: Promise<void> | undefined

  constructor(components: GroupSubscriptionComponents, init: GroupSubscriptionInit) {
    const { channel, clock, logger } = components
    this.#components = components
    this.#init = init
    this.filter = init.filter
    this.group = init.name
    this.epoch = components.store.epoch
    this.#createdAt = new Date(clock.now())
    this.#duplicates = new Duplicates(clock)
    this.events = new Emitter((error) =>
      logger.error({ err: error, group: init.name }, 'a subscription listener threw')
    )
    this.#acknowledgements = new Acknowledgements(
      { channel },
      { isAlone: () => this.keeper.isAlone }
    )
    this.keeper = new SlotKeeper(
      { ...components, acknowledgements: this.#acknowledgements },
      {
        self: init.self,
        hear: init.hear,
        isBusy: (slot) => this.#hands.isBusy(slot),
        onTaken: () => {
          for (const lane of this.#lanes.values()) lane.again()
        },
        onGiven: (slots) => this.#hands.drop(slots)
      }
    )
    this.#gaps = new GapWatch(
      { ...components, events: this.events },
      { ...init, channels: () => this.#lanes.keys() }
    )
    this.#consumer = new Consumer(clock, {
      take: () => this.#take(),
      acknowledge: init.autoAck ? (message) => this.#autoAcknowledge(message) : undefined,
      handled: (message) => this.#autoAcknowledge(message),
      failed: (message, error) => this.#handlerFailed(message, error)
    })
    this.ready = this.#open()
    this.ready.catch((error: unknown) => this.#fail(error))
  }

  // ---- consuming ----

  [Symbol.asyncIterator](): AsyncIterator<Message> {
    return {
      next: () => this.#consumer.next(),
      return: async () => {
        await this.stop()
        return { done: true, value: undefined }
      }
    }
  }

  onMessage(handler: (message: Message) => void | Promise<void>): void {
    this.#consumer.onMessage(handler)
  }

  pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]> {
    return this.#consumer.pull(max, waitMs, signal)
  }

  inFlight(id: string): Message | undefined {
    const hand = this.#hands.get(id)
    return hand === undefined || hand.attempt === 0 ? undefined : hand.held
  }

  status(): SubscriptionStatus {
    const { store } = this.#components
    let lag = 0
    for (const { channel, mark } of this.#lanes.values()) {
      lag += Math.max(0, store.journal(channel).next - mark)
    }
    return {
      filter: this.filter,
      durable: undefined,
      group: this.group,
      open: true,
      inFlight: this.#hands.size,
      lag,
      gaps: this.#gaps.holes(),
      createdAt: this.#createdAt,
      channels: [...this.#lanes.keys()]
    }
  }

  stop(): Promise<void> {
    return this.#end(undefined)
  }

  // ---- the registry's side ----

  hasLane(channel: string): boolean {
    return this.#lanes.has(channel)
  }

  /** Begins to read a channel. */
  addLane(channel: string, place: Place): void {
    if (this.#lanes.has(channel) || this.#stopped !== undefined) return
    const { state } = this.#components.channel
    const lane = new GroupLane(
      { ...this.#components, state },
      {
        channel,
        ...place,
        matches: this.#init.matches,
        onReadable: () => this.#consumer.wake(),
        onLost: (lost) => this.#gaps.lost(channel, lost),
        onExpired: () => {
          this.#components.stats.expired++
        },
        onError: (error) => this.#failed(error)
      }
    )
    this.#lanes.set(channel, lane)
    this.#consumer.wake()
  }

  /** The group began earlier than it seemed. */
  rewind(channel: string, place: Place): void {
    this.#lanes.get(channel)?.rewind(place)
  }

  // ---- messages ----

  async acknowledge(message: DeliveredMessage): Promise<void> {
    if (this.#stopped !== undefined) throw givenBack()
    const { id, publisher, sequence, session, candidate } = message
    const log = `${publisher}/${session}/${candidate.entry.channel}`
    if (this.#components.channel.state.finish(log, sequence)) this.#components.stats.acknowledged++
    const hand = this.#hands.get(id)
    this.#hands.finish(id)
    if (hand !== undefined && !this.#hands.isBusy(hand.slot)) this.keeper.idle(hand.slot)
    this.#consumer.wake()
    await this.#acknowledgements.tell(log)
  }

  async retry(message: DeliveredMessage, delayMs: number): Promise<void> {
    if (this.#stopped !== undefined) throw givenBack()
    const { clock } = this.#components
    const hand = this.#hands.get(message.id)
    if (hand?.deadline === undefined) return Promise.resolve()
    this.#putBack(hand, clock.monotonic() + delayMs)
    if (delayMs > 0) clock.after(delayMs, () => this.#consumer.wake())
    return Promise.resolve()
  }

  /** A message that is put back comes again here, or, where its slot is to go, at another member. */
  #putBack(hand: Hand<DeliveredMessage>, dueAt: number): void {
    this.#hands.putBack(hand, dueAt)
    if (!this.keeper.owns(hand.slot)) {
      this.#hands.drop(new Set([hand.slot]))
      this.keeper.idle(hand.slot)
    }
    this.#consumer.wake()
  }

  #take(): DeliveredMessage | undefined {
    if (this.#stopped !== undefined) return undefined
    const { clock, stats } = this.#components
    const now = clock.monotonic()
    const deadline = now + this.#init.ackTimeoutMs
    const again = this.#hands.again(now, deadline)
    if (again !== undefined) {
      stats.delivered++
      if (again.attempt > 1) stats.redelivered++
      return again.held.again(again.attempt)
    }
    if (this.#hands.size >= this.#init.maxInFlight) return undefined
    for (;;) {
      const work = this.#hands.ready()
      if (work === undefined) {
        if (!this.#read()) return undefined
        continue
      }
      const waitMs = (work.held.candidate.message.deliverAt ?? 0) - clock.now()
      if (this.#isDone(work.log, work.sequence) || this.#isDuplicate(work.held)) {
        this.#hands.finish(work.id)
      } else if (waitMs > 0) {
        this.#hands.postpone(work, now + waitMs)
      } else {
        this.#hands.handOver(work, deadline)
        stats.delivered++
        return work.held
      }
    }
  }

  /** Takes in messages until one is ready; false where there is nothing to read now. */
  #read(): boolean {
    for (const lane of this.#lanes.values()) {
      while (this.#hands.waiting < MAX_WAITING) {
        const next = lane.next()
        if (next === undefined) break
        this.#consider(next)
        if (this.#hands.ready() !== undefined) return true
      }
    }
    return false
  }

  #consider({ candidate, log, sequence }: GroupCandidate): void {
    const message = new DeliveredMessage(this, candidate, {
      attempt: 1,
      late: candidate.entry.late
    })
    const { id, key } = message
    const slot = slotOf(key, id)
    if (!this.keeper.owns(slot) || this.#hands.has(id)) return
    this.#hands.add({ id, log, sequence, slot, key, held: message })
  }

  #isDone(log: string, sequence: number): boolean {
    return this.#components.channel.state.isDone(log, sequence)
  }

  #isDuplicate(message: DeliveredMessage): boolean {
    const { candidate, id, publisher, sequence, session, time } = message
    const { message: decoded, entry } = candidate
    if (decoded.id === undefined) return false
    const scope = `${publisher}/${entry.channel}`
    if (!this.#duplicates.isDuplicate(scope, decoded.id, id, time.getTime())) return false
    this.#components.stats.duplicates++
    this.#components.channel.state.finish(`${publisher}/${session}/${entry.channel}`, sequence)
    return true
  }

  #autoAcknowledge(message: DeliveredMessage): void {
    if (this.#stopped !== undefined) return
    this.acknowledge(message).catch((error: unknown) => this.#failed(error))
  }

  #handlerFailed(message: DeliveredMessage, error: unknown): void {
    this.#components.logger.warn(
      { err: error, message: message.id, group: this.group },
      'a message handler failed'
    )
    if (this.#stopped !== undefined) return
    const { maxMs = LIMITS.retryMaxMs, minMs = LIMITS.retryMinMs } = this.#init.retry ?? {}
    const longest = Math.min(minMs * 2 ** (message.attempt - 1), maxMs)
    const delayMs = jitter(this.#components.random, longest)
    this.retry(message, delayMs).catch((cause: unknown) => this.#failed(cause))
  }

  // ---- what takes time ----

  #tick(): void {
    const now = this.#components.clock.monotonic()
    for (const hand of this.#hands.values()) {
      if (hand.deadline === undefined || hand.deadline > now) continue
      if (this.#isDone(hand.log, hand.sequence)) this.#hands.finish(hand.id)
      else {
        const isAlone = this.keeper.isAlone
        this.#putBack(hand, isAlone ? now : now + EVICT_MS)
        if (!isAlone) this.keeper.evict(hand.slot)
      }
    }
    this.#relieve(now)
    this.#acknowledgements.again()
    for (const lane of this.#lanes.values()) if (lane.advance()) this.#save(lane)
    this.#gaps.tick()
    this.#consumer.wake()
  }

  /** Who is at its limit for long lets go of a slot in which nothing is in flight. */
  #relieve(now: number): void {
    const isFull = this.#hands.size >= this.#init.maxInFlight
    if (!isFull) {
      this.#fullSince = undefined
      this.keeper.setFull(false)
      return
    }
    this.#fullSince ??= now
    if (now - this.#fullSince < FULL_MS) return
    this.#fullSince = now
    this.keeper.setFull(true)
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!this.keeper.owns(slot) || this.#hands.isBusy(slot)) continue
      this.keeper.evict(slot)
      return
    }
  }

  #save({ channel, mark }: GroupLane): void {
    const cursor = { offset: mark, acknowledged: [], handed: mark, attempts: [] }
    this.#components.store
      .saveCursor(this.group, channel, cursor)
      .catch((error: unknown) => this.#failed(error))
  }

  /** A write or read that failed is tried again; a programming error is not hidden. */
  #failed(error: unknown): void {
    if (this.#stopped !== undefined || isUnconfirmed(error)) return
    const failure = toSkeinError(error)
    this.#components.logger.warn({ err: error, group: this.group }, 'a group met an error')
    if (!failure.retryable) this.#fail(failure)
  }

  // ---- beginning and end ----

  async #open(): Promise<void> {
    // A task later, when the constructor is done.
    await Promise.resolve()
    await this.#init.open(this)
    if (this.#stopped !== undefined) return
    this.#redefined = this.#components.channel.events.on('changed', ({ kinds }) => {
      if (!kinds.has('definition')) return
      this.#init.redefined(this).catch((error: unknown) => this.#fail(error))
    })
    this.#gaps.start()
    this.#timer = every(this.#components.clock, TICK_MS, () => this.#tick())
    await this.keeper.start()
  }

  #fail(error: unknown): void {
    void this.#end(toSkeinError(error))
  }

  #end(error: SkeinError | undefined): Promise<void> {
    this.#stopped ??= this.#close(error)
    return this.#stopped
  }

  async #close(error: SkeinError | undefined): Promise<void> {
    // After the assignment of #stopped, so that nothing is handed over from here on.
    await Promise.resolve()
    this.#consumer.end(error)
    this.#timer?.cancel()
    this.#gaps.stop()
    this.#redefined?.()
    try {
      await this.#settled()
    } finally {
      await this.keeper.stop()
      this.#acknowledgements.stop()
      for (const lane of this.#lanes.values()) lane.close()
      this.#init.close(this)
      this.events.emit('end', { error })
    }
  }

  /** Opening is over, well or badly. */
  async #settled(): Promise<void> {
    try {
      await this.ready
    } catch (error) {
      if (!isSkeinError(error)) throw error
    }
  }
}
