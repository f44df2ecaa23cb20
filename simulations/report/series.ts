import { Bits } from '../checkers/bits.ts'
import { type SubscriptionFacts, type TraceIndex, owes } from '../checkers/trace-index.ts'
import type { TraceEvent } from '../trace.ts'
import type { CurveSeries, LagSeries } from './contract.ts'

/** Steps of a whole run: one column of a heat map is then some 5 points wide on a screen. */
const STEPS = 160

/** Rows of a heat map; nodes share rows above it. */
const MOST_ROWS = 50

/** Sample times that people read without effort, ms. */
const NICE_MS = [1, 2, 5, 10, 20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000]

export interface RunSeries {
  readonly lag: LagSeries
  readonly curve: CurveSeries
  /** From confirmation to first hand-over, ms, ascending. */
  readonly latencies: Float64Array
}

/** Lag and progress over time, in one pass over the trace. Members of groups are left out: who gets what is open. */
export function seriesOf(
  index: TraceIndex,
  { nodes, totalMs }: { nodes: readonly string[]; totalMs: number }
): RunSeries {
  const wanted = Math.max(1, totalMs / STEPS)
  const stepMs = NICE_MS.find((nice) => nice >= wanted) ?? Math.ceil(wanted / 60_000) * 60_000
  const meter = new Meter(index, { nodes, stepMs, steps: Math.max(1, Math.ceil(totalMs / stepMs)) })
  for (const [place, event] of index.trace.entries()) {
    if (event.kind === 'confirmed') meter.confirmed(event, place)
    else if (event.kind === 'handed') meter.handed(event, place)
  }
  return meter.end()
}

type Event<K extends TraceEvent['kind']> = Extract<TraceEvent, { kind: K }>

class Meter {
  readonly #index: TraceIndex
  readonly #stepMs: number
  readonly #steps: number
  readonly #rows: readonly string[]
  readonly #rowOf: ReadonlyMap<string, number>
  readonly #nodeLag = new Map<string, number>()
  readonly #values: number[][]
  readonly #owed: number[] = []
  readonly #done: number[] = []
  readonly #seen = new Map<SubscriptionFacts, Bits>()
  readonly #latencies: number[] = []
  #owedNow = 0
  #doneNow = 0
  #step = 0

  constructor(
    index: TraceIndex,
    { nodes, stepMs, steps }: { nodes: readonly string[]; stepMs: number; steps: number }
  ) {
    this.#index = index
    this.#stepMs = stepMs
    this.#steps = steps
    const share = Math.ceil(nodes.length / MOST_ROWS)
    const rows = Array.from({ length: Math.ceil(nodes.length / share) }, (_, row) =>
      nodes.slice(row * share, (row + 1) * share)
    )
    this.#rows = rows.map((group) =>
      group.length === 1 ? (group[0] ?? '') : `${group[0]} to ${group.at(-1)}`
    )
    this.#rowOf = new Map(rows.flatMap((group, row) => group.map((name) => [name, row] as const)))
    this.#values = rows.map(() => Array.from({ length: steps }, () => 0))
  }

  confirmed({ at = 0, message: { id } }: Event<'confirmed'>, place: number): void {
    this.#advance(at)
    const number = this.#index.numbers.get(id)
    const message = this.#index.messages[number ?? -1]
    if (number === undefined || message?.confirmed !== place) return
    for (const reader of this.#index.matching(message.topic)) {
      if (reader.group !== undefined || !owes(this.#index, reader, message)) continue
      this.#owedNow++
      if (this.#seen.get(reader)?.has(number) === true) this.#doneNow++
      else this.#add(reader.node ?? '', 1)
    }
  }

  handed({ at = 0, message: { id }, subscription }: Event<'handed'>, place: number): void {
    this.#advance(at)
    const reader = this.#index.byId.get(subscription)
    const number = this.#index.numbers.get(id)
    if (reader === undefined || number === undefined) return
    let seen = this.#seen.get(reader)
    if (seen === undefined) this.#seen.set(reader, (seen = new Bits()))
    const message = this.#index.messages[number]
    if (!seen.add(number) || message === undefined || message.confirmed === -1) return
    const confirmation = this.#index.trace[message.confirmed]
    this.#latencies.push(Math.max(0, at - (confirmation?.at ?? at)))
    if (reader.group !== undefined || !owes(this.#index, reader, message)) return
    // Gossip may be faster than the disk: what is handed over before its confirmation is counted there.
    if (message.confirmed > place) return
    this.#doneNow++
    this.#add(reader.node ?? '', -1)
  }

  end(): RunSeries {
    this.#advance(this.#steps * this.#stepMs)
    const stepMs = this.#stepMs
    return {
      lag: { stepMs, rows: this.#rows, values: this.#values },
      curve: { stepMs, owed: this.#owed, done: this.#done },
      latencies: Float64Array.from(this.#latencies).toSorted()
    }
  }

  #add(node: string, change: number): void {
    const lag = (this.#nodeLag.get(node) ?? 0) + change
    this.#nodeLag.set(node, lag)
    this.#raise(node, lag)
  }

  #raise(node: string, lag: number): void {
    const row = this.#values[this.#rowOf.get(node) ?? -1]
    if (row !== undefined && this.#step < this.#steps) {
      row[this.#step] = Math.max(row[this.#step] ?? 0, lag)
    }
  }

  #advance(at: number): void {
    const step = Math.min(this.#steps, Math.floor(at / this.#stepMs))
    while (this.#step < step) {
      this.#owed.push(this.#owedNow)
      this.#done.push(this.#doneNow)
      this.#step++
      for (const [node, lag] of this.#nodeLag) this.#raise(node, lag)
    }
  }
}
