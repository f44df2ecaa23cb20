import type { Figure } from './results.ts'

/** A bound as a multiple of a contender's figure in the same run, or as a number by itself. */
export type Bound = { readonly times: number; readonly of: string } | { readonly value: number }

/** What one figure of one cell has to reach, and what it aims at. Absent: nothing is asked. */
export interface Goal {
  readonly cell: string
  readonly figure: Figure
  readonly must?: Bound
  readonly aim?: Bound
}

const times = (factor: number, of: string): Bound => ({ times: factor, of })

const MB = 1e6

/** Ratios hold from machine to machine, absolute figures do not; so ratios are what is asked wherever it can be. */
export const GOALS: readonly Goal[] = [
  {
    cell: '1to1-128B',
    figure: 'messagesPerSecond',
    must: times(1, 'nats'),
    aim: times(1.5, 'nats')
  },
  {
    cell: '1to1-1KiB',
    figure: 'messagesPerSecond',
    must: times(0.9, 'zeromq-curve'),
    aim: times(0.9, 'limit')
  },
  {
    cell: '1to1-64KiB',
    figure: 'messagesPerSecond',
    must: times(0.5, 'limit'),
    aim: times(0.9, 'limit')
  },
  {
    cell: '1to4-128B',
    figure: 'messagesPerSecond',
    must: times(1.5, 'zeromq-curve'),
    aim: times(1, 'nats')
  },
  {
    cell: '1to4-1KiB',
    figure: 'messagesPerSecond',
    must: times(0.8, 'limit'),
    aim: times(1.2, 'limit')
  },
  { cell: '1to4-64KiB', figure: 'messagesPerSecond' },
  { cell: 'latency-1to1', figure: 'p50', must: times(0.6, 'gossipsub'), aim: times(2, 'nats') },
  { cell: 'latency-1to1', figure: 'p99' },
  { cell: 'latency-1to4', figure: 'p50', must: { value: 3 }, aim: { value: 1.2 } },
  { cell: 'latency-1to4', figure: 'p99' },
  { cell: 'latency-1to4-mesh', figure: 'p50', must: { value: 3 }, aim: { value: 1.2 } },
  { cell: 'latency-1to4-mesh', figure: 'p99' },
  {
    cell: 'durable-1KiB',
    figure: 'messagesPerSecond',
    must: times(2, 'redis'),
    aim: times(0.8, 'floor')
  },
  { cell: 'durable-1KiB', figure: 'p99' },
  { cell: 'request-1', figure: 'messagesPerSecond' },
  { cell: 'request-1', figure: 'p50' },
  { cell: 'request-1', figure: 'p99' },
  { cell: 'request-256', figure: 'messagesPerSecond' },
  { cell: 'request-256', figure: 'p50' },
  { cell: 'request-256', figure: 'p99' },
  { cell: 'idle-1', figure: 'idleBytes', must: { value: 110 * MB }, aim: { value: 80 * MB } },
  { cell: 'idle-1', figure: 'idleCpu' },
  { cell: 'idle-20', figure: 'idleBytes' },
  { cell: 'idle-20', figure: 'idleCpu', must: { value: 0.02 }, aim: { value: 0.005 } }
]

/** Only throughput is better when it is more. */
export function moreIsBetter(figure: Figure): boolean {
  return figure === 'messagesPerSecond'
}
