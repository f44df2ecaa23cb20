import { checkTrace } from '../checkers/check.ts'
import { convergenceMs } from '../checkers/convergence.ts'
import { explainViolations } from '../checkers/history.ts'
import type { Expectations, Scenario, Tier } from '../scenario/contract.ts'
import { traceHash } from '../trace-hash.ts'
import type { Trace, Violation } from '../trace.ts'
import type { FaultSpan, Report, RuleResult } from './contract.ts'
import { seriesOf } from './series.ts'
import { topologiesOf } from './topologies.ts'

/** Violations of one rule that come with their history. */
const EXPLAINED = 10

/** What a runner knows of a run. */
export interface RunFacts {
  readonly scenario: Scenario
  readonly seed: number
  readonly tier: Tier
  readonly trace: Trace
  readonly simulatedMs: number
  readonly wallMs: number
  /** Default 1. */
  readonly runs?: number
  /** Default: `skein sim <name> --seed <seed>`. A file or other options need their own. */
  readonly replay?: string
}

/** Checks a trace with all rules of its scenario, and makes figures and series of it. */
export function buildReport(facts: RunFacts): Report {
  const { scenario, seed, simulatedMs, tier, trace } = facts
  const { delivered, index, quietTimes, violations } = checkTrace(trace, scenario.expect)
  const count = (checker: string): number =>
    violations.filter((violation) => violation.checker === checker).length
  const nodes = scenario.nodes.map(({ name }) => name)
  const { curve, lag, latencies } = seriesOf(index, { nodes, totalMs: simulatedMs })
  return {
    scenario: scenario.name,
    description: scenario.description,
    seed,
    tier,
    ok: violations.length === 0,
    traceHash: tier === 'virtual' ? traceHash(trace) : null,
    runs: facts.runs ?? 1,
    allRuns: { simulatedMs, wallMs: facts.wallMs },
    replay: facts.replay ?? replayCommand(scenario.name, seed, tier),
    published: index.messages.filter(({ confirmed }) => confirmed !== -1).length,
    rejected: trace.filter(({ kind }) => kind === 'rejected').length,
    delivered: delivered.get('total') ?? 0,
    deliveredBy: Object.fromEntries([...delivered].filter(([label]) => label !== 'total')),
    lost: count('lost-messages'),
    duplicated: count('repeated-messages'),
    outOfOrder: count('publisher-order'),
    convergenceMs: convergenceMs(quietTimes) ?? null,
    latency: latencyOf(latencies),
    violationCount: violations.length,
    violations: explainViolations(trace, firstOfEach(violations)),
    rules: rulesOf(scenario.expect, violations),
    simulatedMs,
    wallMs: facts.wallMs,
    nodes,
    memoryPeaks: memoryPeaksOf(trace),
    faults: faultSpansOf(trace),
    lag,
    curve,
    topologies: topologiesOf(trace, nodes)
  }
}

function replayCommand(name: string, seed: number, tier: Tier): string {
  return `skein sim ${name} --seed ${seed}${tier === 'real' ? ' --real' : ''}`
}

/** A rule that is broken a thousand times must not hide another. */
function firstOfEach(violations: readonly Violation[]): Violation[] {
  const counts = new Map<string, number>()
  return violations.filter(({ checker }) => {
    const before = counts.get(checker) ?? 0
    counts.set(checker, before + 1)
    return before < EXPLAINED
  })
}

function latencyOf(sorted: Float64Array): Report['latency'] {
  if (sorted.length === 0) return null
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

function rulesOf(expect: Expectations, violations: readonly Violation[]): RuleResult[] {
  const checked: ReadonlyArray<readonly [string, boolean]> = [
    ['lost-messages', expect.noLoss],
    ['repeated-messages', expect.noDuplicates !== false],
    ['altered-messages', true],
    ['publisher-order', expect.publisherOrder],
    ['silent-gaps', expect.gapsTold],
    ['shared-work', expect.groups],
    ['inbox-messages', expect.inbox],
    ['convergence', expect.convergeWithinMs !== undefined],
    ['memory-bound', expect.memoryPerNodeBytes !== undefined],
    ['delivered-counts', Object.keys(expect.delivered).length > 0]
  ]
  const counts = new Map<string, number>()
  for (const { checker } of violations) counts.set(checker, (counts.get(checker) ?? 0) + 1)
  return checked.map(([rule, asked]) => ({
    rule,
    checked: asked,
    violations: counts.get(rule) ?? 0
  }))
}

function memoryPeaksOf(trace: Trace): Record<string, number> {
  const peaks: Record<string, number> = {}
  for (const event of trace) {
    if (event.kind !== 'memory') continue
    peaks[event.node] = Math.max(peaks[event.node] ?? 0, event.bytes)
  }
  return peaks
}

function faultSpansOf(trace: Trace): FaultSpan[] {
  const spans = new Map<number, { -readonly [K in keyof FaultSpan]: FaultSpan[K] }>()
  for (const event of trace) {
    if (event.kind === 'fault') {
      const { at = 0, fault: kind, id, nodes, text } = event
      spans.set(id, { kind, text, nodes, atMs: at, untilMs: null })
    } else if (event.kind === 'heal') {
      const span = spans.get(event.id)
      if (span !== undefined) span.untilMs = event.at ?? 0
    }
  }
  return [...spans.values()]
}
