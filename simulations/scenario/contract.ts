import type { RetentionPolicy } from '../../src/store/contract.ts'

/** Where a scenario can run: under virtual time in one process, or with real processes over TCP. */
export type Tier = 'virtual' | 'real'

/** Names nodes: a union of terms such as `n1`, `2`, `n1..n3`, `half`, `all`, `rest`, `random:2`, `publisher:<topic>`. */
export type NodeSelector = readonly string[]

/** Which part of what goes between two sides is hit: everything, or only what the first side sends. */
export type Direction = 'both' | 'one-way'

/** Bytes of a payload, drawn evenly between the two, both included. */
export interface SizeRange {
  readonly min: number
  readonly max: number
}

export interface ScenarioNode {
  readonly name: string
  /** When it starts for the first time, ms. */
  readonly joinMs: number
  /** Filters of channels it keeps without consuming them. */
  readonly keep: readonly string[]
  /** Keeps inbox messages for others; undefined = the product's default. */
  readonly custodian: boolean | undefined
  /** Its wall clock is off by so much from the start, ms. */
  readonly clockSkewMs: number
  /** What it keeps of every channel; absent = the product's default. */
  readonly retention: Partial<Pick<RetentionPolicy, RetentionKey>>
  readonly disk: { readonly kind: 'disk' | 'memory'; readonly sizeBytes: number | undefined }
}

type RetentionKey = 'maxAgeMs' | 'maxBytes' | 'maxMessages' | 'keepLast'

/** What every link is like while nothing is broken. */
export interface NetworkBase {
  readonly latencyMs: number
  /** Up to so much is added to the latency of each frame, ms. */
  readonly jitterMs: number
  /** Undefined = without limit. */
  readonly bytesPerSecond: number | undefined
  /** Who hears what a node announces of itself. */
  readonly announcements: 'mesh' | 'neighbours'
}

/** Every selected node publishes like this. */
export interface PublisherLoad {
  readonly nodes: NodeSelector
  /** `{node}` is the publisher's name, `{n}` counts from 1, `{n%K}` counts from 0 to K - 1. */
  readonly topic: string
  /** Messages a second of each node; may be a fraction. */
  readonly perSecond: number
  readonly size: SizeRange
  readonly fromMs: number
  /** Not from here on. */
  readonly untilMs: number
  readonly confirm: 'stored' | 'sent' | { readonly replicas: number; readonly timeoutMs: number }
  /** Undefined = no expiry. */
  readonly ttlMs: number | undefined
  /** As `topic`; undefined = no key. */
  readonly key: string | undefined
}

/** How a subscriber reads. */
export type Reading =
  | { readonly kind: 'auto' }
  | { readonly kind: 'slow'; readonly perSecond: number }
  /** Takes and acknowledges nothing between the two; `resumeMs` undefined = never again. */
  | { readonly kind: 'stop'; readonly atMs: number; readonly resumeMs: number | undefined }

/** Every selected node subscribes like this. */
export interface SubscriptionLoad {
  /** Names it in the report and in `expect.delivered`. Default: its durable name, its group, or its filter. */
  readonly label: string
  readonly nodes: NodeSelector
  readonly filter: string
  readonly durable: string | undefined
  readonly group: string | undefined
  /** Members that the group has at most, where only more than half of them work; undefined = all parts do. */
  readonly majority: number | undefined
  readonly from: 'now' | 'earliest'
  readonly reading: Reading
  /** Opened at, ms. */
  readonly fromMs: number
  /** Closed at, ms; a durable one stays registered. Undefined = open until all is over. */
  readonly untilMs: number | undefined
  readonly onGap: 'wait' | 'skip'
}

/** Every node of `from` sends to every other node of `to`. */
export interface SendLoad {
  readonly from: NodeSelector
  readonly to: NodeSelector
  readonly topic: string
  readonly perSecond: number
  readonly size: SizeRange
  readonly fromMs: number
  readonly untilMs: number
  readonly custodians: number
  readonly ttlMs: number | undefined
}

/** Which links a fault hits. */
export type LinkScope =
  | { readonly kind: 'all' }
  /** Every link of these nodes, those among them too. */
  | { readonly kind: 'of'; readonly nodes: NodeSelector }
  /** Links from one group to another. A single group stands against all other nodes. */
  | { readonly kind: 'between'; readonly groups: readonly NodeSelector[] }

interface Timed {
  readonly atMs: number
  /** How long it lasts; undefined = until something else lifts it, or the end. */
  readonly forMs: number | undefined
}

interface OnLinks extends Timed {
  readonly links: LinkScope
  readonly direction: Direction
}

interface OnNodes extends Timed {
  readonly nodes: NodeSelector
}

/** Something that breaks. Shares are in parts per million, so that the network model stays in integers. */
export type Fault =
  | (OnLinks & { readonly kind: 'partition' | 'isolate' })
  | (OnLinks & { readonly kind: 'flap'; readonly downMs: number; readonly upMs: number })
  | (OnLinks & { readonly kind: 'latency'; readonly latencyMs: number; readonly jitterMs: number })
  | (OnLinks & { readonly kind: 'loss' | 'duplicate'; readonly perMillion: number })
  | (OnLinks & { readonly kind: 'reorder'; readonly perMillion: number; readonly byMs: number })
  | (OnLinks & { readonly kind: 'bandwidth'; readonly bytesPerSecond: number })
  | (OnNodes & { readonly kind: 'heal' | 'crash' | 'pause' | 'resume' | 'disk-full' })
  | (OnNodes & { readonly kind: 'lose-unsynced-writes' | 'torn-tail' })
  | (OnNodes & { readonly kind: 'restart'; readonly downMs: number })
  | (OnNodes & { readonly kind: 'clock-skew'; readonly byMs: number })
  | (OnNodes & { readonly kind: 'slow-disk'; readonly latencyMs: number })
  | (OnNodes & { readonly kind: 'corrupt'; readonly bits: number })

export type FaultKind = Fault['kind']

/** Why a message may come again. */
export type Allowance =
  /** It was not acknowledged in time, and says so with a higher attempt. */
  | 'unacknowledged'
  /** The subscriber's node stopped before the acknowledgement was answered. */
  | 'crash'
  /** The subscriber's node lost writes that were not synced, acknowledgements among them. */
  | 'power-loss'
  /** The members of a group could not hear each other. */
  | 'partition'

export interface Expectations {
  readonly noLoss: boolean
  /** False = not checked. */
  readonly noDuplicates: false | { readonly allow: readonly Allowance[] }
  readonly publisherOrder: boolean
  readonly gapsTold: boolean
  readonly groups: boolean
  readonly inbox: boolean
  /** After every heal that leaves nothing broken. Undefined = not checked. */
  readonly convergeWithinMs: number | undefined
  /** Undefined = not checked. */
  readonly memoryPerNodeBytes: number | undefined
  /** Different messages handed over, by subscription label, over all its nodes; `total` = all of them. */
  readonly delivered: Readonly<Record<string, number>>
}

/** A scenario: nodes, what they do, what breaks, what must hold. All times are ms from the start. */
export interface Scenario {
  readonly name: string
  readonly description: string
  /** Used when no other is given. */
  readonly seed: number
  readonly tiers: readonly Tier[]
  readonly nodes: readonly ScenarioNode[]
  readonly network: NetworkBase
  readonly publishers: readonly PublisherLoad[]
  readonly subscriptions: readonly SubscriptionLoad[]
  readonly sends: readonly SendLoad[]
  /** In the order of time. */
  readonly faults: readonly Fault[]
  /** Load and faults end here. */
  readonly endMs: number
  /** True: what is broken at the end stays broken. */
  readonly leave: boolean
  /** What is on its way may arrive for so long after the end; then the checkers look. */
  readonly drainMs: number
  readonly expect: Expectations
}
