import type { Trace, Violation } from '../trace.ts'

/** No node's memory is ever above the bound. One violation a node, with its peak. */
export function memoryBound(trace: Trace, mostBytes: number): Violation[] {
  const peaks = new Map<string, number>()
  for (const event of trace) {
    if (event.kind !== 'memory') continue
    peaks.set(event.node, Math.max(peaks.get(event.node) ?? 0, event.bytes))
  }
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  return [...peaks]
    .filter(([, bytes]) => bytes > mostBytes)
    .map(([node, bytes]) => ({
      checker: 'memory-bound',
      subscription: node,
      what: `took ${mib(bytes)} at its peak; allowed are ${mib(mostBytes)}`,
      id: ''
    }))
}
