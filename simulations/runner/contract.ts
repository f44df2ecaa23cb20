import type { Clock } from '../../src/core/clock.ts'
import type { Events } from '../../src/core/events.ts'
import type { Gap, Message, SubscribeOptions } from '../../src/delivery/contract.ts'
import type { Confirm, Published } from '../../src/node/contract.ts'
import type { Outgoing } from '../../src/replication/log-writer.ts'
import type { Report } from '../report/contract.ts'
import type { Scenario } from '../scenario/contract.ts'
import type { Trace } from '../trace.ts'
import type { VirtualNetwork, VirtualTime } from '../world/contract.ts'
import type { SimulatedNode } from '../world/simulated-node.ts'
import type { SimulatedHandler } from './app.ts'

/** Time of a run, in either tier: ms since its load began. */
export type RunTime = Pick<VirtualTime, 'nowMs' | 'schedule'>

/** What the timeline does to links. */
export type RunNetwork = Pick<VirtualNetwork, 'impair' | 'repair' | 'topology'>

export interface LifeSubscription extends AsyncIterable<Message> {
  readonly ready: Promise<void>
  readonly events: Events<{ gap: Gap }>
  stop(): Promise<void>
}

/** The part of a node's engine that a load uses. Its own in the virtual tier, that of another process in the real. */
export interface LifeEngine {
  readonly publisher: {
    publish(message: Outgoing, confirm: Confirm): Promise<Published>
  }
  readonly subscriptions: {
    subscribe(
      filter: string,
      options: Pick<SubscribeOptions, 'durable' | 'from' | 'onGap' | 'maxDeliveries'>
    ): LifeSubscription
  }
  readonly groups: {
    subscribe(
      filter: string,
      name: string,
      options: Pick<SubscribeOptions, 'group' | 'from' | 'onGap' | 'onPartition' | 'maxDeliveries'>
    ): LifeSubscription
  }
  readonly inbox: {
    send(peer: string, letter: LetterInit): Promise<{ id: string; delivered: Promise<void> }>
    readonly outbox: {
      readonly events: Events<{ expired: { readonly id: string } }>
      list(): ReadonlyArray<{ readonly id: string }>
    }
    /** Something may have left the outbox. */
    readonly receipts: { readonly events: Events<{ received: object }> }
  }
}

interface LetterInit {
  readonly topic: string
  readonly payload: Uint8Array
  readonly custodians: number
  readonly ttlMs: number | undefined
}

/** One life of a node, from its start to its stop or death. */
export interface Life {
  readonly engine: LifeEngine
  readonly clock: Clock
  /** False from the moment it is killed or has stopped: nothing that it still says counts. */
  readonly alive: boolean
  /** Open for work: started, and not stopping. */
  readonly up: boolean
}

/** A node of a run: what its load and the timeline ask of it. */
export interface RunNode extends Pick<
  SimulatedNode,
  'name' | 'start' | 'stop' | 'crash' | 'pause' | 'resume' | 'skew' | 'setDisk' | 'corrupt'
> {
  /** The present life, while it is open for work and not paused. */
  readonly working: Life | undefined
  /** The present life, while it is open for work, paused or not. */
  readonly life: Life | undefined
}

export interface RunInit {
  readonly scenario: Scenario
  readonly seed: number
  /** Of the scenario's subscriptions, by label. */
  readonly handlers?: Readonly<Record<string, SimulatedHandler>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Called about every second of the run's time. */
  readonly onProgress?: ((runMs: number, totalMs: number) => void) | undefined
  /** Stands in the report; default see `RunFacts.replay`. */
  readonly replay?: string | undefined
}

export interface RunResult {
  readonly report: Report
  readonly trace: Trace
}
