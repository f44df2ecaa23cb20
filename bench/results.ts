import type { Summary } from './stats.ts'

/** What one run of one cell gave; figures that the workload does not have are absent. */
export interface CellResult {
  /** From the first process started to the first message everywhere, ms. */
  readonly readyMs?: number
  readonly sent?: number
  /** Deliveries that never came. */
  readonly lost?: number
  readonly duplicates?: number
  /** Delivered to every subscriber, acknowledged as durable, or answered. */
  readonly messagesPerSecond?: number
  /** Publish call to handler (of the last subscriber), publish call to acknowledgement, or request to answer, ms. */
  readonly latencyMs?: Summary
  /** How late the publisher itself was, ms: above a few it could not hold the rate. */
  readonly publisherLagMs?: Summary
  /** User and system seconds of every process, the server's included. */
  readonly cpuSeconds?: { publisher: number; subscribers: number; broker: number }
  /** CPU seconds per million deliveries. */
  readonly cpuPerMillion?: number
  /** Most messages published and not yet delivered. */
  readonly ahead?: number
  readonly publisherPeakBytes?: number
  readonly subscriberPeakBytes?: number
  /** Resident memory of an idle node, median over the nodes. */
  readonly idleBytes?: number
  /** Share of one core that an idle node takes, mean over the nodes. */
  readonly idleCpu?: number
}

export interface RunEntry {
  readonly cell: string
  readonly contender: string
  readonly run: number
  readonly result?: CellResult
  readonly failed?: string
}

export interface ResultFile {
  readonly startedAt: string
  readonly version: string
  readonly machine: { cpus: number; model: string; node: string; kernel: string }
  readonly options: Record<string, unknown>
  readonly entries: readonly RunEntry[]
}

/** A figure that a table shows. */
export type Figure = 'messagesPerSecond' | 'p50' | 'p99' | 'idleBytes' | 'idleCpu'

export function figureOf(result: CellResult, figure: Figure): number {
  switch (figure) {
    case 'p50':
      return result.latencyMs?.p50 ?? Number.NaN
    case 'p99':
      return result.latencyMs?.p99 ?? Number.NaN
    case 'messagesPerSecond':
    case 'idleBytes':
    case 'idleCpu':
      return result[figure] ?? Number.NaN
  }
}
