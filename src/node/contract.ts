import type { Events } from '../core/events.ts'
import type {
  DeadLetter,
  DeadLetterEntry,
  Gap,
  HistoryOptions,
  Message,
  SubscribeOptions,
  Subscription,
  SubscriptionStatus
} from '../delivery/contract.ts'
import type { GroupStatus } from '../groups/contract.ts'

import type { ServiceHandle, ServiceReply, ServiceRequest } from '../services/contract.ts'
import type { Reply } from './reply.ts'
import type { ByteStream, OpenStreamOptions, StreamHandler } from '../streams/contract.ts'

export type {
  ByteStream,
  IncomingStream,
  OpenStreamOptions,
  StreamHandler,
  StreamMetadata
} from '../streams/contract.ts'
export type { GroupStatus } from '../groups/contract.ts'
export type { ServiceHandle, ServiceReply, ServiceRequest } from '../services/contract.ts'
export type {
  DeadLetterEntry,
  From,
  Gap,
  Message,
  NackOptions,
  SubscribeOptions,
  Subscription,
  SubscriptionStatus,
  WhereFilter
} from '../delivery/contract.ts'

/** What `publish` takes: bytes and strings as they are (text/plain), anything else as JSON. */
export type Data = Uint8Array | string | number | boolean | null | object

/**
 * When `publish` resolves. `stored`: on this node's disk, synced. `sent`: handed to the network. `replicas`: on
 * this node's disk and on those of so many others, synced; rejects with ERR_REPLICAS after `timeoutMs` (10,000).
 */
export type Confirm =
  | 'stored'
  | 'sent'
  | { readonly replicas: number; readonly timeoutMs?: number | undefined }

export interface PublishOptions {
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default: application/octet-stream is left out for bytes, text/plain for strings, application/json else. */
  readonly contentType?: string | undefined
  /** Not delivered once older. Default: no expiry. */
  readonly ttlMs?: number | undefined
  /** 0 to 9, 9 first. Default 0. */
  readonly priority?: number | undefined
  /** Durable subscriptions hand it over at this time at the earliest, by the clocks of their nodes. Default: at once. */
  readonly deliverAt?: Date | undefined
  /**
   * Idempotency id, scoped to this node: a second publish with the same id within 10 minutes (100,000 ids) is the
   * first one, and resolves to its message id. Another payload is ERR_ID_CONFLICT.
   */
  readonly id?: string | undefined
  /**
   * Keeps it as the last value of its topic, whatever retention says: a copy goes to `$retained/<topic>`, after the
   * message and not in one step with it. An empty payload stands for no value. Default false.
   */
  readonly retain?: boolean | undefined
  /** Default 'stored'. */
  readonly confirm?: Confirm | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Published {
  /** `<publisher>/<session>/<sequence>/<channel>` */
  readonly id: string
  readonly sequence: number
  readonly time: Date
}

export interface BatchMessage extends Omit<PublishOptions, 'confirm' | 'signal'> {
  readonly topic: string
  readonly data: Data
}

export interface SendOptions {
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How long it waits for its recipient. Default 7 days. */
  readonly ttlMs?: number | undefined
  /** Connected peers that keep a synced copy for the recipient before `send` resolves. Default 0. */
  readonly custodians?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface RequestOptions {
  readonly contentType?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Rejects with ERR_TIMEOUT after so long, and the handler's signal aborts. For `requestMany`: the longest wait for
   * the next reply. Default 10,000, at most 3,600,000.
   */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface ScatterOptions extends RequestOptions {
  /** Enough answers. Default: those of all. */
  readonly count?: number | undefined
}

export interface ReplyOptions {
  /** Requests that are with the handler at once; others wait. Default 256. */
  readonly concurrency?: number | undefined
}

/**
 * Answers requests with data, a `Reply`, nothing (an empty payload), or an async iterable of data: many replies, one
 * after the other, asked for no faster than the caller takes them. What it throws reaches the caller as ERR_RESPONDER
 * with its message and, where it has one, its code in `details.code`.
 */
export type ServiceHandler = (request: ServiceRequest) => ServiceAnswer | Promise<ServiceAnswer>

/** What a handler gives back. */
export type ServiceAnswer = Data | Reply | AsyncIterable<Data | Reply> | undefined | void

/** A message that was put on its way to one peer: it is on this node's disk. */
export interface Sent {
  readonly id: string
  /** PeerId of the recipient. */
  readonly to: string
  readonly time: Date
  /**
   * Resolves when the recipient's signed receipt is here: its node has it on disk. Rejects with ERR_TIMEOUT when
   * the time to live has passed without one, with ERR_STOPPED when this node stops first (it is sent all the same).
   */
  readonly delivered: Promise<void>
}

/** A message that waits for its recipient. */
export interface OutboxEntry {
  readonly id: string
  readonly to: string
  /** Name of the recipient, where it is known. */
  readonly toName: string | undefined
  readonly topic: string
  readonly bytes: number
  readonly since: Date
  readonly expiresAt: Date
  /** Peers that keep a copy. */
  readonly custodians: readonly string[]
}

/** A durable subscription somewhere in the mesh, as far as this node knows. */
export interface SubscriberStatus {
  readonly peerId: string
  /** Name of its node, where it is known. */
  readonly node: string | undefined
  readonly subscription: string
  readonly filter: string
  /** Messages it is not done with: as it said last, and what was published here since. */
  readonly lag: number
  readonly state: 'up' | 'suspect' | 'down'
  /** When its node was heard of last; undefined where it never was in this life. */
  readonly lastSeen: Date | undefined
  readonly createdAt: Date
}

export interface PeerStatus {
  readonly peerId: string
  /** Undefined until presence tells it. */
  readonly name: string | undefined
  /** `suspect`: it missed an announcement or its connection broke; `down` after three. */
  readonly state: 'up' | 'suspect' | 'down'
  /** When it changed to that state; of one that was off when this node started, when it was last seen. */
  readonly since: Date | undefined
  readonly lastSeen: Date | undefined
  /** It keeps messages for peers that are away. */
  readonly custodian: boolean
  readonly addresses: readonly string[]
  readonly connected: boolean
  readonly channels: readonly string[]
  /** What it answers requests for, as it said last. */
  readonly services: readonly string[]
  readonly roundTripMs: number | undefined
}

/** A node of the mesh, and whom it is connected to. */
export interface TopologyNode {
  readonly peerId: string
  /** Undefined until presence tells it. */
  readonly name: string | undefined
  readonly state: 'up' | 'suspect' | 'down'
  readonly lastSeen: Date | undefined
  /** When it went down, where it is; of one that was off when this node started, when it was last seen. */
  readonly downSince: Date | undefined
  /** PeerIds; undefined where it did not tell. */
  readonly connectedTo: readonly string[] | undefined
}

export interface TopicStatus {
  readonly channel: string
  /** This node is a member. */
  readonly joined: boolean
  /** Members among the connected peers. */
  readonly members: number
  readonly messages: number
  readonly bytes: number
  /** Journal offsets held, `next` exclusive. */
  readonly journal: { readonly first: number; readonly next: number }
  readonly logs: ReadonlyArray<{
    readonly publisher: string
    readonly session: string
    readonly floor: number
    readonly head: number
    readonly missing: ReadonlyArray<{ readonly from: number; readonly to: number }>
  }>
}

export interface NodeStatus {
  readonly peerId: string
  readonly name: string
  readonly mesh: string
  readonly version: string
  readonly startedAt: Date
  readonly ready: boolean
  readonly addresses: readonly string[]
  readonly dataDir: string | undefined
  /** Hex of the first bytes of the network key's hash; undefined for an open mesh. */
  readonly networkKeyId: string | undefined
  readonly peers: { readonly connected: number; readonly known: number }
  readonly store: {
    readonly condition: string
    readonly epoch: string
    readonly bytes: number
    readonly records: number
    readonly freeBytes: number | undefined
    readonly reserveBytes: number
  }
  readonly topics: readonly string[]
  readonly subscriptions: number
  /** Messages published and delivered by this node since start. */
  readonly published: number
  readonly delivered: number
  /** Messages that wait for their recipients. */
  readonly outbox: number
}

export interface NodeEvents {
  'peer:up': PeerStatus
  /** No longer connected, or an announcement is overdue. */
  'peer:suspect': PeerStatus
  'peer:down': PeerStatus
  'peer:refused': { peer: string | undefined; address: string; code: string; reason: string }
  'channels:limit': { filter: string; channel: string }
  'store:condition': { condition: string; reason: string }
  'retention:unread': { channel: string; subscription: string; messages: number }
  fork: { channel: string; publisher: string; session: string; sequence: number }
  damaged: { channel: string; publisher: string; session: string; from: number; to: number }
  gap: {
    channel: string
    publisher: string
    session: string
    missing: ReadonlyArray<{ from: number; to: number }>
  }
  /** A missing range is waited for no more. */
  'gap:final': {
    channel: string
    publisher: string
    session: string
    from: number
    to: number
    reason: string
  }
  /** A message was not received in its time to live: it is in `$dlq/outbox` now, its outcome unknown. */
  'outbox:expired': OutboxEntry
  /** A durable subscription handed a message over `maxDeliveries` times in vain: it is in `$dlq/<node>.<name>` now. */
  'dead-letter': DeadLetter
  /** A consumer takes less than comes in, and is read for from disk. Said once until it has caught up. */
  'slow:consumer': { filter: string; durable: string | undefined; lag: number }
  /** A neighbour takes nothing for so long that it is left to fetch by itself. */
  'slow:neighbour': { peer: string; bufferedBytes: number }
  /** A synced write took this long. At most once a minute. */
  'slow:disk': { ms: number }
  /** The wall clock moved against the monotonic one. */
  'clock:jump': { ms: number }
  /** The node ended by itself; nothing works any more. */
  failed: { error: Error }
}

/** A running node. */
export interface SkeinNode extends Events<NodeEvents> {
  readonly peerId: string
  readonly name: string
  readonly mesh: string
  publish(topic: string, data: Data, options?: PublishOptions): Promise<Published>
  /** One record, all or nothing, within one channel. */
  publishBatch(
    messages: readonly BatchMessage[],
    options?: { confirm?: Confirm; signal?: AbortSignal }
  ): Promise<Published[]>
  /**
   * Sends to one peer, by PeerId or name, whether it is on or off: sealed to its key, kept on this node's disk
   * until its receipt is here. Received by `subscribe('@me/#')`. Resolves when stored, with `custodians` when they
   * have it too. Rejects with ERR_PEER_UNKNOWN, ERR_PEER_AMBIGUOUS, ERR_CUSTODIANS and what `publish` rejects with.
   */
  send(peer: string, topic: string, data: Data, options?: SendOptions): Promise<Sent>
  /** What waits for whom, oldest first. */
  outbox(): Promise<OutboxEntry[]>
  subscribe(filter: string, options?: SubscribeOptions): Subscription
  /**
   * Takes the streams of that name that peers open, until the returned function is called. A name is 1 to 64 letters,
   * digits, `.`, `_` and `-`. Throws ERR_OPTIONS where it has a handler.
   */
  handleStream(name: string, handler: StreamHandler): () => void
  /**
   * Opens a byte stream to a peer that handles the name. Rejects with ERR_NO_HANDLER, ERR_PEER_UNKNOWN,
   * ERR_PEER_AMBIGUOUS, ERR_PEER_UNREACHABLE (it must be connected), ERR_BUSY above 32 streams with one peer,
   * ERR_TIMEOUT after 10 s, ERR_STREAM, ERR_ABORTED, ERR_STOPPED and ERR_OPTIONS.
   */
  openStream(name: string, options?: OpenStreamOptions): Promise<ByteStream>
  /**
   * The messages that this node holds, across channels and publishers, oldest first: what was published meanwhile, and
   * what has expired, is left out. Their `attempt` is 0, `ack` and `nack` do nothing, and `cursor` is a place in the
   * order of time, for `after`. Throws ERR_FILTER, ERR_OPTIONS, ERR_CURSOR_UNKNOWN; the iteration rejects with
   * ERR_ABORTED.
   */
  history(filter: string, options?: HistoryOptions): AsyncIterable<Message>
  /**
   * Serves requests of this and of all other nodes, until the handle is stopped. A service is named with 1 to 64 bytes
   * without '/' and control characters, and does not begin with '$'. Throws ERR_OPTIONS, also where this node serves that
   * name already.
   */
  reply(service: string, handler: ServiceHandler, options?: ReplyOptions): ServiceHandle
  /**
   * Asks one node that serves it, this one included: the better of two drawn at random. At most one handler sees the
   * request. Rejects with ERR_NO_RESPONDERS at once where nobody serves it, ERR_TIMEOUT, ERR_ABORTED, ERR_RESPONDER
   * when the handler failed, ERR_STREAM when the connection broke before the answer came (it may have been handled),
   * ERR_BUSY above 4,096 requests or 32 MiB without answers with one node, and ERR_PAYLOAD_TOO_LARGE,
   * ERR_HEADERS_TOO_LARGE, ERR_PAYLOAD, ERR_OPTIONS.
   */
  request(service: string, data: Data, options?: RequestOptions): Promise<ServiceReply>
  /**
   * As `request`, for handlers that give many replies: the request goes out when the first one is asked for, and is
   * cancelled when the iteration is left.
   */
  requestMany(
    service: string,
    data: Data,
    options?: RequestOptions
  ): AsyncIterableIterator<ServiceReply>
  /**
   * Asks every node that serves it, at most 64, neighbours first. Resolves to the answers that came, when there are
   * `count` of them, when all have answered or failed, or after `timeoutMs`. Rejects with ERR_NO_RESPONDERS where
   * nobody serves it, and with ERR_ABORTED.
   */
  scatter(service: string, data: Data, options?: ScatterOptions): Promise<ServiceReply[]>
  /** Registered durable subscriptions, open or not. */
  subscriptions(): Promise<SubscriptionStatus[]>
  deleteSubscription(name: string): Promise<void>
  /** The work groups that this node holds anything of: those that were opened here, and those kept for others. */
  groups(): Promise<GroupStatus[]>
  /**
   * Ends a work group in the whole mesh, with all that is known of what was done: who subscribes with that name makes a
   * new group. Nodes that are off hear of it when they return. Rejects with ERR_SUBSCRIPTION_UNKNOWN, and with
   * ERR_SUBSCRIPTION_IN_USE while a member is at work.
   */
  forgetGroup(name: string): Promise<void>
  /**
   * Gives up the gaps that a durable subscription waits for, for every subscription of this node in its channels.
   * Resolves to them. Throws ERR_SUBSCRIPTION_UNKNOWN.
   */
  skipGaps(name: string): Promise<Gap[]>
  /**
   * Dead letters of this node's durable subscriptions that were not redriven, oldest first within a subscription.
   * `limit`: default and at most 1,000.
   */
  deadLetters(query?: { subscription?: string; limit?: number }): Promise<DeadLetterEntry[]>
  /**
   * Offers dead letters again to the subscription that they failed at, and to no other: all of them, or those of
   * `ids`. Resolves to how many. They are dead letters no more, whatever becomes of them. Rejects with
   * ERR_SUBSCRIPTION_UNKNOWN, ERR_MESSAGE_UNKNOWN, and ERR_BUSY where no more may wait at the subscription.
   */
  redrive(subscription: string, ids?: readonly string[]): Promise<number>
  /** Every durable subscription of the mesh that this node knows of, its own included. */
  subscribers(): Promise<SubscriberStatus[]>
  status(): NodeStatus
  peers(): PeerStatus[]
  topics(): TopicStatus[]
  /**
   * Who is connected to whom: asked of this node's neighbours, and by them of theirs, only now. This node comes first.
   * Resolves within 1 s to what came until then.
   */
  topology(): Promise<TopologyNode[]>
  /** Prometheus text exposition. */
  metrics(): Promise<string>
  /** Drains, closes; idempotent. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
