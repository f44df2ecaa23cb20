import type { AdapterContext, Role } from '../adapters/contract.ts'
import type { AdapterName } from '../adapters/registry.ts'

/** A sequence number that is no message's: probes tell whether a subscriber can be reached. */
export const PROBE = 0xffff_ffff

export interface StartOrder {
  readonly adapter: AdapterName
  readonly role: Role
  /** It answers requests. */
  readonly serves: boolean
  readonly context: AdapterContext
}

export interface FloodOrder {
  readonly size: number
  readonly durationMs: number
  /** Payload bytes ahead of the slowest subscriber at which the publisher is held, to save the machine's memory. */
  readonly capBytes: number
}

export interface PaceOrder {
  readonly size: number
  readonly durationMs: number
  /** Messages a second. */
  readonly rate: number
}

export interface WindowOrder {
  readonly size: number
  readonly durationMs: number
  /** Messages without an acknowledgement, or requests without an answer, at most. */
  readonly window: number
}

export interface BeginOrder {
  /** Latencies to keep, by sequence number; 0 for none. */
  readonly latencies: number
}

export interface Published {
  readonly sent: number
  /** When the first message was published, ns of the monotonic clock, which all processes of a host share. */
  readonly startedAt: bigint
  readonly ahead: number
  /** How late each message was published, ms. */
  readonly lag: readonly number[]
}

export interface Received {
  readonly count: number
  readonly duplicates: number
  /** When the last message came, ns. */
  readonly lastAt: bigint
  /** By sequence number, ms; NaN where none came. */
  readonly latencies: Float64Array
}

export interface WindowResult {
  readonly seconds: number
  /** From each message to its acknowledgement, or each request to its answer, ms. */
  readonly latencies: readonly number[]
}

interface Usage {
  /** User and system seconds so far. */
  readonly cpuSeconds: number
  readonly residentBytes: number
  readonly peakBytes: number
}

/** What a worker can be asked: order and answer. */
export interface Orders {
  start: (order: StartOrder) => Promise<{ address: unknown }>
  probe: (order: Record<string, never>) => Promise<void>
  unprobe: (order: Record<string, never>) => Promise<void>
  begin: (order: BeginOrder) => Promise<void>
  end: (order: { sent: number }) => Promise<Received>
  flood: (order: FloodOrder) => Promise<Published>
  pace: (order: PaceOrder) => Promise<Published>
  durable: (order: WindowOrder) => Promise<WindowResult>
  request: (order: WindowOrder) => Promise<WindowResult>
  usage: (order: Record<string, never>) => Promise<Usage>
  startProfile: (order: Record<string, never>) => Promise<void>
  stopProfile: (order: { file: string }) => Promise<void>
  stop: (order: Record<string, never>) => Promise<void>
}

/** What a worker is sent. */
export type Request =
  | { readonly id: number; readonly name: keyof Orders; readonly order: unknown }
  | { readonly delivered: number }

/** What a worker says. */
export type Reply =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly event: 'probed' }
  | { readonly event: 'progress'; readonly count: number }
