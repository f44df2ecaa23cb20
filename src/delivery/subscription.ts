import type { Clock } from '../core/clock.ts'
import { type SkeinError, toSkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { Gaps } from '../replication/gaps.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import type { CursorState, Store } from '../store/contract.ts'
import type { SealedRecord } from '../wire/record.ts'
import { parseMessageId } from '../wire/message-id.ts'
import { ChannelLane } from './channel-lane.ts'
import { Consumer } from './consumer.ts'
import type {
  Gap,
  Message,
  NackOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionStatus
} from './contract.ts'
import { deadLetterMessage, describeDeadLetter, type Failure } from './dead-letter.ts'
import type { Decoder } from './decoder.ts'
import type { DeliveryStats } from './delivery-stats.ts'
import { Duplicates } from './duplicates.ts'
import type { Feed, FeedListener } from './feed.ts'
import { GapWatch } from './gap-watch.ts'
import { DeliveredMessage, type MessageOwner } from './message.ts'
import { ParkedLane } from './parked-lane.ts'
import { type ParkedRow, ParkedRows } from './parked-rows.ts'
import { givenBack, handlerFailure, nackFailure, retryAfterMs } from './giving-back.ts'
import type { SubscriptionInit } from './subscription-init.ts'

export interface SubscriptionComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly gaps: Gaps
  readonly publisher: { publish(outgoing: Outgoing, confirm: 'stored'): Promise<unknown> }
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly stats: DeliveryStats
}

/** A subscription that someone consumes. */
export class OpenSubscription implements Subscription, FeedListener, MessageOwner {
  readonly filter: string
  readonly durable: string | undefined
  readonly ready: Promise<void>
  readonly events: Emitter<SubscriptionEvents>
  readonly epoch: string
  readonly #components: SubscriptionComponents
  readonly #init: SubscriptionInit<OpenSubscription>
  readonly #consumer: Consumer
  readonly #lanes = new Map<string, ChannelLane>()
  /** Lanes that may have something, next one first. */
  readonly #readable = new Set<ChannelLane>()
  readonly #gaps: GapWatch
  readonly #duplicates: Duplicates
  /** Of a durable one. */
  readonly #parked: ParkedLane | undefined
  #slow = false
  /** The write of acknowledgements whose failure is looked after. */
  #watched: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  constructor(components: SubscriptionComponents, init: SubscriptionInit<OpenSubscription>) {
    this.#components = components
    this.#init = init
    this.filter = init.filter
    this.durable = init.durable
    this.epoch = components.store.epoch
    this.#duplicates = new Duplicates(components.clock)
    this.#parked = this.#createParked()
    this.#gaps = new GapWatch(
      { ...components, lanes: this.#lanes },
      {
        ...init,
        stalled: (gap) => this.events.emit('stalled', gap),
        skipped: (gap) => this.events.emit('gap', gap)
      }
    )
    this.events = new Emitter((error) =>
      components.logger.error({ err: error, filter: init.filter }, 'a subscription listener threw')
    )
    this.#consumer = new Consumer(components.clock, {
      take: () => this.#take(),
      acknowledge: init.autoAck ? (message) => this.#autoAcknowledge(message) : undefined,
      handled: (message) => this.#autoAcknowledge(message),
      failed: (message, error) => this.#handlerFailed(message, error),
      ended: () => this.#end(undefined)
    })
    this.ready = init.open(this)
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
    const { channel, publisher, sequence, session } = parseMessageId(id)
    const parked = this.#parked?.find(id)
    const ledger = this.#lanes.get(channel)?.ledger
    if (parked !== undefined || ledger === undefined) return parked
    for (const { attempt, dueAt, held } of ledger.entries()) {
      if (attempt === 0 || dueAt === Infinity) continue
      if (held.sequence !== sequence || held.session !== session) continue
      if (held.publisher === publisher) return held
    }
    return undefined
  }

  status(): SubscriptionStatus {
    const { store } = this.#components
    const inFlight = this.#inFlight()
    let lag = inFlight + (this.#parked?.waiting ?? 0)
    for (const { channel, ledger, position } of this.#lanes.values()) {
      lag += Math.max(0, store.journal(channel).next - position) + (ledger?.waiting ?? 0)
    }
    return {
      filter: this.filter,
      durable: this.durable,
      open: true,
      inFlight,
      lag,
      gaps: this.#gaps.missing(),
      createdAt: new Date(this.#init.createdAt),
      channels: [...this.#lanes.keys()],
      where: this.#init.where
    }
  }

  stop(): Promise<void> {
    return this.#end(undefined)
  }

  // ---- the registry's side ----

  /** Begins to read a channel. */
  addLane(channel: string, stored: CursorState): void {
    if (this.#lanes.has(channel) || this.#stopped !== undefined) return
    // A reservation reaches beyond what existed: what came since the start was handed over by nobody.
    const existed = Math.max(stored.offset, this.#components.feed.nextAtStart(channel))
    const cursor = { ...stored, handed: Math.min(stored.handed, existed) }
    const lane = new ChannelLane(this.#components, {
      channel,
      matches: this.#init.matches,
      passes: this.#init.passes,
      durable: this.durable,
      cursor,
      notBefore: this.#init.notBefore,
      duplicates: this.#duplicates,
      hasRoom: () => this.#inFlight() < this.#init.maxInFlight,
      window: this.#init.maxInFlight,
      maxDeliveries: this.#init.maxDeliveries || Infinity,
      byPriority: this.#init.byPriority,
      message: (candidate, hand) => new DeliveredMessage(this, candidate, hand),
      onReadable: (readable) => this.#wake(readable),
      onGap: (gap) => this.events.emit('gap', gap),
      onExpired: () => {
        this.#components.stats.expired++
      },
      onDuplicate: () => {
        this.#components.stats.duplicates++
      },
      bury: (message, attempts, failure) => this.#bury(message, { ...failure, attempts }),
      park: (candidate, dueAt, attempts) => this.#parked?.park(candidate, dueAt, attempts),
      onBuried: () => this.#roomLeft(),
      onError: (error) => this.#laneFailed(error)
    })
    this.#lanes.set(channel, lane)
    this.#wake(lane)
  }

  /** Reads what is parked. */
  async loadParked(): Promise<void> {
    await this.#parked?.load()
  }

  /** A message was parked, and is on disk. */
  park(key: string, row: ParkedRow): void {
    this.#parked?.add(key, row)
  }

  hasLane(channel: string): boolean {
    return this.#lanes.has(channel)
  }

  offer(
    channel: string,
    offset: number,
    count: number,
    indexes: readonly number[] | undefined
  ): void {
    this.#lanes.get(channel)?.reader.offer(offset, count, indexes)
  }

  /** A record was stored above a hole. */
  island(record: SealedRecord): void {
    this.#lanes.get(record.header.channel)?.side?.island(record)
  }

  /** A missing range of one of its channels is waited for no more. */
  passedOver(gap: Gap): void {
    if (this.#lanes.get(gap.channel)?.passedOver(gap) === true) this.events.emit('gap', gap)
  }

  /** How far it is behind, when that is seen for the first time since it had caught up. */
  slowLag(): number | undefined {
    const { feed, store } = this.#components
    const lanes = [...this.#lanes.values()]
    const behind = lanes.some(({ channel, position }) => feed.isBehind(channel, position))
    const wasSlow = this.#slow
    this.#slow = behind
    if (!behind || wasSlow) return undefined
    let lag = 0
    for (const { channel, position } of lanes) {
      lag += Math.max(0, store.journal(channel).next - position)
    }
    return lag
  }

  /** Looks after what takes time: acknowledgements that did not come, gaps, cursors that may move on. */
  tick(): void {
    const now = this.#components.clock.monotonic()
    for (const lane of this.#lanes.values()) {
      const { ledger } = lane
      if (ledger === undefined) continue
      for (const entry of ledger.entries()) {
        if (entry.deadline !== undefined && entry.deadline <= now)
          this.#retry(lane, entry.offset, 0, { reason: 'ack timeout' })
      }
      ledger.touch()
    }
    this.#parked?.tick()
    this.#gaps.tick()
  }

  // ---- messages ----

  async acknowledge(message: DeliveredMessage): Promise<void> {
    const lane = this.#lanes.get(message.candidate.entry.channel)
    if (lane?.ledger === undefined) return
    if (this.#stopped !== undefined) throw givenBack()
    await this.#acknowledgeIn(lane, message)
  }

  /** Many acknowledgements share a write, and its promise. */
  #acknowledgeIn(lane: ChannelLane, { candidate: { offset } }: DeliveredMessage): Promise<void> {
    if (lane.ledger?.get(offset) !== undefined) {
      this.#components.stats.acknowledged++
      // The room it leaves may be what another channel waits for.
      if (this.#lanes.size > 1) for (const other of this.#lanes.values()) this.#readable.add(other)
    }
    return lane.acknowledge(offset)
  }

  retry(message: DeliveredMessage, options: NackOptions): Promise<void> {
    return this.#giveBack(message, options.delayMs ?? 0, nackFailure(options))
  }

  async #giveBack(message: DeliveredMessage, delayMs: number, failure: Failure): Promise<void> {
    const lane = this.#lanes.get(message.candidate.entry.channel)
    const entry = lane?.ledger?.get(message.candidate.offset)
    // A hand-over that was given up for lost already is on its way to the next one.
    if (lane === undefined || entry === undefined || entry.deadline === undefined) return
    if (this.#stopped !== undefined) throw givenBack()
    await lane.retry(entry, delayMs, failure)
  }

  async #bury(message: DeliveredMessage, failure: Failure & { attempts: number }): Promise<void> {
    const { deadLetters, durable, onDeadLetter } = this.#init
    if (deadLetters === undefined || durable === undefined) return
    const { publisher, stats } = this.#components
    const letter = describeDeadLetter(durable, message, failure)
    await publisher.publish(deadLetterMessage(deadLetters, message, letter), 'stored')
    stats.deadLetters++
    this.events.emit('dead-letter', letter)
    onDeadLetter(letter)
  }

  /** What was handed over left room, which any lane may wait for. */
  #roomLeft(): void {
    for (const lane of this.#lanes.values()) this.#readable.add(lane)
    this.#consumer.wake()
  }

  #take(): DeliveredMessage | undefined {
    if (this.#stopped !== undefined) return undefined
    const { ackTimeoutMs } = this.#init
    const { stats } = this.#components
    const parked = this.#takeParked()
    if (parked !== undefined) return parked
    for (const lane of this.#readable) {
      const { ledger } = lane
      const message = lane.next()
      if (message === undefined) {
        this.#readable.delete(lane)
        continue
      }
      stats.delivered++
      if (ledger !== undefined) {
        if (message.attempt > 1) stats.redelivered++
        const entry = ledger.get(message.candidate.offset)
        if (entry !== undefined) lane.handed(entry, ackTimeoutMs)
      }
      if (this.#readable.size > 1) {
        this.#readable.delete(lane)
        this.#readable.add(lane)
      }
      return message
    }
    return undefined
  }

  #takeParked(): DeliveredMessage | undefined {
    const parked = this.#parked
    if (parked === undefined || parked.size === 0) return undefined
    const message = parked.next()
    if (message === undefined) return undefined
    this.#components.stats.delivered++
    if (message.attempt > 1) this.#components.stats.redelivered++
    return message
  }

  #createParked(): ParkedLane | undefined {
    const { clock, stats, store } = this.#components
    const { ackTimeoutMs, maxDeliveries, maxInFlight } = this.#init
    if (this.durable === undefined) return undefined
    const rows = new ParkedRows(store, this.durable)
    return new ParkedLane(
      { clock, rows },
      {
        epoch: this.epoch,
        maxDeliveries: maxDeliveries || Infinity,
        ackTimeoutMs,
        hasRoom: (more) => this.#inFlight() + more <= maxInFlight,
        bury: (message, attempts, failure) => this.#bury(message, { ...failure, attempts }),
        onReadable: () => this.#roomLeft(),
        onAcknowledged: () => {
          stats.acknowledged++
        },
        onExpired: () => {
          stats.expired++
        },
        onError: (error) => this.#laneFailed(error)
      }
    )
  }

  #inFlight(): number {
    let size = this.#parked?.inFlight ?? 0
    for (const lane of this.#lanes.values()) size += lane.ledger?.size ?? 0
    return size
  }

  #wake(lane: ChannelLane): void {
    this.#readable.add(lane)
    this.#consumer.wake()
  }

  #autoAcknowledge(message: DeliveredMessage): void {
    if (this.durable === undefined || this.#stopped !== undefined) return
    if (this.#parked?.owns(message) === true) {
      this.#parked.acknowledge(message).catch((error: unknown) => this.#laneFailed(error))
      return
    }
    const lane = this.#lanes.get(message.candidate.entry.channel)
    if (lane === undefined) return
    const written = this.#acknowledgeIn(lane, message)
    if (written === this.#watched) return
    this.#watched = written
    written.catch((error: unknown) => this.#laneFailed(error))
  }

  #handlerFailed(message: DeliveredMessage, error: unknown): void {
    this.#components.logger.warn(
      { err: error, message: message.id, filter: this.filter },
      'a message handler failed'
    )
    if (this.durable === undefined) return
    const delayMs = retryAfterMs(this.#components.random, message.attempt, this.#init.retry)
    const failure = handlerFailure(error)
    const back =
      this.#parked?.owns(message) === true
        ? this.#parked.giveBack(message, delayMs, failure)
        : this.#giveBack(message, delayMs, failure)
    back.catch((cause: unknown) => this.#laneFailed(cause))
  }

  #retry(lane: ChannelLane, offset: number, delayMs: number, failure: Failure): void {
    const entry = lane.ledger?.get(offset)
    if (entry === undefined) return
    lane.retry(entry, delayMs, failure).catch((error: unknown) => this.#laneFailed(error))
  }

  /** A write or read that failed is tried again at the next tick; a programming error is not hidden. */
  #laneFailed(error: unknown): void {
    if (this.#stopped !== undefined) return
    const failure = toSkeinError(error)
    this.#components.logger.warn({ err: error, filter: this.filter }, 'a subscription met an error')
    if (!failure.retryable) this.#fail(failure)
  }

  // ---- the end ----

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
    try {
      for (const lane of this.#lanes.values()) await lane.close()
      await this.#parked?.close()
    } catch (cause) {
      this.#components.logger.warn(
        { err: cause },
        'the last cursor was not written: repeats are possible'
      )
    }
    await this.#init.close(this)
    this.events.emit('end', { error })
  }
}
