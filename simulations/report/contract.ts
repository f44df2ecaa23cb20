import type { ExplainedViolation } from '../checkers/history.ts'
import type { FaultKind, Tier } from '../scenario/contract.ts'

/** One fault as it was. */
export interface FaultSpan {
  readonly kind: FaultKind
  /** For people: `partition n1 n2 | n3`. */
  readonly text: string
  readonly nodes: readonly string[]
  readonly atMs: number
  /** Null: never lifted. */
  readonly untilMs: number | null
}

/** Rows of samples, one every `stepMs`: row r, sample i is the highest value from i to i + 1 steps. */
export interface LagSeries {
  readonly stepMs: number
  /** A node, or `n1 to n16` where several share a row: then the highest of them counts. */
  readonly rows: readonly string[]
  /** Confirmed messages that durable subscriptions of the node had not got yet. */
  readonly values: ReadonlyArray<readonly number[]>
}

/** Hand-overs owed and done since the start, sampled at the end of each step. */
export interface CurveSeries {
  readonly stepMs: number
  readonly owed: readonly number[]
  readonly done: readonly number[]
}

/** Who was connected to whom at one moment. */
export interface TopologySnapshot {
  readonly atMs: number
  /** The fault or heal before it. */
  readonly text: string
  /** Places in `nodes` of the report; at most 1,500 pairs, evenly chosen. */
  readonly links: ReadonlyArray<readonly [number, number]>
  /** How many there were. */
  readonly linkCount: number
  /** Number of the connected part each node is in, 0 the largest; -1 = down. */
  readonly parts: readonly number[]
}

/** What one rule found. */
export interface RuleResult {
  readonly rule: string
  /** False: the scenario does not ask for it. */
  readonly checked: boolean
  readonly violations: number
}

/** What a run of a scenario came to. Plain data: it survives JSON. */
export interface Report {
  readonly scenario: string
  readonly description: string
  readonly seed: number
  readonly tier: Tier
  readonly ok: boolean
  /** Null in the real tier, where no two traces are equal. */
  readonly traceHash: string | null
  /** Runs made, each with the next seed; the figures are of the first that failed, or else of the last. */
  readonly runs: number
  /** Of all those runs: what was simulated, and how long that took. */
  readonly allRuns: { readonly simulatedMs: number; readonly wallMs: number }
  /** The command that repeats exactly this run. */
  readonly replay: string
  /** Publishes that were confirmed. */
  readonly published: number
  /** Publishes that were refused with an error. */
  readonly rejected: number
  /** Different messages handed over, over all subscriptions. */
  readonly delivered: number
  readonly deliveredBy: Readonly<Record<string, number>>
  readonly lost: number
  readonly duplicated: number
  readonly outOfOrder: number
  /** Longest time from a heal to convergence; null: nothing was healed, or it never converged. */
  readonly convergenceMs: number | null
  /** From confirmation to first hand-over; null without any. */
  readonly latency: {
    readonly p50Ms: number
    readonly p99Ms: number
    readonly maxMs: number
  } | null
  readonly violationCount: number
  /** The first 10 of each rule, with what happened around them. */
  readonly violations: readonly ExplainedViolation[]
  readonly rules: readonly RuleResult[]
  readonly simulatedMs: number
  readonly wallMs: number
  readonly nodes: readonly string[]
  /** Highest sample of each node that has any, bytes. */
  readonly memoryPeaks: Readonly<Record<string, number>>
  readonly faults: readonly FaultSpan[]
  readonly lag: LagSeries
  readonly curve: CurveSeries
  readonly topologies: readonly TopologySnapshot[]
}
