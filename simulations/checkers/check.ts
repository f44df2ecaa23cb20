import type { Expectations } from '../scenario/contract.ts'
import type { Trace, Violation } from '../trace.ts'
import { alteredMessages } from './altered-messages.ts'
import { type QuietTime, findUnconverged } from './convergence.ts'
import { compareCounts, countDelivered } from './delivered-counts.ts'
import { inboxMessages } from './inbox-messages.ts'
import { fencedWork } from './fenced-work.ts'
import { keyOrder } from './key-order.ts'
import { findLost } from './lost-messages.ts'
import { memoryBound } from './memory-bound.ts'
import { publisherOrder } from './publisher-order.ts'
import { repetitions } from './repeated-messages.ts'
import { findShared } from './shared-work.ts'
import { findSilentGaps } from './silent-gaps.ts'
import { type TraceIndex, indexTrace } from './trace-index.ts'

/** What all checkers together found. */
export interface Verdict {
  readonly violations: readonly Violation[]
  readonly index: TraceIndex
  /** After each heal; measured whether `convergeWithinMs` is set or not. */
  readonly quietTimes: readonly QuietTime[]
  /** Different messages handed over, by label, and `total`. */
  readonly delivered: ReadonlyMap<string, number>
}

/** Looks at a trace that has come to rest with every checker that the scenario asks for. */
export function checkTrace(trace: Trace, expect: Expectations): Verdict {
  const index = indexTrace(trace)
  const { noDuplicates, convergeWithinMs = Infinity, memoryPerNodeBytes = Infinity } = expect
  const allow = noDuplicates === false ? [] : noDuplicates.allow
  const converged = findUnconverged(index, convergeWithinMs)
  const delivered = countDelivered(index)
  const found = [
    expect.noLoss ? findLost(index) : [],
    noDuplicates === false ? [] : repetitions(allow)(trace),
    alteredMessages(trace),
    expect.publisherOrder ? publisherOrder(trace) : [],
    expect.gapsTold ? findSilentGaps(index) : [],
    expect.groups ? [...findShared(index, allow), ...fencedWork(trace), ...keyOrder(trace)] : [],
    expect.inbox ? inboxMessages(trace) : [],
    converged.violations,
    memoryBound(trace, memoryPerNodeBytes),
    compareCounts(delivered, expect.delivered)
  ]
  return { violations: found.flat(), index, quietTimes: converged.times, delivered }
}
