import type { Clock } from '../core/clock.ts'
import type { Emitter } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import { EphemeralReceiver, EphemeralSender } from '../replication/ephemeral.ts'
import type { Membership } from '../replication/membership.ts'
import { PeerDirectory } from '../replication/peer-directory.ts'
import { Presence } from '../replication/presence.ts'
import type { Publisher } from '../replication/publisher.ts'
import { SubscriberRegistry } from '../replication/subscriber-registry.ts'
import type { Store } from '../store/contract.ts'
import type { HybridClock } from '../wire/hybrid-clock.ts'
import type { Signer } from '../wire/signature.ts'

export interface MeshViewComponents {
  readonly store: Store
  readonly transport: Transport
  readonly publisher: Publisher
  readonly membership: Membership
  readonly hybridClock: HybridClock
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signer: Signer
}

export interface MeshViewInit {
  readonly name: string
  readonly custodian: boolean
  /** Are this node's durable subscriptions still there when it comes back? */
  readonly remembers: boolean
  /** Channels held for others. */
  readonly kept: () => readonly string[]
  /** Names of the services that this node answers for. */
  readonly services: () => readonly string[]
  /** Work groups that are consumed here now. */
  readonly groups: () => readonly string[]
  /** How far this node's durable subscriptions are behind. */
  readonly ownLag: () => Promise<ReadonlyArray<{ readonly name: string; readonly lag: number }>>
  /** Shortest time between two announcements, ms; for simulations. */
  readonly leastIntervalMs?: number | undefined
}

/** What this node knows of all others, and tells them of itself: who is there, what they are called, how far they are. */
export class MeshView implements Lifecycle {
  readonly sender: EphemeralSender
  readonly ephemeral: EphemeralReceiver
  readonly directory: PeerDirectory
  readonly presence: Presence
  readonly subscribers: SubscriberRegistry

  constructor(
    components: MeshViewComponents,
    init: MeshViewInit,
    emitters: <Map extends object>() => Emitter<Map>
  ) {
    const { custodian, groups, kept, leastIntervalMs, name, ownLag, remembers, services } = init
    const { transport } = components
    const self: PeerId = transport.self.id
    const sender = new EphemeralSender(components)
    this.sender = sender
    this.ephemeral = new EphemeralReceiver(components, emitters())
    this.directory = new PeerDirectory(components, { name, custodian }, emitters())
    const { directory } = this
    this.presence = new Presence(
      { ...components, sender, receiver: this.ephemeral, directory },
      {
        name,
        custodian,
        session: sender.session,
        leastIntervalMs,
        content: async () => ({
          channels: kept(),
          services: services(),
          groups: groups(),
          subscriptions: remembers ? await ownLag() : [],
          addresses: transport.addresses()
        })
      }
    )
    this.subscribers = new SubscriberRegistry(
      { ...components, directory },
      { self, ownLag, announce: remembers }
    )
  }

  /** After the publisher, before the transport, so that no neighbour is missed. */
  async start(): Promise<void> {
    await this.directory.start()
    this.presence.start()
    await this.subscribers.start()
  }

  /** Says goodbye: the transport must still run. */
  async stop(): Promise<void> {
    await this.subscribers.stop()
    await this.presence.stop()
    await this.directory.stop()
  }
}
