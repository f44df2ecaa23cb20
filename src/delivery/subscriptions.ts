import { type Clock, type Timer, every } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { Gaps, Hole } from '../replication/gaps.ts'
import type { Backfill } from '../replication/backfill.ts'
import type { Membership, Since } from '../replication/membership.ts'
import type { Receiver } from '../replication/receiver.ts'
import type { Sync } from '../replication/sync.ts'
import type { CursorState, Registration, Store } from '../store/contract.ts'
import { type ParsedFilter, parseFilter, resolveSelf, topicMatches } from '../wire/topic.ts'
import type {
  DeadLetter,
  From,
  Gap,
  SubscribeOptions,
  Subscription,
  SubscriptionLimits,
  SubscriptionStatus,
  WhereFilter
} from './contract.ts'
import { deadLetterChannel } from './dead-letter.ts'
import { DeadLetters } from './dead-letters.ts'
import type { Decoder } from './decoder.ts'
import type { DeliveryStats } from './delivery-stats.ts'
import type { Feed } from './feed.ts'
import type { Interest, Interests } from './interests.ts'
import { type ParkedRow, ParkedRows } from './parked-rows.ts'
import { PayloadFields } from './payload-fields.ts'
import { Registered } from './registered.ts'
import { assertAlike, assertName, defaultFrom, limitsOf, sinceOf, whereOf } from './registration.ts'
import { startCursor } from './start-cursor.ts'
import { OpenSubscription, type SubscriptionComponents } from './subscription.ts'
import { compileWhere } from './where.ts'

export interface SubscriptionsComponents {
  readonly store: Store
  readonly interests: Interests
  readonly feed: Feed
  readonly decoder: Decoder
  readonly gaps: Gaps
  readonly receiver: Pick<Receiver, 'events'>
  readonly membership: Membership
  readonly backfill: Pick<Backfill, 'fill'>
  readonly sync: Pick<Sync, 'join'>
  readonly publisher: SubscriptionComponents['publisher']
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface SubscriptionsInit {
  /** PeerId of this node: what `@me` stands for. */
  readonly self: string
  /** Name of this node: it stands in the topics of dead letters. */
  readonly name: string
}

export interface SubscriptionsEvents {
  /** Retention took messages that a durable subscription was not done with. */
  'retention:unread': { channel: string; subscription: string; messages: number }
  /** A durable subscription was registered, or forgotten. */
  registered: { name: string; filter: string; createdAt: number }
  unregistered: { name: string }
  /** A consumer is further behind than what is kept in memory; said once until it has caught up. */
  slow: { filter: string; durable: string | undefined; lag: number }
  /** A dead letter of what is no durable subscription here was redriven, and is on disk. */
  redriven: { subscription: string; key: string; row: ParkedRow }
  /** A message used up its hand-overs. */
  'dead-letter': DeadLetter
}

interface Opened {
  readonly filter: ParsedFilter
  readonly since: Since
  readonly subscription: OpenSubscription
  readonly from: From
  readonly createdAt: number
  readonly tuning: SubscriptionLimits
  readonly where: readonly WhereFilter[] | undefined
  /** Its stored cursors are being read: channels that show up have to wait for that. */
  isOpening: boolean
  /** Of an ephemeral one; a durable one's is kept when it is closed. */
  interest: Interest | undefined
}

/** How often subscriptions look after what takes time, ms. */
const TICK_MS = 250

/** The subscriptions of this node: durable ones, which are registered, and those that someone consumes now. */
export class Subscriptions {
  readonly stats: DeliveryStats = {
    delivered: 0,
    redelivered: 0,
    expired: 0,
    acknowledged: 0,
    duplicates: 0,
    slow: 0,
    deadLetters: 0
  }
  readonly #components: SubscriptionsComponents
  readonly #init: SubscriptionsInit
  readonly #fields = new PayloadFields()
  readonly #emitter: Emitter<SubscriptionsEvents>
  readonly #open = new Map<OpenSubscription, Opened>()
  /** Durable names that are open or being opened. */
  readonly #names = new Map<string, OpenSubscription>()
  /** Durable subscriptions keep their channels joined whether open or not. */
  readonly #registered = new Map<string, Interest>()
  readonly deadLetters: DeadLetters
  readonly #durable: Registered
  #ticker: Timer | undefined
  #stopped = false
  readonly #cleanup: (() => void)[] = []

  constructor(
    components: SubscriptionsComponents,
    init: SubscriptionsInit,
    emitter: Emitter<SubscriptionsEvents>
  ) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    this.#durable = new Registered(components)
    this.deadLetters = new DeadLetters(components, {
      self: init.self,
      onParked: (name, key, row) => {
        if (this.#durable.find(name) !== undefined) this.#names.get(name)?.park(key, row)
        else this.#emitter.emit('redriven', { subscription: name, key, row })
      }
    })
  }

  get events(): Events<SubscriptionsEvents> {
    return this.#emitter
  }

  /** Subscriptions that are consumed now. */
  get openCount(): number {
    return this.#open.size
  }

  start(): void {
    const { clock, interests, receiver, store } = this.#components
    interests.onChannel((channel) => this.#discovered(channel))
    for (const registration of this.#durable.all()) this.#hold(registration)
    this.#cleanup.push(
      receiver.events.on('island', ({ record }) => {
        for (const subscription of this.#open.keys()) subscription.island(record)
      }),
      store.events.on('trimmed', ({ channel, first }) => void this.#trimmed(channel, first)),
      store.events.on('given-up', ({ log, range, reason }) => {
        if (reason === 'unwanted') return
        const { channel, publisher, session } = log
        for (const subscription of this.#open.keys()) {
          subscription.passedOver({ channel, publisher, session, ...range, reason })
        }
      })
    )
    this.#ticker = every(clock, TICK_MS, () => {
      for (const subscription of this.#open.keys()) {
        subscription.tick()
        this.#tellSlow(subscription)
      }
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#ticker?.cancel()
    for (const undo of this.#cleanup.splice(0)) undo()
    await Promise.all([...this.#open.keys()].map((subscription) => subscription.stop()))
  }

  /** Throws ERR_FILTER, ERR_OPTIONS; what else keeps it from opening rejects `ready` and ends it. */
  subscribe(text: string, options: SubscribeOptions = {}): Subscription {
    if (this.#stopped) throw new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
    const { clock } = this.#components
    const { durable, signal } = options
    const { filter, from, registration, where } = this.#asked(text, options)
    const tuning = limitsOf(options, registration)
    const createdAt = registration?.createdAt ?? clock.now()
    const deadLetters =
      durable === undefined ? undefined : deadLetterChannel(this.#init.name, durable, filter.filter)
    const subscription = new OpenSubscription(
      { ...this.#components, stats: this.stats },
      {
        filter: filter.filter,
        durable,
        where,
        passes: compileWhere(where ?? [], this.#fields),
        autoAck: options.ack === 'auto',
        ...tuning,
        retry: options.retry,
        deadLetters,
        onDeadLetter: (letter) => this.#emitter.emit('dead-letter', letter),
        // Whoever resumes at a cursor relies on what it covers.
        byPriority: durable !== undefined || typeof from !== 'object' || from instanceof Date,
        createdAt,
        // Only in the life it was created in are the two times by one clock.
        notBefore: registration === undefined && from === 'now' ? createdAt : 0,
        matches: (topic) => topicMatches(filter, topic),
        giveUp: (hole) => void this.#giveUp(hole),
        open: async (self) => {
          // A task later, when the constructor is done.
          await Promise.resolve()
          await this.#start({
            subscription: self,
            filter,
            from,
            since: sinceOf(from, createdAt, registration),
            createdAt,
            tuning,
            where,
            isOpening: durable !== undefined,
            interest: undefined
          })
        },
        close: async (self) => this.#close(self)
      }
    )
    if (durable !== undefined) this.#names.set(durable, subscription)
    signal?.addEventListener('abort', () => void subscription.stop(), { once: true })
    if (signal?.aborted === true) void subscription.stop()
    return subscription
  }

  /** Durable subscriptions, open or not. */
  async list(): Promise<SubscriptionStatus[]> {
    return Promise.all(
      this.#durable.all().map(async (registration) => {
        const open = this.#names.get(registration.name)
        const status =
          open === undefined ? await this.#durable.idleStatus(registration) : open.status()
        return { ...status, limits: limitsOf({}, registration) }
      })
    )
  }

  /** Least offset of the durable subscriptions in a channel's journal; undefined where there is none. */
  leastOffset(channel: string): Promise<number | undefined> {
    return this.#durable.leastOffset(channel)
  }

  /** How far each durable subscription is behind, in messages, open or not. */
  async lags(): Promise<{ name: string; lag: number }[]> {
    const statuses = await this.list()
    return statuses.map(({ durable, lag }) => ({ name: durable ?? '', lag }))
  }

  /** Forgets a durable subscription. Throws ERR_SUBSCRIPTION_UNKNOWN, ERR_SUBSCRIPTION_IN_USE. */
  async delete(name: string): Promise<void> {
    if (this.#durable.find(name) === undefined) throw unknown(name)
    if (this.#names.has(name)) throw inUse(name)
    await this.#components.store.unregister(name)
    await new ParkedRows(this.#components.store, name).clear()
    this.#release(name)
    this.#emitter.emit('unregistered', { name })
  }

  /**
   * Goes on without what a durable subscription waits for, in its channels, for all subscriptions of this node.
   * Throws ERR_SUBSCRIPTION_UNKNOWN.
   */
  async skipGaps(name: string): Promise<Gap[]> {
    const registration = this.#durable.find(name)
    if (registration === undefined) throw unknown(name)
    const { gaps, store } = this.#components
    const skipped: Gap[] = []
    for (const channel of this.#components.interests.channelsOf(parseFilter(registration.filter))) {
      for (const { from, publisher, session, to } of gaps.in(channel)) {
        const log = { channel, publisher, session }
        await store.giveUp(log, { from, to }, 'skipped')
        skipped.push({ ...log, from, to, reason: 'skipped' })
      }
    }
    return skipped
  }

  /** See `DeadLetters.redrive`. Throws ERR_SUBSCRIPTION_UNKNOWN. */
  async redrive(name: string, ids?: readonly string[]): Promise<number> {
    const { store } = this.#components
    // Of a work group, too.
    if (!store.registrations().some((known) => known.name === name)) throw unknown(name)
    return this.deadLetters.redrive(name, ids)
  }

  // ---- opening and closing ----

  /** What is to be opened. Throws ERR_FILTER, ERR_OPTIONS, ERR_SUBSCRIPTION_IN_USE, ERR_SUBSCRIPTION_CONFLICT. */
  #asked(
    text: string,
    options: SubscribeOptions
  ): Pick<Opened, 'filter' | 'from' | 'where'> & { registration: Registration | undefined } {
    const filter = parseFilter(resolveSelf(text, this.#init.self))
    const { durable } = options
    const registration = durable === undefined ? undefined : this.#durable.find(durable)
    // Before it is compared with anything: what is wrong in itself is no conflict.
    compileWhere(options.where ?? [], this.#fields)
    if (durable !== undefined) this.#assertFree(durable)
    if (registration !== undefined) assertAlike(registration, filter.filter, options.where)
    const from = options.from ?? defaultFrom(filter, durable)
    return { filter, from, registration, where: whereOf(options, registration) }
  }

  #assertFree(name: string): void {
    assertName(name)
    if (this.#names.has(name)) throw inUse(name)
    this.#durable.assertNoGroup(name)
  }

  async #start(opened: Opened): Promise<void> {
    const { backfill, feed, interests, membership, sync } = this.#components
    const { filter, subscription } = opened
    const name = subscription.durable
    this.#open.set(subscription, opened)
    if (name === undefined || this.#registered.get(name) === undefined) {
      const fresh = interests.channelsOf(filter).filter((channel) => !membership.has(channel))
      opened.interest = interests.hold(filter, opened.since)
      if (opened.from === 'now') await Promise.all(fresh.map((channel) => sync.join(channel)))
    }
    if (opened.from !== 'now' && !this.#isRegistered(name)) {
      for (const channel of interests.channelsOf(filter)) {
        await backfill.fill(channel, opened.since)
      }
    }
    // First, so that a lane that is up to date misses no offer.
    feed.listen(filter.filter, subscription)
    const cursors = name === undefined ? undefined : await this.#cursors(name, opened)
    await subscription.loadParked()
    for (const channel of this.#components.interests.channelsOf(filter)) {
      const cursor =
        cursors?.get(channel) ?? (await this.#cursorFor(opened, channel, cursors === undefined))
      subscription.addLane(channel, cursor)
    }
    opened.isOpening = false
    for (const channel of interests.channelsOf(filter)) this.#discovered(channel)
  }

  /** The stored cursors of a durable subscription, which is registered with its first ones where it is new. */
  async #cursors(name: string, opened: Opened): Promise<ReadonlyMap<string, CursorState>> {
    const { store } = this.#components
    const { filter } = opened
    if (this.#durable.find(name) !== undefined) return store.cursors(name)
    const cursors = new Map<string, CursorState>()
    for (const channel of this.#components.interests.channelsOf(filter)) {
      cursors.set(channel, await this.#cursorFor(opened, channel, true))
    }
    const registration = {
      name,
      filter: filter.filter,
      createdAt: opened.createdAt,
      options: { ...opened.tuning, since: opened.since, where: opened.where }
    }
    await store.register(registration, cursors)
    if (opened.interest !== undefined) this.#registered.set(name, opened.interest)
    opened.interest = undefined
    this.#emitter.emit('registered', registration)
    return cursors
  }

  /** Where to begin in a channel: as asked at the creation, later from the time of the creation. */
  #cursorFor(opened: Opened, channel: string, isNew: boolean): Promise<CursorState> {
    const { feed, store } = this.#components
    const { from: asked, since } = opened
    const from = isNew ? asked : since === 'all' ? 'earliest' : new Date(since)
    return startCursor({ store, feed }, { from, channel, filter: opened.filter })
  }

  async #close(subscription: OpenSubscription): Promise<void> {
    const opened = this.#open.get(subscription)
    const name = subscription.durable
    if (name !== undefined && this.#names.get(name) === subscription) this.#names.delete(name)
    if (opened === undefined) return
    this.#open.delete(subscription)
    this.#components.feed.unlisten(opened.filter.filter, subscription)
    opened.interest?.release()
    await Promise.resolve()
  }

  // ---- channels ----

  #hold(registration: Registration): void {
    const { interests } = this.#components
    const { createdAt, filter, name } = registration
    const since = sinceOf('now', createdAt, registration)
    this.#registered.set(name, interests.hold(parseFilter(filter), since, createdAt))
  }

  #isRegistered(name: string | undefined): boolean {
    return name !== undefined && this.#durable.find(name) !== undefined
  }

  #release(name: string): void {
    this.#registered.get(name)?.release()
    this.#registered.delete(name)
  }

  /** A channel that some open wildcard may not read yet. */
  #discovered(channel: string): void {
    const { logger, membership, store } = this.#components
    for (const opened of this.#open.values()) {
      const { filter, isOpening, subscription } = opened
      if (isOpening || filter.channel !== undefined || subscription.hasLane(channel)) continue
      if (!filter.matchesChannel(channel)) continue
      // No room to join it, and nothing of it on disk: there is nothing to read.
      if (!membership.has(channel) && !store.channels().includes(channel)) continue
      void this.#cursorFor(opened, channel, false).then(
        (cursor) => subscription.addLane(channel, cursor),
        (error: unknown) => logger.error({ err: error, channel }, 'a channel could not be opened')
      )
    }
  }

  // ---- gaps and slow consumers ----

  /** A gap is passed over where nobody else on this node wants to wait for it. */
  async #giveUp({ channel, from, publisher, session, to }: Hole): Promise<void> {
    const { logger, store } = this.#components
    const waits = store
      .registrations()
      .some(
        ({ filter, options }) =>
          options['onGap'] !== 'skip' && parseFilter(filter).matchesChannel(channel)
      )
    if (waits) return
    try {
      await store.giveUp({ channel, publisher, session }, { from, to }, 'skipped')
    } catch (error) {
      logger.warn({ err: error, channel }, 'a gap could not be passed over; it is tried again')
    }
  }

  #tellSlow(subscription: OpenSubscription): void {
    const lag = subscription.slowLag()
    if (lag === undefined) return
    const { durable, filter } = subscription
    this.stats.slow++
    this.#emitter.emit('slow', { filter, durable, lag })
  }

  // ---- reporting ----

  async #trimmed(channel: string, first: number): Promise<void> {
    try {
      for (const unread of await this.#durable.unreadBelow(channel, first)) {
        this.#emitter.emit('retention:unread', { channel, ...unread })
      }
    } catch (error) {
      this.#components.logger.warn(
        { err: error, channel },
        'the cursors could not be compared with what was trimmed'
      )
    }
  }
}

function unknown(name: string): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_UNKNOWN',
    `this node has no durable subscription '${name}'`
  )
}

function inUse(name: string): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_IN_USE',
    `the durable subscription '${name}' is open elsewhere on this node; stop it there first`
  )
}
