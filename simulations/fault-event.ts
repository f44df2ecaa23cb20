import type { Step } from './scenario/step.ts'
import type { TraceEvent } from './trace.ts'

/** What a step of the timeline leaves in the trace; undefined for one within a fault. Checkers of time rest on it. */
export function faultEventOf({
  atMs,
  edge,
  fault,
  kind,
  nodes,
  text
}: Step): TraceEvent | undefined {
  if (edge === 'change') return undefined
  return {
    kind: edge === 'begin' ? 'fault' : 'heal',
    at: atMs,
    id: fault,
    fault: kind,
    nodes,
    text
  }
}
