import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import { KIB, MIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { JournalEntry, Registration, RetentionPolicy, Store } from '../store/contract.ts'
import { decodeMessages } from '../wire/body.ts'
import { PRESENCE_CHANNEL } from '../wire/presence.ts'
import { FLAGS } from '../wire/record.ts'
import { parseTopic, resolveSelf } from '../wire/topic.ts'
import type { Membership } from './membership.ts'
import type { PeerDirectory, PeerState } from './peer-directory.ts'
import type { Publisher } from './publisher.ts'
import { SubscriberLag } from './subscriber-registry-lag.ts'
import {
  decodeSubscriptionFacts,
  encodeSubscriptionFacts,
  parseSubscriberSuffix,
  SUBSCRIBERS_CHANNEL,
  type SubscriptionFacts,
  subscriberTopic
} from './subscriber-registry-rows.ts'
import { type KnownSubscription, SubscriberTable } from './subscriber-registry-table.ts'

export { SUBSCRIBERS_CHANNEL } from './subscriber-registry-rows.ts'

export interface SubscriberRegistryComponents {
  readonly store: Pick<
    Store,
    'channels' | 'events' | 'journal' | 'readJournal' | 'registrations' | 'seekJournal'
  >
  readonly publisher: Pick<Publisher, 'publish'>
  readonly membership: Pick<Membership, 'hold'>
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface SubscriberRegistryInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** How far this node's own durable subscriptions are behind, in messages. */
  readonly ownLag: () => Promise<ReadonlyArray<{ readonly name: string; readonly lag: number }>>
  /**
   * Tell the mesh of this node's durable subscriptions; default true. False for a node in memory, whose
   * subscriptions end with it: nobody would ever take them back.
   */
  readonly announce?: boolean | undefined
}

/** A durable subscription somewhere in the mesh. */
export interface SubscriberEntry {
  readonly peerId: PeerId
  /** Name of its node, where it is known. */
  readonly node: string | undefined
  readonly subscription: string
  readonly filter: string
  /** Messages it is not done with: as it said last, and what was published here since. */
  readonly lag: number
  readonly state: PeerState
  /** When its node was heard of last; undefined where it never was. */
  readonly lastSeen: Date | undefined
  /** By the clock of its node. */
  readonly createdAt: Date
}

/** Counters since start. */
export interface SubscriberRegistryStats {
  /** Values published of this node's own. */
  published: number
  /** Values put in by someone else than the peer they are about. */
  forged: number
  malformed: number
}

/** After a failed write or read, ms. */
const RETRY_MS = 5_000
/** Read from the journal at once. */
const READ_BYTES = 256 * KIB

/**
 * The durable subscriptions of the whole mesh: each node puts its own, as signed last values, into one channel that
 * every node holds. A value counts only where the peer it is about has signed it.
 */
export class SubscriberRegistry implements Lifecycle {
  readonly stats: SubscriberRegistryStats = { published: 0, forged: 0, malformed: 0 }
  readonly #components: SubscriberRegistryComponents
  readonly #init: SubscriberRegistryInit
  readonly #table = new SubscriberTable()
  readonly #lag: SubscriberLag
  /** What cannot be told to others, warned of once, by name. */
  readonly #unfit = new Set<string>()
  /** Payload that was put in last, by name: nothing is put in twice, whatever becomes of it. */
  readonly #told = new Map<string, string>()
  #ends: (() => void)[] = []
  #state: 'new' | 'open' | 'stopped' = 'new'
  /** What was in the journal before this start has been read. */
  #read = false
  /** Something may have changed since the last pass began. */
  #due = false
  #running: Promise<void> | undefined
  #retry: Timer | undefined

  constructor(components: SubscriberRegistryComponents, init: SubscriberRegistryInit) {
    this.#components = components
    this.#init = init
    this.#lag = new SubscriberLag({ ...components, table: this.#table })
  }

  /** Durable subscriptions known. */
  get size(): number {
    return this.#table.size
  }

  /**
   * Resolves when what is known has been read; what is not there of this node's own is put in afterwards. The
   * publisher and the transport run. Idempotent.
   */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'open'
    const { directory, membership, store } = this.#components
    this.#ends = [
      // All of it: last values are as old as the subscriptions.
      membership.hold(SUBSCRIBERS_CHANNEL, 'all'),
      store.events.on('journal', ({ channel, entries }) => {
        if (channel === SUBSCRIBERS_CHANNEL) this.#takeAll(entries)
      }),
      store.events.on('condition', ({ condition }) => {
        if (condition === 'open') this.changed()
      }),
      directory.events.on('heard', (peer) => this.#lag.mark(peer))
    ]
    await this.#attempt(() => this.#readJournal())
    this.changed()
  }

  /** Before the publisher stops. Idempotent. */
  async stop(): Promise<void> {
    this.#state = 'stopped'
    this.#retry?.cancel()
    for (const end of this.#ends.splice(0)) end()
    await this.#running
  }

  /** A durable subscription of this node was registered or deleted, or may have been. */
  changed(): void {
    if (this.#state !== 'open') return
    this.#due = true
    this.#running ??= this.#run()
  }

  /** Every durable subscription known, this node's own included, by peer and name. */
  async list(): Promise<SubscriberEntry[]> {
    const { directory } = this.#components
    const entries = await this.#listOwn()
    for (const subscription of this.#table.all()) {
      const { createdAt, filter, name, peerId } = subscription
      if (peerId === this.#init.self) continue
      const lag = await this.#lag.of(subscription)
      const peer = directory.get(peerId)
      entries.push({
        peerId,
        node: peer?.name,
        subscription: name,
        filter,
        lag,
        state: peer?.state ?? 'down',
        lastSeen: peer === undefined ? undefined : new Date(peer.lastSeen),
        createdAt: new Date(createdAt)
      })
    }
    return entries
  }

  /** The durable subscriptions that messages of `channel` may match, this node's own included. */
  subscribersOf(channel: string): { peerId: PeerId; name: string }[] {
    const found: { peerId: PeerId; name: string }[] = []
    for (const { name, parsed, peerId } of this.#table.all()) {
      if (parsed.matchesChannel(channel)) found.push({ peerId, name })
    }
    return found
  }

  async #listOwn(): Promise<SubscriberEntry[]> {
    const { clock, directory, store } = this.#components
    const { ownLag, self } = this.#init
    const lags = new Map((await ownLag()).map(({ name, lag }) => [name, lag]))
    return store.registrations().map(({ createdAt, filter, name }) => ({
      peerId: self,
      node: directory.get(self)?.name,
      subscription: name,
      filter,
      lag: lags.get(name) ?? 0,
      state: 'up',
      lastSeen: new Date(clock.now()),
      createdAt: new Date(createdAt)
    }))
  }

  #takeAll(entries: readonly JournalEntry[]): void {
    for (const { record } of entries) {
      if (record === undefined || (record.header.flags & FLAGS.control) !== 0) continue
      const { count, first, publisher, session } = record.header
      for (const [index, { payload, suffix }] of decodeMessages(record.body, count).entries()) {
        this.#take(publisher, { session, sequence: first + index }, { payload, suffix })
      }
      // An own value that this node does not know of, as after its disk was restored, is to be put right.
      if (publisher === this.#init.self) this.changed()
    }
  }

  #take(
    publisher: PeerId,
    place: { session: string; sequence: number },
    { payload, suffix }: { payload: Uint8Array; suffix: string }
  ): void {
    const about = parseSubscriberSuffix(suffix)
    const facts = payload.length === 0 ? undefined : decodeSubscriptionFacts(payload)
    if (about === undefined || (payload.length > 0 && facts === undefined)) {
      this.stats.malformed++
      return
    }
    if (about.peerId !== publisher) {
      this.stats.forged++
      return
    }
    this.#table.put(publisher, about.name, place, facts)
  }

  /** One pass after the other while something may have changed. */
  async #run(): Promise<void> {
    try {
      while (this.#due && this.#state === 'open') {
        this.#due = false
        await this.#attempt(async () => {
          if (!this.#read) await this.#readJournal()
          await this.#publishChanges()
        })
      }
    } finally {
      this.#running = undefined
    }
  }

  /** A store that is full or failed is tried again: nothing else of the node waits for this. */
  async #attempt(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      if (!isSkeinError(error)) throw error
      const { clock, logger } = this.#components
      logger.debug({ err: error }, 'the subscriptions of the mesh cannot be read or told of yet')
      this.#retry?.cancel()
      if (this.#state === 'open') this.#retry = clock.after(RETRY_MS, () => this.changed())
    }
  }

  async #readJournal(): Promise<void> {
    const { store } = this.#components
    let { first: offset } = store.journal(SUBSCRIBERS_CHANNEL)
    for (;;) {
      const page = await store.readJournal(SUBSCRIBERS_CHANNEL, offset, { maxBytes: READ_BYTES })
      const last = page.at(-1)
      if (last === undefined || this.#state !== 'open') break
      this.#takeAll(page)
      offset = last.offset + last.count
    }
    this.#read = true
  }

  /** Puts in what differs between what this node has registered and what the channel says. */
  async #publishChanges(): Promise<void> {
    if (this.#init.announce === false) return
    const said = new Map<string, KnownSubscription>()
    for (const subscription of this.#table.of(this.#init.self)) {
      said.set(subscription.name, subscription)
    }
    const changes: [string, SubscriptionFacts | undefined][] = []
    for (const registration of this.#components.store.registrations()) {
      const facts = this.#factsOf(registration)
      const known = said.get(registration.name)
      said.delete(registration.name)
      if (known?.filter !== facts.filter || known.createdAt !== facts.createdAt) {
        changes.push([registration.name, facts])
      }
    }
    for (const name of said.keys()) changes.push([name, undefined])
    await Promise.all(changes.map(([name, facts]) => this.#publish(name, facts)))
  }

  #factsOf({ createdAt, filter }: Registration): SubscriptionFacts {
    return { filter: resolveSelf(filter, this.#init.self), createdAt: Math.floor(createdAt) }
  }

  async #publish(name: string, facts: SubscriptionFacts | undefined): Promise<void> {
    const { logger, publisher } = this.#components
    const topic = subscriberTopic(this.#init.self, name)
    const payload = facts === undefined ? new Uint8Array(0) : encodeSubscriptionFacts(facts)
    // An inbox filter grows when `@me` becomes an id.
    const isReadable = facts === undefined || decodeSubscriptionFacts(payload) !== undefined
    if (topic === undefined || !isReadable) {
      if (this.#unfit.has(name)) return
      this.#unfit.add(name)
      logger.warn(
        { subscription: name, filter: facts?.filter },
        'other nodes cannot list this durable subscription: its name or its filter is too long'
      )
      return
    }
    const text = Buffer.from(payload).toString()
    if (this.#told.get(name) === text) return
    const parsed = parseTopic(topic)
    await publisher.publish(
      {
        topic: parsed,
        suffix: parsed.suffix,
        suffixBytes: parsed.suffixBytes,
        payload,
        contentType: facts === undefined ? undefined : 'application/json'
      },
      'stored'
    )
    this.#told.set(name, text)
    this.stats.published++
  }
}

/** What is kept of the channels that nodes use among themselves; undefined for all others. */
export function internalRetention(channel: string): RetentionPolicy | undefined {
  return INTERNAL_RETENTION.get(channel)
}

const LAST_VALUES: RetentionPolicy = {
  maxAgeMs: Infinity,
  maxBytes: 64 * MIB,
  maxMessages: Infinity,
  keepLast: 1,
  untilReceived: false,
  onFull: 'trim'
}

const INTERNAL_RETENTION: ReadonlyMap<string, RetentionPolicy> = new Map([
  [SUBSCRIBERS_CHANNEL, LAST_VALUES],
  // Announcements are never stored; what someone sends there all the same does not stay.
  [PRESENCE_CHANNEL, { ...LAST_VALUES, maxAgeMs: 60_000, maxBytes: MIB, keepLast: undefined }]
])
