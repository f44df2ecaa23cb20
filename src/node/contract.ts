import type { Events } from '../core/events.ts'
import type { SubscribeOptions, Subscription, SubscriptionStatus } from '../delivery/contract.ts'

export type {
  From,
  Gap,
  Message,
  SubscribeOptions,
  Subscription,
  SubscriptionStatus
} from '../delivery/contract.ts'

/** What `publish` takes: bytes and strings as they are (text/plain), anything else as JSON. */
export type Data = Uint8Array | string | number | boolean | null | object

/** When `publish` resolves. `stored`: on this node's disk, synced. `sent`: handed to the network. */
export type Confirm = 'stored' | 'sent'

export interface PublishOptions {
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Default: application/octet-stream is left out for bytes, text/plain for strings, application/json else. */
  readonly contentType?: string | undefined
  /** Not delivered once older. Default: no expiry. */
  readonly ttlMs?: number | undefined
  /** 0 to 9, 9 first. Default 0. */
  readonly priority?: number | undefined
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

export interface PeerStatus {
  readonly peerId: string
  /** Undefined until presence tells it. */
  readonly name: string | undefined
  readonly state: 'up' | 'suspect' | 'down'
  readonly lastSeen: Date | undefined
  readonly addresses: readonly string[]
  readonly connected: boolean
  readonly channels: readonly string[]
  readonly roundTripMs: number | undefined
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
}

export interface NodeEvents {
  'peer:up': PeerStatus
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
  subscribe(filter: string, options?: SubscribeOptions): Subscription
  /** Registered durable subscriptions, open or not. */
  subscriptions(): Promise<SubscriptionStatus[]>
  deleteSubscription(name: string): Promise<void>
  status(): NodeStatus
  peers(): PeerStatus[]
  topics(): TopicStatus[]
  /** Prometheus text exposition. */
  metrics(): Promise<string>
  /** Drains, closes; idempotent. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
