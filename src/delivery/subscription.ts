import type { Clock } from '../core/clock.ts'
import { SkeinError, toSkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import { jitter, type Random } from '../core/random.ts'
import type { Gaps, Hole } from '../replication/gaps.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import type { CursorState, Store } from '../store/contract.ts'
import type { SealedRecord } from '../wire/record.ts'
import { parseMessageId } from '../wire/message-id.ts'
import { ChannelLane } from './channel-lane.ts'
import { Consumer } from './consumer.ts'
import type {
  DeadLetter,
  Gap,
  Message,
  SubscribeOptions,
  Subscription,
  SubscriptionEvents,
  SubscriptionStatus,
  WhereFilter
} from './contract.ts'
import { deadLetterMessage, describeDeadLetter, type Failure } from './dead-letter.ts'
import type { Decoder } from './decoder.ts'
import { Duplicates } from './duplicates.ts'
import type { Feed, FeedListener } from './feed.ts'
import { DeliveredMessage, type MessageOwner } from './message.ts'
import type { Where } from './where.ts'

export interface DeliveryStats {
  delivered: number
  redelivered: number
  expired: number
  acknowledged: number
  /** Not handed over, because a message with the same idempotency id was. */
  duplicates: number
  /** Times that a consumer was seen to be behind what is kept in memory. */
  slow: number
  /** Messages that used up their hand-overs. */
  deadLetters: number
}

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

export interface SubscriptionInit {
  readonly filter: string
  readonly durable: string | undefined
  readonly autoAck: boolean
  readonly maxInFlight: number
  readonly ackTimeoutMs: number
  /** 0: no limit. */
  readonly maxDeliveries: number
  readonly retry: SubscribeOptions['retry']
  /** Channel of its dead letters; of a durable one. */
  readonly deadLetters: string | undefined
  readonly onDeadLetter: (letter: DeadLetter) => void
  readonly gapTimeoutMs: number
  readonly onGap: 'wait' | 'skip'
  readonly createdAt: number
  /** What was born before, by the local clock, is not handed over. */
  readonly notBefore: number
  readonly matches: (topic: string) => boolean
  readonly where: readonly WhereFilter[] | undefined
  /** `where`, compiled. */
  readonly passes: Where | undefined
  /** Stores the cursor, joins the channels, gives the lanes their place. */
  readonly open: (subscription: OpenSubscription) => Promise<void>
  /** A durable one goes on without a gap that lasted too long, where it may. */
  readonly giveUp: (hole: Hole) => void
  /** Undoes `open`; called once. */
  readonly close: (subscription: OpenSubscription) => Promise<void>
}

/** A subscription that someone consumes. */
export class OpenSubscription implements Subscription, FeedListener, MessageOwner {
  readonly filter: string
  readonly durable: string | undefined
  readonly ready: Promise<void>
  readonly events: Emitter<SubscriptionEvents>
  readonly epoch: string
  readonly #components: SubscriptionComponents
  readonly #init: SubscriptionInit
  readonly #consumer: Consumer
  readonly #lanes = new Map<string, ChannelLane>()
  /** Lanes that may have something, next one first. */
  readonly #readable = new Set<ChannelLane>()
  /** Holes that were reported, by log and place. */
  readonly #reported = new Set<string>()
  readonly #duplicates: Duplicates
  #slow = false
  /** The write of acknowledgements whose failure is looked after. */
  #watched: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  constructor(components: SubscriptionComponents, init: SubscriptionInit) {
    this.#components = components
    this.#init = init
    this.filter = init.filter
    this.durable = init.durable
    this.epoch = components.store.epoch
    this.#duplicates = new Duplicates(components.clock)
    this.events = new Emitter((error) =>
      components.logger.error({ err: error, filter: init.filter }, 'a subscription listener threw')
    )
    this.#consumer = new Consumer(components.clock, {
      take: () => this.#take(),
      acknowledge: init.autoAck ? (message) => this.#autoAcknowledge(message) : undefined,
      handled: (message) => this.#autoAcknowledge(message),
      failed: (message, error) => this.#handlerFailed(message, error)
    })
    this.ready = init.open(this)
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
    const { channel, publisher, sequence, session } = parseMessageId(id)
    const ledger = this.#lanes.get(channel)?.ledger
    if (ledger === undefined) return undefined
    for (const { dueAt, held } of ledger.entries()) {
      if (dueAt === Infinity || held.sequence !== sequence || held.session !== session) continue
      if (held.publisher === publisher) return held
    }
    return undefined
  }

  status(): SubscriptionStatus {
    const { store } = this.#components
    const inFlight = this.#inFlight()
    let lag = inFlight
    for (const lane of this.#lanes.values()) {
      lag += Math.max(0, store.journal(lane.channel).next - lane.reader.position)
    }
    return {
      filter: this.filter,
      durable: this.durable,
      open: true,
      inFlight,
      lag,
      gaps: this.#holes().map((hole) => gapOf(hole, 'missing')),
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
      onBuried: () => this.#roomLeft(),
      onError: (error) => this.#laneFailed(error)
    })
    this.#lanes.set(channel, lane)
    this.#wake(lane)
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
    const behind = [...this.#lanes.values()].some(({ channel, reader }) =>
      feed.isBehind(channel, reader.position)
    )
    const wasSlow = this.#slow
    this.#slow = behind
    if (!behind || wasSlow) return undefined
    let lag = 0
    for (const { channel, reader } of this.#lanes.values()) {
      lag += Math.max(0, store.journal(channel).next - reader.position)
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
    this.#tickGaps(now)
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

  retry(message: DeliveredMessage, delayMs: number): Promise<void> {
    return this.#giveBack(message, delayMs, { reason: 'nack' })
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

  #roomLeft(): void {
    for (const lane of this.#lanes.values()) this.#wake(lane)
  }

  #take(): DeliveredMessage | undefined {
    if (this.#stopped !== undefined) return undefined
    const { ackTimeoutMs } = this.#init
    const { stats } = this.#components
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

  #inFlight(): number {
    let size = 0
    for (const lane of this.#lanes.values()) size += lane.ledger?.size ?? 0
    return size
  }

  #wake(lane: ChannelLane): void {
    this.#readable.add(lane)
    this.#consumer.wake()
  }

  #autoAcknowledge(message: DeliveredMessage): void {
    if (this.durable === undefined || this.#stopped !== undefined) return
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
    const { maxMs = LIMITS.retryMaxMs, minMs = LIMITS.retryMinMs } = this.#init.retry ?? {}
    const longest = Math.min(minMs * 2 ** (message.attempt - 1), maxMs)
    const delayMs = jitter(this.#components.random, longest)
    const failure = { reason: 'handler error' as const, error: textOf(error) }
    this.#giveBack(message, delayMs, failure).catch((cause: unknown) => this.#laneFailed(cause))
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

  // ---- gaps ----

  #holes(): Hole[] {
    const holes: Hole[] = []
    for (const lane of this.#lanes.values()) {
      for (const hole of this.#components.gaps.in(lane.channel)) {
        if (lane.side?.hasSkipped(hole) !== true) holes.push(hole)
      }
    }
    return holes
  }

  #tickGaps(now: number): void {
    const holes = this.#holes()
    if (holes.length === 0) {
      this.#reported.clear()
      return
    }
    for (const hole of holes) {
      const key = `${hole.publisher}/${hole.session}/${hole.from}-${hole.to}/${hole.channel}`
      if (now - hole.since < this.#init.gapTimeoutMs || this.#reported.has(key)) continue
      const side = this.#lanes.get(hole.channel)?.side
      if (side === undefined) {
        this.#reported.add(key)
        this.events.emit('stalled', gapOf(hole, 'missing'))
        if (this.#init.onGap === 'skip') this.#init.giveUp(hole)
      } else {
        this.events.emit('gap', gapOf(hole, 'skipped'))
        side.skip(hole)
      }
    }
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

/** Not everything that is thrown is an Error. */
function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function givenBack(): SkeinError {
  return new SkeinError(
    'ERR_MESSAGE_UNKNOWN',
    'the subscription was stopped: its messages were given back'
  )
}

function gapOf({ channel, publisher, session, from, to }: Hole, reason: Gap['reason']): Gap {
  return { channel, publisher, session, from, to, reason }
}
