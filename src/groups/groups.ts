import { type Clock, type Timer, every } from '../core/clock.ts'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { DeadLetter, SubscribeOptions, Subscription } from '../delivery/contract.ts'
import { groupDeadLetterChannel } from '../delivery/dead-letter.ts'
import type { Decoder } from '../delivery/decoder.ts'
import type { Feed } from '../delivery/feed.ts'
import type { Interest, Interests } from '../delivery/interests.ts'
import { type ParkedRow, ParkedRows } from '../delivery/parked-rows.ts'
import { lagOf, limitsOf } from '../delivery/registration.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Backfill } from '../replication/backfill.ts'
import type { EphemeralReceiver, EphemeralSender } from '../replication/ephemeral.ts'
import type { Gaps } from '../replication/gaps.ts'
import type { Membership, Since } from '../replication/membership.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { Publisher } from '../replication/publisher.ts'
import type { Sync } from '../replication/sync.ts'
import type { Registration, Store } from '../store/contract.ts'
import { type ParsedFilter, parseFilter, topicMatches } from '../wire/topic.ts'
import type { GroupStatus } from './contract.ts'
import { GroupChannel } from './group-channel.ts'
import { conflict, GroupOpening } from './group-opening.ts'
import { GroupSubscription, unknown } from './group-subscription.ts'
import { statusOf } from './group-status.ts'
import { encodeMembership, groupChannel, groupOf } from './group-values.ts'

export interface GroupsComponents {
  readonly store: Store
  readonly publisher: Pick<Publisher, 'publish' | 'replicas'>
  readonly interests: Interests
  readonly feed: Feed
  readonly decoder: Decoder
  readonly gaps: Gaps
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly membership: Membership
  readonly backfill: Pick<Backfill, 'fill'>
  readonly sender: Pick<EphemeralSender, 'send'>
  readonly ephemeral: Pick<EphemeralReceiver, 'events'>
  readonly sync: Pick<Sync, 'isPending' | 'join' | 'neighbours' | 'open' | 'settled'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly stats: DeliveryStats
}

export interface GroupsInit {
  /** PeerId of this node. */
  readonly self: PeerId
}

export interface GroupsEvents {
  /** A group was registered on this node. */
  registered: { name: string }
  /** A group is registered on this node no more. */
  unregistered: { name: string }
  /** A message used up its hand-overs at a member on this node. */
  'dead-letter': DeadLetter
  /** A group is consumed on this node, or no more. */
  changed: { names: readonly string[] }
}

/** A group that this node holds. */
interface Known {
  readonly channel: GroupChannel
  /** Resolves when what is on disk of the group has been read. */
  readonly read: Promise<void>
  readonly release: () => void
  interest: Interest | undefined
  open: GroupSubscription | undefined
  /** Its filter, where it is registered or being opened. */
  filter: ParsedFilter
}

/** A membership of a former life, or one that could not say goodbye, is ended so often where it is there, ms. */
const TIDY_MS = 5_000

/** The work groups of this node: those that are registered, and those that someone consumes now. */
export class Groups {
  readonly #components: GroupsComponents
  readonly #init: GroupsInit
  readonly #emitter: Emitter<GroupsEvents>
  readonly #known = new Map<string, Known>()
  readonly #forgetting = new Map<string, Promise<void>>()
  #timer: Timer | undefined
  #tidying: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(components: GroupsComponents, init: GroupsInit, emitter: Emitter<GroupsEvents>) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
  }

  get events(): Events<GroupsEvents> {
    return this.#emitter
  }

  /** Groups that are consumed here now. */
  get openCount(): number {
    return this.openNames().length
  }

  openNames(): string[] {
    return [...this.#known].filter(([, { open }]) => open !== undefined).map(([name]) => name)
  }

  /** Resolves when what is known of the groups has been read. The publisher runs. */
  async start(): Promise<void> {
    const { clock, interests, store } = this.#components
    for (const registration of store.registrations()) {
      if (!isGroup(registration)) continue
      const { createdAt, filter, name, options } = registration
      const known = this.#know(name, parseFilter(filter))
      const since = options['since'] as Since
      known.interest = interests.hold(known.filter, since, createdAt)
    }
    interests.onChannel((channel) => this.#discovered(channel))
    await Promise.all([...this.#known.values()].map(({ read }) => read))
    for (const [name, { channel }] of this.#known) {
      // There was no time to let go of it.
      if (channel.isForgotten) this.#forgotten(name, channel)
    }
    this.#tidy()
    this.#timer = every(clock, TIDY_MS, () => this.#tidy())
  }

  /** Before the publisher stops: members say goodbye. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await Promise.all([...this.#known.values()].map(async ({ open }) => open?.stop()))
    await this.#tidying
    for (const { channel } of this.#known.values()) channel.stop()
  }

  /** Throws ERR_FILTER, ERR_OPTIONS, ERR_SUBSCRIPTION_*; what else keeps it from opening rejects `ready` and ends it. */
  subscribe(text: string, name: string, options: SubscribeOptions): Subscription {
    if (this.#stopped) throw new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
    const filter = parseFilter(text)
    const from = checked(text, options)
    const registration = this.#components.store
      .registrations()
      .find((registered) => registered.name === name)
    this.#assertFree(name, filter, registration)
    const known = this.#know(name, filter)
    const tuning = limitsOf(options, registration)
    const { self } = this.#init
    const opening = new GroupOpening(
      this.#components,
      { self, name, filter, from, tuning, majority: majorityOf(options) },
      known.channel
    )
    const subscription = new GroupSubscription(
      { ...this.#components, receiver: this.#components.ephemeral, channel: known.channel },
      {
        ...tuning,
        name,
        self,
        filter: filter.filter,
        autoAck: options.ack === 'auto',
        retry: options.retry,
        matches: (topic) => topicMatches(filter, topic),
        onDeadLetter: (letter) => this.#emitter.emit('dead-letter', letter),
        open: (opened) => this.#open(known, opened, opening),
        hear: () => opening.hear(),
        redefined: async (opened) => {
          known.interest = await opening.redefine(known.interest)
          for (const channel of this.#components.interests.channelsOf(filter)) {
            opened.rewind(channel, await opening.firstPlaceOf(channel))
          }
        },
        close: (closed) => {
          if (known.open !== closed) return
          known.open = undefined
          this.#emitter.emit('changed', { names: this.openNames() })
        }
      }
    )
    known.open = subscription
    known.filter = filter
    const { signal } = options
    signal?.addEventListener('abort', () => void subscription.stop(), { once: true })
    if (signal?.aborted === true) void subscription.stop()
    return subscription
  }

  /** Every group that this node holds anything of. */
  async list(): Promise<GroupStatus[]> {
    const statuses: GroupStatus[] = []
    for (const [name, known] of await this.#all()) {
      const { definition } = known.channel.state
      if (definition === undefined) continue
      const channels = this.#components.interests.channelsOf(parseFilter(definition.filter))
      const { open } = this.#known.get(name) ?? {}
      statuses.push(
        statusOf(this.#components, {
          name,
          channels,
          state: known.channel.state,
          keeper: open?.keeper
        })
      )
    }
    return statuses.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Ends a group in the whole mesh, with all that is known of what was done: who opens one of that name makes a new one.
   * Nodes that are off hear of it later. Rejects with ERR_SUBSCRIPTION_UNKNOWN, with ERR_SUBSCRIPTION_IN_USE while a
   * member is at work, and with what `Publisher.publish` rejects with.
   */
  async forget(name: string): Promise<void> {
    const status = (await this.list()).find((group) => group.name === name)
    if (status === undefined) throw unknown(name)
    const busy = status.members.filter(({ state }) => state === 'live')
    if (status.open || busy.length > 0) {
      const nodes = busy.map(({ node, peerId }) => node ?? peerId)
      throw new SkeinError(
        'ERR_SUBSCRIPTION_IN_USE',
        `the group '${name}' has members at work (${nodes.join(', ')}); stop them first`,
        { details: { name } }
      )
    }
    // So that others hear of it; it is left again a while later.
    const release = this.#components.membership.hold(groupChannel(name), 'all')
    try {
      const { self } = this.#init
      const channel = new GroupChannel(this.#components, { name, self })
      await channel.say('forgotten', Buffer.from('forgotten'))
    } finally {
      release()
    }
    await this.#forgetting.get(name)
  }

  /** A dead letter of a group was redriven on this node, and is on disk. */
  park(name: string, key: string, row: ParkedRow): void {
    this.#known.get(name)?.open?.park(key, row)
  }

  /** How far each group registered here is behind, in messages of this node's journals. */
  async lags(): Promise<{ name: string; lag: number }[]> {
    const { interests, store } = this.#components
    const lags: { name: string; lag: number }[] = []
    for (const registration of store.registrations()) {
      if (!isGroup(registration)) continue
      const cursors = await store.cursors(registration.name)
      let lag = 0
      for (const channel of interests.channelsOf(parseFilter(registration.filter))) {
        lag += lagOf(cursors.get(channel), store.journal(channel))
      }
      lags.push({ name: registration.name, lag })
    }
    return lags
  }

  #know(name: string, filter: ParsedFilter): Known {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const { self } = this.#init
    const channel = new GroupChannel(this.#components, { name, self })
    channel.events.on('forgotten', () => this.#forgotten(name, channel))
    // All of it: what is done is as old as the messages.
    const release = this.#components.membership.hold(channel.channel, 'all')
    const fresh: Known = {
      channel,
      read: channel.start(),
      release,
      interest: undefined,
      open: undefined,
      filter
    }
    // Whoever opens the group meets the error.
    fresh.read.catch(() => undefined)
    this.#known.set(name, fresh)
    return fresh
  }

  #forgotten(name: string, channel: GroupChannel): void {
    const known = this.#known.get(name)
    if (known?.channel !== channel) return
    const forgetting = known.read.then(async () => {
      if (!channel.isForgotten) return
      if (this.#known.get(name) === known) this.#known.delete(name)
      channel.stop()
      known.release()
      known.interest?.release()
      known.open?.forgotten()
      await known.open?.stop()
      await this.#components.store.unregister(name)
      await new ParkedRows(this.#components.store, name).clear()
      this.#emitter.emit('unregistered', { name })
    })
    this.#forgetting.set(name, forgetting)
    forgetting
      .catch((error: unknown) => {
        this.#components.logger.warn({ err: error, group: name }, 'a group could not be forgotten')
      })
      .finally(() => {
        if (this.#forgetting.get(name) === forgetting) this.#forgetting.delete(name)
      })
  }

  #assertFree(name: string, filter: ParsedFilter, registration: Registration | undefined): void {
    if (registration !== undefined && !isGroup(registration)) {
      throw new SkeinError(
        'ERR_SUBSCRIPTION_CONFLICT',
        `'${name}' is a durable subscription of this node; a group needs another name`,
        { details: { name } }
      )
    }
    if (this.#known.get(name)?.open !== undefined) {
      throw new SkeinError(
        'ERR_SUBSCRIPTION_IN_USE',
        `the group '${name}' is open elsewhere on this node; stop it there first`
      )
    }
    if (registration !== undefined && registration.filter !== filter.filter) {
      throw conflict(name, registration.filter, filter.filter)
    }
  }

  async #open(known: Known, opened: GroupSubscription, opening: GroupOpening): Promise<void> {
    await known.read
    await this.#tidying
    known.interest = await opening.register(known.interest)
    this.#emitter.emit('registered', { name: opened.group })
    for (const channel of this.#components.interests.channelsOf(known.filter)) {
      opened.addLane(channel, await opening.placeOf(channel))
    }
    this.#openings.set(opened, opening)
    this.#emitter.emit('changed', { names: this.openNames() })
  }

  readonly #openings = new WeakMap<GroupSubscription, GroupOpening>()

  /** A channel that some open group with a wildcard may not read yet. */
  #discovered(channel: string): void {
    const { logger, membership } = this.#components
    for (const { filter, open } of this.#known.values()) {
      const opening = open === undefined ? undefined : this.#openings.get(open)
      if (open === undefined || opening === undefined || open.hasLane(channel)) continue
      if (!filter.matchesChannel(channel) || !membership.has(channel)) continue
      opening.placeOf(channel).then(
        (place) => open.addLane(channel, place),
        (error: unknown) => logger.error({ err: error, channel }, 'a channel could not be opened')
      )
    }
  }

  /** Says of groups that nobody consumes here that this node is no member: it may have had no time to. */
  #tidy(): void {
    this.#tidying = this.#tidying.then(async () => {
      const { self } = this.#init
      for (const { channel, open } of this.#known.values()) {
        const said = channel.state.members.get(self)
        if (open !== undefined || said?.joined !== true) continue
        try {
          await channel.say('member', encodeMembership({ ...said, joined: false, full: false }))
        } catch (error) {
          if (!isSkeinError(error)) throw error
          this.#components.logger.debug({ err: error }, 'a group cannot be left yet')
        }
      }
    })
  }

  /** Those registered here, and those whose channel this node keeps for others. */
  async #all(): Promise<Map<string, Pick<Known, 'channel'>>> {
    const all = new Map<string, Pick<Known, 'channel'>>(this.#known)
    const { self } = this.#init
    for (const name of this.#components.store.channels().map(groupOf)) {
      if (name === undefined || all.has(name)) continue
      const channel = new GroupChannel(this.#components, { name, self })
      await channel.start()
      channel.stop()
      all.set(name, { channel })
    }
    return all
  }
}

/** Is it the registration of a group rather than of a durable subscription? */
function isGroup({ options }: Registration): boolean {
  return options['group'] === true
}

/** Members at most, 0: it works without a majority, undefined: not said. */
function majorityOf({ onPartition }: SubscribeOptions): number | undefined {
  if (onPartition === undefined) return undefined
  return onPartition === 'available' ? 0 : onPartition.majority
}

function checked(text: string, options: SubscribeOptions): 'now' | 'earliest' | Date {
  const { durable, from = 'now', group = '' } = options
  // Before anything is known of it.
  groupChannel(group)
  groupDeadLetterChannel(group)
  const refuse = (option: string, message: string): SkeinError =>
    new SkeinError('ERR_OPTIONS', message, { details: { option } })
  if (durable !== undefined) {
    throw refuse('group', "group: a group is durable by itself; leave 'durable' out")
  }
  if (options.where !== undefined) {
    throw refuse(
      'where',
      'where: members of a group take what its filter matches; choose in the handler'
    )
  }
  if (text.startsWith('@')) {
    throw refuse('group', `group: '${text}' is an inbox, which one node alone reads`)
  }
  if (from === 'now' || from === 'earliest' || from instanceof Date) return from
  throw refuse('from', "from: a group begins at 'now', 'earliest' or a date")
}
