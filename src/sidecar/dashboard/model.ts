import type {
  DeadLetterEntry,
  GroupStatus,
  NodeStatus,
  OutboxEntry,
  PeerStatus,
  SubscriberStatus,
  SubscriptionStatus,
  TopicStatus,
  TopologyNode
} from '../../node/contract.ts'
import type { WebhookStatus } from '../webhooks/webhook.ts'

/** A value as it comes over HTTP: times are RFC 3339, and what is undefined is left out. */
type Json<Value> = Value extends Date
  ? string
  : Value extends ReadonlyArray<infer Item>
    ? ReadonlyArray<Json<Item>>
    : Value extends object
      ? { readonly [Name in keyof Value]: Json<Value[Name]> }
      : Value

type Status = Json<NodeStatus & { readonly subscribers: readonly SubscriberStatus[] }>
export type Peer = Json<PeerStatus>
export type Topic = Json<TopicStatus>
export type Subscriber = Json<SubscriberStatus>
/** What the sidecar tells of the webhook that takes the messages. */
interface Pushed {
  readonly webhook?: WebhookStatus
}

export type OwnSubscription = Json<SubscriptionStatus & Pushed>
export type Group = Json<GroupStatus & Pushed>
type Outgoing = Json<OutboxEntry>
export type MeshNode = Json<TopologyNode>
export type DeadLetter = Json<DeadLetterEntry>

/** What the page asks every two seconds. */
export interface Fast {
  readonly status: Status
  readonly peers: readonly Peer[]
  readonly topics: readonly Topic[]
}

/** What it asks every ten. */
export interface Slow {
  readonly subscriptions: readonly OwnSubscription[]
  readonly groups: readonly Group[]
  readonly outbox: readonly Outgoing[]
  readonly deadLetters: readonly DeadLetter[]
  /** This node first. */
  readonly topology: readonly MeshNode[]
  /** 99th percentile of the delay of the event loop, s; undefined where it is not told. */
  readonly loopDelay: number | undefined
}

/** What the node said, and when: `at` is the page's clock, ms. */
export interface Snapshot extends Fast, Slow {
  readonly at: number
}
