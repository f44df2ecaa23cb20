import { createHash } from 'node:crypto'
import type { Trace } from './trace.ts'

/** Hashed at once; one call for each event would cost more than the hash. */
const CHUNK = 512

/** 64 hex digits that two runs share exactly when all their events are the same, in the same order. */
export function traceHash(trace: Trace): string {
  const hash = createHash('sha256')
  for (let start = 0; start < trace.length; start += CHUNK) {
    const lines = trace.slice(start, start + CHUNK).map((event) => canonical(event))
    hash.update(`${lines.join('\n')}\n`)
  }
  return hash.digest('hex')
}

/** JSON with sorted keys: the order in which a field was written must not count. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  )
}
