import type { Clock } from '../core/clock.ts'
import { Emitter } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import { LIMITS } from '../core/limits.ts'
import { Decoder } from '../delivery/decoder.ts'
import { Feed } from '../delivery/feed.ts'
import { Subscriptions } from '../delivery/subscriptions.ts'
import type { Transport } from '../mesh/contract.ts'
import { Gaps } from '../replication/gaps.ts'
import { Membership } from '../replication/membership.ts'
import { Publisher } from '../replication/publisher.ts'
import { Receiver } from '../replication/receiver.ts'
import type { RetentionPolicy, Store } from '../store/contract.ts'
import { HybridClock } from '../wire/hybrid-clock.ts'
import type { Signer } from '../wire/signature.ts'
import { Upkeep } from './upkeep.ts'

export interface EngineComponents {
  readonly store: Store
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signer: Signer
}

export interface EngineInit {
  readonly retention: (channel: string) => RetentionPolicy
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
  readonly publisher: Publisher
  readonly receiver: Receiver
  readonly gaps: Gaps
  readonly subscriptions: Subscriptions
  readonly membership: Membership
  readonly #feed: Feed
  readonly #upkeep: Upkeep
  #stopped: Promise<void> | undefined

  constructor(components: EngineComponents, init: EngineInit) {
    const { logger, store, transport } = components
    const emitter = <Map extends object>(): Emitter<Map> =>
      new Emitter<Map>((error) => logger.error({ err: error }, 'an event listener threw'))
    const hybridClock = new HybridClock(components)
    const self = transport.self.id
    this.store = store
    this.transport = transport
    this.publisher = new Publisher(
      { ...components, hybridClock },
      {
        publisher: self,
        batchMessages: (channel) =>
          init.retention(channel).keepLast === undefined ? LIMITS.batchMessages : LAST_VALUE_BATCH
      },
      emitter()
    )
    this.receiver = new Receiver(
      { ...components, hybridClock },
      {
        self,
        ownSession: () => this.publisher.session,
        supersede: (session) => this.publisher.supersede(session)
      },
      emitter()
    )
    this.gaps = new Gaps(components)
    this.membership = new Membership(components)
    const decoder = new Decoder()
    this.#feed = new Feed(store, decoder)
    const { gaps, membership, receiver } = this
    const feed = this.#feed
    this.subscriptions = new Subscriptions(
      { ...components, decoder, feed, gaps, membership, receiver },
      emitter()
    )
    this.#upkeep = new Upkeep(components, init)
    transport.onFrame(receiver.judge)
    receiver.events.on('tail-missing', (tail) => gaps.addTail(tail.log, tail))
  }

  /** Leaves everything stopped when it rejects. */
  async start(): Promise<void> {
    try {
      await this.store.start()
      this.#feed.start()
      this.gaps.start()
      this.publisher.start()
      for (const channel of this.store.channels()) this.transport.advertise(channel)
      await this.transport.start()
      this.subscriptions.start()
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
    await this.#upkeep.stop()
    await this.publisher.stop()
    await this.subscriptions.stop()
    this.membership.stop()
    await this.transport.stop()
    this.gaps.stop()
    this.#feed.stop()
    await this.store.stop()
  }
}
