import { SkeinError } from '../core/errors.ts'
import type { Emitter, Listener } from '../core/events.ts'
import { VERSION } from '../core/version.ts'
import type { SubscribeOptions, Subscription, SubscriptionStatus } from '../delivery/contract.ts'
import type { TransportPeer } from '../mesh/contract.ts'
import type { LogState } from '../store/contract.ts'
import { missingIn } from '../wire/vector.ts'
import type {
  BatchMessage,
  Confirm,
  Data,
  NodeEvents,
  NodeStatus,
  PeerStatus,
  PublishOptions,
  Published,
  SkeinNode,
  TopicStatus
} from './contract.ts'
import type { Engine } from './engine.ts'
import { checkSubscribeOptions } from './options.ts'
import { outgoing } from './outgoing.ts'

export interface NodeComponents {
  readonly engine: Engine
  readonly metrics: { text(): Promise<string> }
  readonly emitter: Emitter<NodeEvents>
}

export interface NodeInit {
  readonly name: string
  readonly mesh: string
  readonly dataDir: string | undefined
  readonly networkKeyId: string | undefined
  readonly payloadBytes: number
  readonly startedAt: Date
}

/** A running node: what applications see of an engine. */
export class Node implements SkeinNode {
  readonly peerId: string
  readonly name: string
  readonly mesh: string
  readonly #components: NodeComponents
  readonly #engine: Engine
  readonly #init: NodeInit
  #stopped: Promise<void> | undefined

  constructor(components: NodeComponents, init: NodeInit) {
    this.#components = components
    this.#engine = components.engine
    this.#init = init
    this.peerId = components.engine.transport.self.id
    this.name = init.name
    this.mesh = init.mesh
    this.#forwardEvents()
  }

  on<Name extends keyof NodeEvents>(name: Name, listener: Listener<NodeEvents[Name]>): () => void {
    return this.#components.emitter.on(name, listener)
  }

  publish(topic: string, data: Data, options: PublishOptions = {}): Promise<Published> {
    try {
      assertNotAborted(options.signal)
      const message = outgoing(topic, data, options, this.#init.payloadBytes)
      return this.#engine.publisher.publish(message, options.confirm ?? 'stored')
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  async publishBatch(
    messages: readonly BatchMessage[],
    options: { confirm?: Confirm; signal?: AbortSignal } = {}
  ): Promise<Published[]> {
    assertNotAborted(options.signal)
    const batch = messages.map((message) =>
      outgoing(message.topic, message.data, message, this.#init.payloadBytes)
    )
    const channels = new Set(batch.map((message) => message.topic.channel))
    if (channels.size > 1) {
      throw new SkeinError(
        'ERR_OPTIONS',
        `a batch is one record in one channel, and these topics are in ${channels.size}: ${[...channels].slice(0, 5).join(', ')}`
      )
    }
    return this.#engine.publisher.publishBatch(batch, options.confirm ?? 'stored')
  }

  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    checkSubscribeOptions(options)
    return this.#engine.subscriptions.subscribe(filter, options)
  }

  subscriptions(): Promise<SubscriptionStatus[]> {
    return this.#engine.subscriptions.list()
  }

  deleteSubscription(name: string): Promise<void> {
    return this.#engine.subscriptions.delete(name)
  }

  peers(): PeerStatus[] {
    return this.#engine.transport.peers().map(peerStatus)
  }

  topics(): TopicStatus[] {
    const { membership, store, transport } = this.#engine
    const channels = new Set([...store.channels(), ...membership.channels()])
    return [...channels].toSorted().map((channel) => {
      const logs = store.logs(channel)
      const journal = store.journal(channel)
      return {
        channel,
        joined: membership.has(channel),
        members: transport.members(channel).length,
        messages: journal.next - journal.first,
        bytes: logs.reduce((sum, log) => sum + log.bytes, 0),
        journal,
        logs: logs.map(logStatus)
      }
    })
  }

  status(): NodeStatus {
    const { publisher, store, subscriptions, transport } = this.#engine
    const { dataDir, networkKeyId, startedAt } = this.#init
    const peers = transport.peers()
    return {
      peerId: this.peerId,
      name: this.name,
      mesh: this.mesh,
      version: VERSION,
      startedAt,
      ready:
        this.#stopped === undefined && (store.condition === 'open' || store.condition === 'full'),
      addresses: transport.addresses(),
      dataDir,
      networkKeyId,
      peers: { connected: peers.filter((peer) => peer.connected).length, known: peers.length },
      store: { condition: store.condition, epoch: store.epoch, ...store.usage() },
      topics: [...store.channels()],
      subscriptions: subscriptions.openCount,
      published: publisher.stats.messages,
      delivered: subscriptions.stats.delivered
    }
  }

  metrics(): Promise<string> {
    return this.#components.metrics.text()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#engine.stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #forwardEvents(): void {
    const { emitter } = this.#components
    const { receiver, store, subscriptions, transport } = this.#engine
    const peerOf = (id: string): PeerStatus =>
      peerStatus(transport.peers().find((peer) => peer.id === id) ?? unknownPeer(id))
    transport.events.on('peer:up', ({ peer }) => emitter.emit('peer:up', peerOf(peer)))
    transport.events.on('peer:down', ({ peer }) => emitter.emit('peer:down', peerOf(peer)))
    transport.events.on('peer:refused', (refused) => emitter.emit('peer:refused', refused))
    receiver.events.on('impostor', ({ peer }) =>
      emitter.emit('peer:refused', {
        peer,
        address: '',
        code: 'ERR_IDENTITY_IN_USE',
        reason: 'it publishes under the identity of this node: a data directory was copied'
      })
    )
    subscriptions.events.on('channels:limit', (limit) => emitter.emit('channels:limit', limit))
    subscriptions.events.on('retention:unread', (unread) =>
      emitter.emit('retention:unread', unread)
    )
    store.events.on('gap', ({ log, missing }) => emitter.emit('gap', { ...refOf(log), missing }))
    store.events.on('fork', ({ log, sequence }) =>
      emitter.emit('fork', { ...refOf(log), sequence })
    )
    store.events.on('damaged', ({ log, range }) =>
      emitter.emit('damaged', { ...refOf(log), ...range })
    )
    store.events.on('condition', (change) => {
      emitter.emit('store:condition', change)
      if (change.condition !== 'broken') return
      const error = new SkeinError('ERR_STORE_FAILED', change.reason)
      emitter.emit('failed', { error })
      void this.stop()
    })
  }
}

function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return
  throw new SkeinError('ERR_ABORTED', 'the call was aborted before anything was published', {
    cause: signal.reason
  })
}

function refOf({
  channel,
  publisher,
  session
}: {
  channel: string
  publisher: string
  session: string
}): {
  channel: string
  publisher: string
  session: string
} {
  return { channel, publisher, session }
}

function peerStatus(peer: TransportPeer): PeerStatus {
  return {
    peerId: peer.id,
    name: undefined,
    state: peer.connected ? 'up' : 'down',
    lastSeen: peer.lastSeen === undefined ? undefined : new Date(peer.lastSeen),
    addresses: peer.addresses,
    connected: peer.connected,
    channels: peer.channels,
    roundTripMs: peer.roundTripMs
  }
}

function unknownPeer(id: string): TransportPeer {
  return {
    id,
    connected: false,
    addresses: [],
    lastSeen: undefined,
    channels: [],
    advertised: [],
    roundTripMs: undefined
  }
}

function logStatus(log: LogState): TopicStatus['logs'][number] {
  const { publisher, session, floor, head } = log
  return { publisher, session, floor, head, missing: missingIn(log) }
}
