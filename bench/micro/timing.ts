import { median } from '../stats.ts'

const RUN_MS = 200
const RUNS = 5
const BURST = 16

/** Microseconds an operation takes: median of five timed runs after a warm-up. */
export function timeOperation(operation: () => unknown): number {
  timeOnce(operation)
  return median(Array.from({ length: RUNS }, () => timeOnce(operation)))
}

function timeOnce(operation: () => unknown): number {
  let count = 0
  const start = performance.now()
  let elapsed = 0
  while (elapsed < RUN_MS) {
    for (let i = 0; i < BURST; i++) operation()
    count += BURST
    elapsed = performance.now() - start
  }
  return (elapsed * 1000) / count
}
