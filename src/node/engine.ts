import type { Clock } from '../core/clock.ts'
import { Emitter, type Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import { Decoder } from '../delivery/decoder.ts'
import { Feed } from '../delivery/feed.ts'
import { History } from '../delivery/history.ts'
import { Groups } from '../groups/groups.ts'
import { groupOf } from '../groups/group-values.ts'
import { Inbox } from '../delivery/inbox.ts'
import { createUnseal } from '../delivery/inbox-unseal.ts'
import { type Interest, Interests } from '../delivery/interests.ts'
import { ReceiptTeller } from '../delivery/receipt-teller.ts'
import { Subscriptions } from '../delivery/subscriptions.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import { Backfill } from '../replication/backfill.ts'
import { Gaps } from '../replication/gaps.ts'
import { Membership } from '../replication/membership.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { PresenceComponents } from '../replication/presence.ts'
import { Publisher } from '../replication/publisher.ts'
import { Receiver, type ReceiverComponents } from '../replication/receiver.ts'
import { ReplicasHolder } from '../replication/replicas-holder.ts'
import { SlowPaths } from '../replication/slow-paths.ts'
import { Statements } from '../replication/statements.ts'
import { ReceivedVectors } from '../replication/received-vectors.ts'
import { Sync } from '../replication/sync.ts'
import { SyncHolder } from '../replication/sync-holder.ts'
import type { RetentionPolicy, Store } from '../store/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import type { AgreementKey } from '../wire/hpke.ts'
import { HybridClock } from '../wire/hybrid-clock.ts'
import { inboxChannel } from '../wire/inbox-receipt.ts'
import type { Signer } from '../wire/signature.ts'
import { parseFilter } from '../wire/topic.ts'
import { MeshView } from './mesh-view.ts'
import { Services } from '../services/services.ts'
import { Streams } from '../streams/streams.ts'
import { Upkeep } from './upkeep.ts'

export interface EngineComponents {
  readonly store: Store
  readonly transport: Transport
  /** A steady one, the store's own: ages are measured by it. */
  readonly clock: Clock
  /** The machine's, whose jumps are looked for. */
  readonly machineClock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signer: Signer
  /** Opens what is sealed to this node. */
  readonly agreementKey: AgreementKey
  /** See `ReceiverComponents.reader`. */
  readonly reader?: ReceiverComponents['reader']
  /** See `PresenceComponents.announcementOf`. */
  readonly announcementOf?: PresenceComponents['announcementOf']
}

export interface EngineInit {
  readonly name: string
  /** For every channel, those that nodes use among themselves included: see `completeRetention`. */
  readonly retention: (channel: string) => RetentionPolicy
  /** Filters whose channels are kept for others. */
  readonly keep: readonly string[]
  /** Are messages kept for peers that are away? */
  readonly custodian: boolean
  /** Is the store still there when the node comes back? */
  readonly remembers: boolean
  /** Shortest time between two announcements, ms; for simulations. */
  readonly presenceIntervalMs?: number | undefined
  /** See `UpkeepInit.scrubBytes`; for simulations, which run through hours of it in seconds. */
  readonly scrubBytes?: number | undefined
}

export interface EngineEvents {
  /** A wildcard could not join one more channel. */
  'channels:limit': { filter: string; channel: string }
}

/** A batch of a channel that keeps last values is small, so that one live value holds few dead ones. */
const LAST_VALUE_BATCH = 16

/**
 * The layers above one store and one transport, put together. The same for a real node and for a simulated
 * one: what differs comes in as components.
 */
export class Engine implements Lifecycle {
  readonly store: Store
  readonly transport: Transport
  readonly events: Events<EngineEvents>
  readonly membership: Membership
  readonly publisher: Publisher
  readonly receiver: Receiver
  readonly gaps: Gaps
  readonly holder: SyncHolder
  readonly sync: Sync
  readonly mesh: MeshView
  readonly inbox: Inbox
  readonly replicas: ReplicasHolder
  readonly received: ReceivedVectors
  readonly slowPaths: SlowPaths
  readonly subscriptions: Subscriptions
  readonly services: Services
  readonly streams: Streams
  readonly history: History
  readonly groups: Groups
  readonly #init: EngineInit
  readonly #emitter: Emitter<EngineEvents>
  readonly #emitters: <Map extends object>() => Emitter<Map>
  readonly #components: EngineComponents
  readonly #teller: ReceiptTeller
  readonly #statements: Statements
  readonly #interests: Interests
  readonly #feed: Feed
  readonly #upkeep: Upkeep
  readonly #kept: Interest[] = []
  #stopped: Promise<void> | undefined

  constructor(components: EngineComponents, init: EngineInit) {
    const { logger, store, transport } = components
    this.#emitters = () =>
      new Emitter((error) => logger.error({ err: error }, 'an event listener threw'))
    this.#components = components
    this.#init = init
    this.#emitter = this.#emitters()
    this.events = this.#emitter
    this.store = store
    this.transport = transport
    const hybridClock = new HybridClock(components)
    const self = transport.self.id
    this.membership = new Membership(components, this.#emitters())
    this.publisher = this.#createPublisher(hybridClock)
    this.mesh = this.#createMeshView(hybridClock)
    this.receiver = this.#createReceiver(hybridClock)
    this.gaps = new Gaps(components)
    this.replicas = new ReplicasHolder(components, {
      // Who forgets everything at a stop confirms nothing, but that a group has one more member who knows.
      vouches: (channel) =>
        groupOf(channel) === undefined ? (init.remembers ? 'synced' : undefined) : 'held'
    })
    this.received = this.#createReceived()
    this.slowPaths = new SlowPaths(
      { ...components, clock: components.machineClock, disk: this.publisher.disk },
      this.#emitters()
    )
    this.inbox = this.#createInbox()
    const { inbox, membership, publisher, receiver } = this
    this.holder = new SyncHolder(
      { ...components, receipts: inbox.receipts },
      { self },
      this.#emitters()
    )
    this.sync = this.#createSync()
    this.#teller = new ReceiptTeller(
      { ...components, sync: this.sync, receipts: inbox.receipts },
      { channel: inboxChannel(self) }
    )
    this.#statements = new Statements(
      { ...components, receiver, publisher, holder: this.holder },
      { self }
    )
    this.#interests = new Interests(
      { ...components, membership },
      { onLimit: (filter, channel) => this.#emitter.emit('channels:limit', { filter, channel }) }
    )
    const decoder = new Decoder({ unseal: createUnseal(self, components.agreementKey) })
    this.#feed = new Feed(store, decoder)
    const readers = this.#readerComponents(decoder)
    this.subscriptions = new Subscriptions(readers, { self, name: init.name }, this.#emitters())
    const { stats } = this.subscriptions
    const { directory, ephemeral, sender } = this.mesh
    const members = { ...readers, directory, ephemeral, sender, stats }
    this.groups = new Groups(members, { self }, this.#emitters())
    this.services = new Services(
      { ...components, directory: this.mesh.directory },
      { onChange: () => this.mesh.presence.changed() }
    )
    this.streams = new Streams(components, {
      resolve: (peer) => this.mesh.directory.resolve(peer)
    })
    this.history = new History({ ...components, decoder }, { self })
    this.#upkeep = new Upkeep(components, {
      ...init,
      received: (channel) => this.received.received(channel)
    })
    transport.onFrame(receiver.judge)
  }

  /** Leaves everything stopped when it rejects. */
  async start(): Promise<void> {
    const { membership, publisher, store, transport } = this
    try {
      await store.start()
      this.#feed.start()
      this.gaps.start()
      await publisher.start()
      await this.mesh.start()
      this.services.start()
      await this.inbox.start()
      this.replicas.start()
      await this.received.start()
      this.slowPaths.start()
      this.holder.start()
      this.#statements.start()
      this.sync.start()
      this.#teller.start()
      this.#interests.start()
      membership.hold(inboxChannel(transport.self.id), 'all')
      for (const filter of this.#init.keep) {
        this.#kept.push(this.#interests.hold(parseFilter(filter), 'all'))
      }
      this.#interests.onChannel(() => {
        if (this.#kept.length > 0) this.mesh.presence.changed()
      })
      for (const channel of store.channels()) {
        if (scopeOf(channel) === 'mesh') transport.advertise(channel)
      }
      this.subscriptions.events.on('registered', () => this.mesh.subscribers.changed())
      this.subscriptions.events.on('unregistered', () => this.mesh.subscribers.changed())
      this.subscriptions.events.on('redriven', ({ key, row, subscription }) =>
        this.groups.park(subscription, key, row)
      )
      this.groups.events.on('registered', () => this.mesh.subscribers.changed())
      this.groups.events.on('unregistered', () => this.mesh.subscribers.changed())
      this.groups.events.on('changed', () => this.mesh.presence.changed())
      await transport.start()
      this.subscriptions.start()
      await this.groups.start()
      this.#upkeep.start()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    await this.services.stop()
    await this.streams.stop()
    await this.#upkeep.stop()
    await this.groups.stop()
    await this.received.stop()
    await this.mesh.stop()
    await this.inbox.stop()
    await this.publisher.stop()
    await this.subscriptions.stop()
    this.sync.stop()
    this.#teller.stop()
    this.#statements.stop()
    this.#interests.stop()
    this.membership.stop()
    this.holder.stop()
    this.replicas.stop()
    this.slowPaths.stop()
    await this.transport.stop()
    this.gaps.stop()
    this.#feed.stop()
    await this.store.stop()
  }

  #createPublisher(hybridClock: HybridClock): Publisher {
    const { retention } = this.#init
    return new Publisher(
      { ...this.#components, hybridClock },
      {
        publisher: this.transport.self.id,
        batchMessages: (channel) =>
          retention(channel).keepLast === undefined ? LIMITS.batchMessages : LAST_VALUE_BATCH,
        retention
      },
      this.#emitters()
    )
  }

  #createReceiver(hybridClock: HybridClock): Receiver {
    const { membership, publisher } = this
    return new Receiver(
      { ...this.#components, hybridClock, membership },
      {
        self: this.transport.self.id,
        ownSession: () => publisher.session,
        supersede: (session) => publisher.supersede(session),
        ephemeral: (record) => this.mesh.ephemeral.take(record)
      },
      this.#emitters()
    )
  }

  #createMeshView(hybridClock: HybridClock): MeshView {
    const { membership, publisher } = this
    const { custodian, name, presenceIntervalMs, remembers } = this.#init
    return new MeshView(
      { ...this.#components, hybridClock, membership, publisher },
      {
        name,
        custodian,
        remembers,
        leastIntervalMs: presenceIntervalMs,
        kept: () => this.#kept.flatMap(({ filter }) => this.#interests.channelsOf(filter)),
        services: () => this.services.host.names(),
        groups: () => this.groups.openNames(),
        ownLag: async () => [...(await this.subscriptions.lags()), ...(await this.groups.lags())]
      },
      this.#emitters
    )
  }

  #createReceived(): ReceivedVectors {
    const { membership, publisher, transport } = this
    return new ReceivedVectors(
      { ...this.#components, membership, publisher },
      {
        self: transport.self.id,
        retention: this.#init.retention,
        subscribersOf: (channel) => this.mesh.subscribers.subscribersOf(channel),
        ownOffset: (channel) => this.subscriptions.leastOffset(channel)
      }
    )
  }

  #createInbox(): Inbox {
    const { directory } = this.mesh
    return new Inbox(
      { ...this.#components, publisher: this.publisher },
      {
        custodian: this.#init.custodian,
        candidates: () => custodiansOf(directory),
        resolve: (peer) => directory.resolve(peer),
        nameOf: (peer) => directory.get(peer)?.name
      },
      { outbox: this.#emitters(), receipts: this.#emitters() }
    )
  }

  #createSync(): Sync {
    const { inbox, membership, publisher, receiver, transport } = this
    return new Sync(
      { ...this.#components, membership, receiver, receipts: inbox.receipts },
      {
        self: transport.self.id,
        ownSession: () => publisher.session,
        supersede: (session) => publisher.supersede(session),
        maxAgeMs: (channel) => this.#init.retention(channel).maxAgeMs,
        onInboxHeld: (peer, logs) => this.#teller.held(peer, logs)
      }
    )
  }

  /** What those who read for a consumer work with. */
  #readerComponents(decoder: Decoder) {
    const { gaps, membership, publisher, receiver, sync } = this
    const maxAgeMs = (channel: string): number => this.#init.retention(channel).maxAgeMs
    return {
      ...this.#components,
      decoder,
      feed: this.#feed,
      gaps,
      membership,
      publisher,
      receiver,
      interests: this.#interests,
      sync,
      backfill: new Backfill({ ...this.#components, sync, receiver }, { maxAgeMs })
    }
  }
}

/** Connected peers that keep messages for others. */
function custodiansOf(directory: PeerDirectory): PeerId[] {
  return directory
    .list()
    .filter(({ connected, custodian }) => connected && custodian)
    .map(({ id }) => id)
}
