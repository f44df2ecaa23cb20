import type { Violation } from '../trace.ts'
import type { TraceIndex } from './trace-index.ts'

/** Different messages handed over, by label of the subscription; `total` is the sum. */
export function countDelivered({ messages, subscriptions }: TraceIndex): Map<string, number> {
  const counts = new Map<string, number>([['total', 0]])
  for (const { handed, label } of subscriptions) {
    let count = 0
    for (let number = 0; number < messages.length; number++) if (handed.has(number)) count++
    counts.set(label, (counts.get(label) ?? 0) + count)
    counts.set('total', (counts.get('total') ?? 0) + count)
  }
  return counts
}

/** Exactly as many different messages were handed over as expected. */
export function compareCounts(
  counts: ReadonlyMap<string, number>,
  expected: Readonly<Record<string, number>>
): Violation[] {
  return Object.entries(expected)
    .filter(([label, count]) => (counts.get(label) ?? 0) !== count)
    .map(([label, count]) => ({
      checker: 'delivered-counts',
      subscription: label,
      what: `got ${counts.get(label) ?? 0} different messages; expected are ${count}`,
      id: ''
    }))
}
