import type { Checker, Violation } from '../trace.ts'
import { logKey } from './log-ranges.ts'
import { type SubscriptionFacts, type TraceIndex, indexTrace } from './trace-index.ts'

/** The lowest and highest sequence of a log that a subscription got. */
interface Span {
  low: number
  high: number
}

/**
 * No gap is silent: between two messages of one log that a subscription got, ephemeral ones too, every confirmed
 * message that its filter matches came as well, or the subscription was told that it is missing. Members of a group
 * get parts of a log; they are not looked at here.
 */
export const silentGaps: Checker = (trace) => findSilentGaps(indexTrace(trace))

/** As `silentGaps`, over a trace that was indexed already. */
export function findSilentGaps(index: TraceIndex): Violation[] {
  const spans = spansOf(index)
  const violations: Violation[] = []
  for (const [number, { confirmed, ref, topic }] of index.messages.entries()) {
    if (confirmed === -1) continue
    const log = logKey(ref)
    for (const reader of index.matching(topic)) {
      if (reader.group !== undefined || reader.handed.has(number)) continue
      const span = spans.get(reader)?.get(log)
      if (span === undefined || ref.sequence < span.low || ref.sequence > span.high) continue
      if (reader.gaps.has(ref) || reader.unfounded.has(ref) || index.excused.has(ref)) continue
      violations.push({
        checker: 'silent-gaps',
        subscription: reader.id,
        what: 'a message is missing between others of its log, and no gap was told',
        id: ref.id
      })
    }
  }
  return violations
}

function spansOf({ byId, trace }: TraceIndex): Map<SubscriptionFacts, Map<string, Span>> {
  const spans = new Map<SubscriptionFacts, Map<string, Span>>()
  for (const event of trace) {
    if (event.kind !== 'handed') continue
    const reader = byId.get(event.subscription)
    if (reader === undefined) continue
    let logs = spans.get(reader)
    if (logs === undefined) spans.set(reader, (logs = new Map()))
    const { sequence } = event.message
    const log = logKey(event.message)
    const span = logs.get(log)
    if (span === undefined) logs.set(log, { low: sequence, high: sequence })
    else {
      span.low = Math.min(span.low, sequence)
      span.high = Math.max(span.high, sequence)
    }
  }
  return spans
}
