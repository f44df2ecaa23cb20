import { type Clock, type Timer, every } from '../core/clock.ts'
import { SkeinError, isSkeinError, toSkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type {
  DeadLetter,
  Message,
  NackOptions,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionLimits,
  SubscriptionStatus
} from '../delivery/contract.ts'
import { Consumer } from '../delivery/consumer.ts'
import type { Decoder } from '../delivery/decoder.ts'
import type { Feed } from '../delivery/feed.ts'
import type { DeliveredMessage, MessageOwner } from '../delivery/message.ts'
import type { Failure } from '../delivery/dead-letter.ts'
import { givenBack, handlerFailure, nackFailure, retryAfterMs } from '../delivery/giving-back.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import type { ParkedRow } from '../delivery/parked-rows.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { EphemeralReceiver, EphemeralSender } from '../replication/ephemeral.ts'
import type { Gaps } from '../replication/gaps.ts'
import type { Publisher } from '../replication/publisher.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { Store } from '../store/contract.ts'
import { Acknowledgements, isUnconfirmed } from './acknowledgements.ts'
import { GapWatch } from './gap-watch.ts'
import type { GroupChannel } from './group-channel.ts'
import { GroupIntake } from './group-intake.ts'
import { GroupLetters } from './group-letters.ts'
import type { GroupLane, Place } from './group-lane.ts'
import type { Hand } from './hands.ts'
import { SlotKeeper } from './slot-keeper.ts'
import { SLOTS, slotOf } from './slots.ts'

export interface GroupSubscriptionComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly gaps: Gaps
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly channel: GroupChannel
  readonly publisher: Pick<Publisher, 'publish'>
  readonly sender: Pick<EphemeralSender, 'send'>
  readonly receiver: Pick<EphemeralReceiver, 'events'>
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
  readonly onDeadLetter: (letter: DeadLetter) => void
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
/** At its limit for so long, a member lets go of a slot, ms. */
const FULL_MS = 2_000
/** Before a message that was not acknowledged comes again here, its slot has so long to go elsewhere, ms. */
const EVICT_MS = 1_000
/** A dead letter that could not be written is tried again after this time, ms: its message comes again before. */
const BURY_AGAIN_MS = 1_000

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
  readonly #intake: GroupIntake
  readonly #letters: GroupLetters
  readonly #gaps: GapWatch
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
    this.events = new Emitter((error) =>
      logger.error({ err: error, group: init.name }, 'a subscription listener threw')
    )
    this.#acknowledgements = new Acknowledgements(
      { channel },
      {
        isAlone: () => this.keeper.isAlone,
        held: (receipts, timeoutMs) => this.keeper.held(receipts, timeoutMs)
      }
    )
    this.keeper = new SlotKeeper(
      { ...components, acknowledgements: this.#acknowledgements },
      {
        self: init.self,
        hear: init.hear,
        isBusy: (slot) => this.#intake.hands.isBusy(slot),
        onTaken: () => this.#intake.readAgain(),
        onGiven: (slots) => this.#intake.hands.drop(slots),
        onSurplus: () => this.#fail(surplus(init.name))
      }
    )
    this.#gaps = new GapWatch(
      { ...components, events: this.events },
      { ...init, channels: () => this.#intake.channels() }
    )
    this.#intake = new GroupIntake(components, {
      ...init,
      owner: this,
      slots: () => this.keeper,
      onReadable: () => this.#consumer.wake(),
      onLost: (channelOf, lost) => this.#gaps.lost(channelOf, lost),
      onError: (error) => this.#failed(error)
    })
    this.#letters = new GroupLetters(components, {
      ...init,
      group: init.name,
      epoch: this.epoch,
      hasRoom: (more) => this.#intake.hands.size + more <= init.maxInFlight,
      onReadable: () => this.#consumer.wake(),
      onLetter: (letter) => {
        this.events.emit('dead-letter', letter)
        init.onDeadLetter(letter)
      },
      onError: (error) => this.#failed(error)
    })
    this.#consumer = new Consumer(clock, {
      take: () => this.#take(),
      acknowledge: init.autoAck ? (message) => this.#autoAcknowledge(message) : undefined,
      handled: (message) => this.#autoAcknowledge(message),
      failed: (message, error) => this.#handlerFailed(message, error),
      ended: () => this.#end(undefined)
    })
    this.ready = this.#open()
    this.ready.catch((error: unknown) => this.#fail(error))
  }

  // ---- consuming ----

  [Symbol.asyncIterator](): AsyncIterator<Message> {
    return this.#consumer.iterator(() => this.stop())
  }

  onMessage(handler: (message: Message) => void | Promise<void>): void {
    this.#consumer.onMessage(handler)
  }

  pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]> {
    return this.#consumer.pull(max, waitMs, signal)
  }

  inFlight(id: string): Message | undefined {
    const hand = this.#intake.hands.get(id)
    if (hand === undefined || hand.attempt === 0) return this.#letters.redriven.find(id)
    return hand.held
  }

  status(): SubscriptionStatus {
    const { store } = this.#components
    let lag = 0
    for (const { channel, mark } of this.#intake.lanes()) {
      lag += Math.max(0, store.journal(channel).next - mark)
    }
    return {
      filter: this.filter,
      durable: undefined,
      group: this.group,
      open: true,
      inFlight: this.#intake.hands.size + this.#letters.redriven.inFlight,
      lag,
      gaps: this.#gaps.holes(),
      createdAt: this.#createdAt,
      channels: [...this.#intake.channels()]
    }
  }

  stop(): Promise<void> {
    return this.#end(undefined)
  }

  // ---- the registry's side ----

  /** A dead letter was redriven on this node, and is on disk. */
  park(key: string, row: ParkedRow): void {
    this.#letters.redriven.add(key, row)
  }

  /** Somebody forgot the group. */
  forgotten(): void {
    this.#fail(unknown(this.group))
  }

  hasLane(channel: string): boolean {
    return this.#intake.hasLane(channel)
  }

  /** Begins to read a channel. */
  addLane(channel: string, place: Place): void {
    if (this.hasLane(channel) || this.#stopped !== undefined) return
    this.#intake.addLane(channel, place)
    this.#consumer.wake()
  }

  /** The group began earlier than it seemed. */
  rewind(channel: string, place: Place): void {
    this.#intake.rewind(channel, place)
  }

  // ---- messages ----

  async acknowledge(message: DeliveredMessage): Promise<void> {
    if (this.#stopped !== undefined) throw givenBack()
    const { redriven } = this.#letters
    if (redriven.owns(message)) return redriven.acknowledge(message)
    await this.#finish(message)
    const { fence, id, key } = message
    if (this.keeper.hasLost(slotOf(key, id), fence)) throw taken(id)
  }

  /** Resolves when enough members know that it is done with. */
  async #finish(message: DeliveredMessage): Promise<void> {
    const { id, publisher, sequence, session, candidate } = message
    const log = `${publisher}/${session}/${candidate.entry.channel}`
    if (this.#components.channel.state.finish(log, sequence)) this.#components.stats.acknowledged++
    const hand = this.#intake.hands.get(id)
    this.#intake.hands.finish(id)
    if (hand !== undefined && !this.#intake.hands.isBusy(hand.slot)) this.keeper.idle(hand.slot)
    this.#consumer.wake()
    await this.#acknowledgements.tell(log)
  }

  retry(message: DeliveredMessage, options: NackOptions): Promise<void> {
    return this.#giveBack(message, options.delayMs ?? 0, nackFailure(options))
  }

  async #giveBack(message: DeliveredMessage, delayMs: number, failure: Failure): Promise<void> {
    if (this.#stopped !== undefined) throw givenBack()
    const { clock } = this.#components
    const { redriven } = this.#letters
    if (redriven.owns(message)) return redriven.giveBack(message, delayMs, failure)
    const hand = this.#intake.hands.get(message.id)
    if (hand?.deadline === undefined) return
    const counts = failure.counts !== false
    if (counts && this.#letters.isSpent(hand.attempt)) return this.#bury(hand, failure)
    this.#putBack(hand, clock.monotonic() + delayMs, counts)
    if (delayMs > 0) clock.after(delayMs, () => this.#consumer.wake())
  }

  /** Its hand-overs are used up: it is done with when its dead letter is on disk. */
  async #bury(hand: Hand<DeliveredMessage>, failure: Failure): Promise<void> {
    const { attempt, held } = hand
    // Until then nobody else gets it, nor the next one of its key.
    hand.deadline = Infinity
    try {
      await this.#letters.bury(held.again(attempt), { ...failure, attempts: attempt })
    } catch (error) {
      this.#putBack(hand, this.#components.clock.monotonic() + BURY_AGAIN_MS)
      throw error
    }
    this.#finish(held).catch((error: unknown) => this.#failed(error))
  }

  /** A message that is put back comes again here, or, where its slot is to go, at another member. */
  #putBack(hand: Hand<DeliveredMessage>, dueAt: number, counts = true): void {
    this.#intake.hands.putBack(hand, dueAt, counts)
    if (!this.keeper.owns(hand.slot)) {
      this.#intake.hands.drop(new Set([hand.slot]))
      this.keeper.idle(hand.slot)
    }
    this.#consumer.wake()
  }

  #take(): DeliveredMessage | undefined {
    if (this.#stopped !== undefined || this.keeper.isFenced) return undefined
    return this.#letters.next() ?? this.#intake.take()
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
    const delayMs = retryAfterMs(this.#components.random, message.attempt, this.#init.retry)
    this.#giveBack(message, delayMs, handlerFailure(error)).catch((cause: unknown) =>
      this.#failed(cause)
    )
  }

  // ---- what takes time ----

  #tick(): void {
    const now = this.#components.clock.monotonic()
    for (const hand of this.#intake.hands.values()) {
      if (hand.deadline === undefined || hand.deadline > now) continue
      if (this.#intake.isDone(hand.log, hand.sequence)) this.#intake.hands.finish(hand.id)
      else if (this.#letters.isSpent(hand.attempt)) {
        this.#bury(hand, { reason: 'ack timeout' }).catch((error: unknown) => this.#failed(error))
      } else {
        const isAlone = this.keeper.isAlone
        this.#putBack(hand, isAlone ? now : now + EVICT_MS)
        if (!isAlone) this.keeper.evict(hand.slot)
      }
    }
    this.#letters.redriven.tick()
    this.#relieve(now)
    this.#acknowledgements.again()
    for (const lane of this.#intake.lanes()) if (lane.advance()) this.#save(lane)
    this.#gaps.tick()
    this.#consumer.wake()
  }

  /** Who is at its limit for long lets go of a slot in which nothing is in flight. */
  #relieve(now: number): void {
    if (!this.#intake.isFull) {
      this.#fullSince = undefined
      this.keeper.setFull(false)
      return
    }
    this.#fullSince ??= now
    if (now - this.#fullSince < FULL_MS) return
    this.#fullSince = now
    this.keeper.setFull(true)
    for (let slot = 0; slot < SLOTS; slot++) {
      if (!this.keeper.owns(slot) || this.#intake.hands.isBusy(slot)) continue
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
    await this.#letters.redriven.load()
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
      await this.#letters.redriven.close()
      this.#acknowledgements.stop()
      this.#intake.close()
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

/** Another member took it over before the acknowledgement was known, and hands it over, too, unless it heard of it in time. */
function taken(id: string): SkeinError {
  return new SkeinError('ERR_MESSAGE_UNKNOWN', `the message ${id} belongs to another member now`)
}

export function unknown(name: string): SkeinError {
  return new SkeinError('ERR_SUBSCRIPTION_UNKNOWN', `there is no group '${name}'`, {
    details: { name }
  })
}

function surplus(name: string): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_CONFLICT',
    `the group '${name}' has all the members that its majority counts; stop one, or make a group of more`,
    { details: { name } }
  )
}
