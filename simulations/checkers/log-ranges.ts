import type { LogRange, MessageRef } from '../trace.ts'

interface Range {
  from: number
  to: number
}

/** Ranges of sequences, by log. Added in any order, asked in logarithmic time. */
export class LogRanges {
  readonly #logs = new Map<string, { ranges: Range[]; sorted: boolean }>()

  add(range: LogRange): void {
    const key = logKey(range)
    const log = this.#logs.get(key) ?? { ranges: [], sorted: true }
    this.#logs.set(key, log)
    log.ranges.push({ from: range.from, to: range.to })
    log.sorted = false
  }

  has(message: MessageRef): boolean {
    if (this.#logs.size === 0) return false
    const log = this.#logs.get(logKey(message))
    if (log === undefined) return false
    if (!log.sorted) {
      log.ranges = merged(log.ranges)
      log.sorted = true
    }
    return holds(log.ranges, message.sequence)
  }
}

/** Names one log. */
export function logKey({
  channel,
  publisher,
  session
}: Pick<MessageRef, 'channel' | 'publisher' | 'session'>): string {
  return `${publisher}/${session}/${channel}`
}

function merged(ranges: Range[]): Range[] {
  const result: Range[] = []
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last !== undefined && range.from <= last.to + 1) last.to = Math.max(last.to, range.to)
    else result.push(range)
  }
  return result
}

function holds(ranges: readonly Range[], sequence: number): boolean {
  let low = 0
  let high = ranges.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const range = ranges[middle]
    if (range === undefined) return false
    if (sequence < range.from) high = middle - 1
    else if (sequence > range.to) low = middle + 1
    else return true
  }
  return false
}
