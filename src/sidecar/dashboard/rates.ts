import type { Sample } from './sample.ts'

/** A rate is that of the last so many ms. */
const WINDOW_MS = 10_000

type Count = (sample: Sample) => number | undefined

/** Messages a second of each step between two samples, oldest first. */
export function ratesOf(history: readonly Sample[], countOf: Count): number[] {
  const rates: number[] = []
  for (let at = 1; at < history.length; at++) {
    const [before, now] = [history[at - 1], history[at]]
    if (before !== undefined && now !== undefined) rates.push(between(before, now, countOf))
  }
  return rates
}

/** Messages a second over the last ten seconds; undefined after one look only. */
export function rateOf(history: readonly Sample[], countOf: Count): number | undefined {
  const now = history.at(-1)
  if (now === undefined || history.length < 2) return undefined
  const before = history.find(({ at }) => now.at - at <= WINDOW_MS) ?? now
  return before === now ? 0 : between(before, now, countOf)
}

/** Of a channel: what came into its journal, from here or from elsewhere. */
export function messagesOf(channel: string): Count {
  return ({ journals }) => journals.get(channel)
}

function between(before: Sample, now: Sample, countOf: Count): number {
  const [from, to] = [countOf(before), countOf(now)]
  const seconds = (now.at - before.at) / 1000
  if (from === undefined || to === undefined || seconds <= 0) return 0
  return Math.max(0, (to - from) / seconds)
}
