import type { Clock } from '../../src/core/clock.ts'
import type { Random } from '../../src/core/random.ts'
import type { PeerId, Transport } from '../../src/mesh/contract.ts'
import type { StoreComponents } from '../../src/store/level-store.ts'
import type { Impairment, LinkSet } from '../scenario/step.ts'

/**
 * Virtual time: one event, then everything that follows from it without waiting for time (microtasks and ticks), then
 * the next event. Events of one moment run in the order they were set.
 */
export interface VirtualTime {
  /** Simulated ms since the world began. */
  readonly nowMs: number
  /** Events run so far. */
  readonly events: number
  /** Calls back after `ms` of simulated time. */
  schedule(ms: number, callback: () => void): { cancel(): void }
  /** Runs events until this simulated time; then `nowMs` is `untilMs`. Yields to the real event loop now and then. */
  run(untilMs: number): Promise<void>
  /** Runs what is due now, and what follows from it, without letting time pass. */
  settle(): Promise<void>
  /** A node's own clock. */
  clock(init?: { skewMs?: number }): NodeClock
}

/** The clock of one life of a node. */
export interface NodeClock extends Clock {
  /** Sets how far its wall clock is from the world's, ms. */
  skew(ms: number): void
  /** No callback of it runs from now on: what its owner waits for never comes. */
  kill(): void
  /** Callbacks that come due while paused run at `resume`, in their order. */
  pause(): void
  resume(): void
}

/** A disk that outlives the lives of its node. */
export interface VirtualDisk extends Pick<
  StoreComponents,
  'openLevel' | 'freeSpace' | 'probeSpace'
> {
  /** The clock of the present life: operations take time by it, and never finish once it is killed. */
  attach(clock: Clock): void
  /** The power goes, or only the process: what of the writes that were not synced is kept. */
  crash(unsynced: 'keep' | 'lose' | 'torn'): void
  /** No space is left: writes fail with ENOSPC. */
  setFull(full: boolean): void
  /** Writes fail, as on a broken disk. */
  setFailing(failing: boolean): void
  /** Each operation takes so long, ms of simulated time; 0 = none. */
  setLatency(ms: number): void
  /** Flips so many random bits in stored values. */
  corrupt(bits: number): void
}

/** The network between virtual nodes. */
export interface VirtualNetwork {
  /** A transport for one life of a node. Its links come up by themselves when it is started, as by discovery. */
  transport(init: {
    readonly name: string
    readonly privateKey: Uint8Array
    readonly clock: NodeClock
  }): Transport
  /** From now until `repair` with the same id. `LinkSet` speaks of nodes by name. */
  impair(id: number, links: LinkSet, impairment: Impairment): void
  repair(id: number): void
  /** The process of a node is gone, without a word; its neighbours see their connections end. */
  kill(peer: PeerId): void
  /** The process of a node stands still: nothing is read or sent; its connections stay until others give them up. */
  pause(peer: PeerId): void
  resume(peer: PeerId): void
  /** Pairs of names that are connected now, each once. */
  topology(): ReadonlyArray<readonly [string, string]>
}

export interface VirtualNetworkInit {
  /** One-way, ms. Default 1, with a jitter of up to 1. */
  readonly latencyMs?: number
  readonly jitterMs?: number
  /** Default: without limit. */
  readonly bytesPerSecond?: number | undefined
  /** A node connects to so many, and lets itself be called by a quarter more. Default PEERS, as every node. */
  readonly neighbours?: number | undefined
  /** Who hears the announcements of a node; default everyone. */
  readonly announcements?: 'mesh' | 'neighbours'
}

export interface WorldComponents {
  readonly time: VirtualTime
  readonly random: Random
}
