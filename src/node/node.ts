import { SkeinError } from '../core/errors.ts'
import type { Emitter, Listener } from '../core/events.ts'
import { VERSION } from '../core/version.ts'
import type {
  DeadLetterEntry,
  Gap,
  HistoryOptions,
  Message,
  SubscribeOptions,
  Subscription,
  SubscriptionStatus
} from '../delivery/contract.ts'
import type { GroupStatus } from '../groups/contract.ts'
import type { TransportPeer } from '../mesh/contract.ts'
import type { PeerEntry } from '../replication/peer-directory.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import type { LogState } from '../store/contract.ts'
import type { ServiceHandle, ServiceReply } from '../services/contract.ts'
import type { ByteStream, OpenStreamOptions, StreamHandler } from '../streams/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import { missingIn } from '../wire/vector.ts'
import type {
  BatchMessage,
  Confirm,
  Data,
  NodeEvents,
  NodeStatus,
  OutboxEntry,
  PeerStatus,
  PublishOptions,
  Published,
  ReplyOptions,
  RequestOptions,
  ScatterOptions,
  SendOptions,
  Sent,
  ServiceHandler,
  SkeinNode,
  SubscriberStatus,
  TopicStatus,
  TopologyNode
} from './contract.ts'
import type { Engine } from './engine.ts'
import { forwardEvents } from './node-events.ts'
import {
  checkOpenStreamOptions,
  checkHistoryOptions,
  checkPublishOptions,
  checkSendOptions,
  checkSubscribeOptions
} from './options.ts'
import { encodeData, outgoing } from './outgoing.ts'
import { Requests } from './requests.ts'
import { retain } from './retained.ts'
import { isInternal } from './retention.ts'
import { topologyOf } from './topology.ts'

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
  readonly #requests: Requests
  #stopped: Promise<void> | undefined

  constructor(components: NodeComponents, init: NodeInit) {
    this.#components = components
    this.#engine = components.engine
    this.#init = init
    this.#requests = new Requests(components.engine.services, init.payloadBytes)
    this.peerId = components.engine.transport.self.id
    this.name = init.name
    this.mesh = init.mesh
    forwardEvents(this.#engine, components.emitter, {
      peerOf: (id) => this.#peer(id),
      onBroken: () => void this.stop()
    })
  }

  on<Name extends keyof NodeEvents>(name: Name, listener: Listener<NodeEvents[Name]>): () => void {
    return this.#components.emitter.on(name, listener)
  }

  publish(topic: string, data: Data, options: PublishOptions = {}): Promise<Published> {
    try {
      assertNotAborted(options.signal)
      checkPublishOptions(options)
      const message = outgoing(topic, data, options, this.#init.payloadBytes)
      const { confirm = 'stored', retain } = options
      const published = this.#engine.publisher.publish(message, confirm)
      return retain === true ? this.#retain(published, [message], confirm) : published
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  async publishBatch(
    messages: readonly BatchMessage[],
    options: { confirm?: Confirm; signal?: AbortSignal } = {}
  ): Promise<Published[]> {
    assertNotAborted(options.signal)
    checkPublishOptions({ confirm: options.confirm })
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
    const { confirm = 'stored' } = options
    const published = this.#engine.publisher.publishBatch(batch, confirm)
    const retained = batch.filter((_, at) => messages[at]?.retain === true)
    return retained.length > 0 ? this.#retain(published, retained, confirm) : published
  }

  async #retain<Result>(
    published: Promise<Result>,
    messages: readonly Outgoing[],
    confirm: Confirm
  ): Promise<Result> {
    const result = await published
    await retain(this.#engine.publisher, messages, confirm)
    return result
  }

  async send(peer: string, topic: string, data: Data, options: SendOptions = {}): Promise<Sent> {
    assertNotAborted(options.signal)
    checkSendOptions(options)
    const { contentType, payload } = encodeData(data, this.#init.payloadBytes)
    return this.#engine.inbox.send(peer, {
      ...options,
      topic,
      payload,
      contentType: options.contentType ?? contentType
    })
  }

  async outbox(): Promise<OutboxEntry[]> {
    return this.#engine.inbox.outbox.list()
  }

  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    checkSubscribeOptions(options)
    if (options.group !== undefined) {
      return this.#engine.groups.subscribe(filter, options.group, options)
    }
    return this.#engine.subscriptions.subscribe(filter, options)
  }

  handleStream(name: string, handler: StreamHandler): () => void {
    return this.#engine.streams.handle(name, handler)
  }

  async openStream(name: string, options: OpenStreamOptions = {}): Promise<ByteStream> {
    checkOpenStreamOptions(options)
    return this.#engine.streams.open(name, options)
  }

  history(filter: string, options: HistoryOptions = {}): AsyncIterable<Message> {
    checkHistoryOptions(options)
    return this.#engine.history.read(filter, options)
  }

  reply(service: string, handler: ServiceHandler, options: ReplyOptions = {}): ServiceHandle {
    return this.#requests.reply(service, handler, options)
  }

  async request(service: string, data: Data, options: RequestOptions = {}): Promise<ServiceReply> {
    return this.#requests.request(service, data, options)
  }

  requestMany(
    service: string,
    data: Data,
    options: RequestOptions = {}
  ): AsyncIterableIterator<ServiceReply> {
    return this.#requests.requestMany(service, data, options)
  }

  async scatter(
    service: string,
    data: Data,
    options: ScatterOptions = {}
  ): Promise<ServiceReply[]> {
    return this.#requests.scatter(service, data, options)
  }

  subscriptions(): Promise<SubscriptionStatus[]> {
    return this.#engine.subscriptions.list()
  }

  groups(): Promise<GroupStatus[]> {
    return this.#engine.groups.list()
  }

  forgetGroup(name: string): Promise<void> {
    return this.#engine.groups.forget(name)
  }

  deleteSubscription(name: string): Promise<void> {
    return this.#engine.subscriptions.delete(name)
  }

  skipGaps(name: string): Promise<Gap[]> {
    return this.#engine.subscriptions.skipGaps(name)
  }

  deadLetters(query: { subscription?: string; limit?: number } = {}): Promise<DeadLetterEntry[]> {
    return this.#engine.subscriptions.deadLetters.list(query)
  }

  redrive(subscription: string, ids?: readonly string[]): Promise<number> {
    return this.#engine.subscriptions.redrive(subscription, ids)
  }

  async subscribers(): Promise<SubscriberStatus[]> {
    const entries = await this.#engine.mesh.subscribers.list()
    return entries.map(({ createdAt, lastSeen, ...entry }) => ({
      ...entry,
      lastSeen: lastSeen === undefined ? undefined : new Date(lastSeen),
      createdAt: new Date(createdAt)
    }))
  }

  peers(): PeerStatus[] {
    const { mesh, transport } = this.#engine
    const links = new Map(transport.peers().map((peer) => [peer.id, peer]))
    const entries = new Map(mesh.directory.list().map((entry) => [entry.id, entry]))
    entries.delete(this.peerId)
    return [...new Set([...links.keys(), ...entries.keys()])].map((id) =>
      peerStatus(id, links.get(id), entries.get(id))
    )
  }

  topics(): TopicStatus[] {
    const { membership, store, transport } = this.#engine
    const channels = new Set([...store.channels(), ...membership.channels()])
    // Nobody has to know of an inbox before there is something in it.
    const shown = [...channels].filter(
      (channel) =>
        !isInternal(channel) && (scopeOf(channel) !== 'inbox' || store.channels().includes(channel))
    )
    return shown.toSorted().map((channel) => {
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

  async topology(): Promise<TopologyNode[]> {
    const connections = await this.#engine.services.topology.ask()
    return topologyOf(this, this.peers(), connections)
  }

  status(): NodeStatus {
    const { groups, inbox, publisher, store, subscriptions, transport } = this.#engine
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
      topics: store.channels().filter((channel) => !isInternal(channel)),
      subscriptions: subscriptions.openCount + groups.openCount,
      published: publisher.stats.messages,
      delivered: subscriptions.stats.delivered,
      outbox: inbox.outbox.size
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

  #peer(id: string): PeerStatus {
    const { mesh, transport } = this.#engine
    return peerStatus(
      id,
      transport.peers().find((peer) => peer.id === id),
      mesh.directory.get(id)
    )
  }
}

function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return
  throw new SkeinError('ERR_ABORTED', 'the call was aborted before anything was published', {
    cause: signal.reason
  })
}

/** What the transport and the directory know of a peer, together. */
function peerStatus(
  id: string,
  link: TransportPeer | undefined,
  entry: PeerEntry | undefined
): PeerStatus {
  const { addresses, channels, connected, roundTripMs } = link ?? NO_LINK
  const { addresses: announced, custodian, name, services } = entry ?? NO_ENTRY
  const lastSeen = Math.max(link?.lastSeen ?? 0, entry?.lastSeen ?? 0)
  return {
    peerId: id,
    name,
    state: entry?.state ?? (connected ? 'up' : 'down'),
    since: entry === undefined ? undefined : new Date(entry.since),
    lastSeen: lastSeen === 0 ? undefined : new Date(lastSeen),
    custodian,
    addresses: addresses.length > 0 ? addresses : announced,
    connected,
    channels,
    services,
    roundTripMs
  }
}

const NO_ENTRY = { addresses: [], custodian: false, name: undefined, services: [] } as const
const NO_LINK = { addresses: [], channels: [], connected: false, roundTripMs: undefined } as const

function logStatus(log: LogState): TopicStatus['logs'][number] {
  const { publisher, session, floor, head } = log
  return { publisher, session, floor, head, missing: missingIn(log) }
}
