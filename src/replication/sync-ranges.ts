import { LIMITS } from '../core/limits.ts'
import type { LogState, SequenceRange } from '../store/contract.ts'
import { heldRanges, missingRanges, type HeldRange, type VectorEntry } from '../wire/vector.ts'

/** Is nothing held of the log up to a hole? */
export function isFresh(mine: LogState | undefined): boolean {
  return mine === undefined || mine.head < mine.floor
}

/** The first range that `theirs` holds and `mine` lacks and takes. */
export function lackedOf(mine: LogState | undefined, theirs: HeldRange): SequenceRange | undefined {
  if (mine !== undefined) return missingRanges(mine, theirs)[0] ?? skippedOf(mine, theirs)
  const first = heldRanges(theirs)[0]
  return first === undefined ? undefined : { from: 1, to: first.to }
}

function skippedOf({ floor, skipped }: LogState, theirs: HeldRange): SequenceRange | undefined {
  for (const range of skipped) {
    for (const held of heldRanges(theirs)) {
      const from = Math.max(range.from, held.from, floor)
      const to = Math.min(range.to, held.to)
      if (from <= to) return { from, to }
    }
  }
  return undefined
}

/** What is left of it from `floor` on. */
export function cutBelow(held: HeldRange, floor: number): HeldRange {
  return {
    floor: Math.max(held.floor, floor),
    head: Math.max(held.head, floor - 1),
    islands: held.islands.filter(({ to }) => to >= floor)
  }
}

/** A log as it stands in a vector: what was given up counts as held at home only. */
export function entryOf(log: LogState): VectorEntry {
  const { floor, head, islands, publisher, session, voids } = log
  if (voids.length === 0) return { publisher, session, held: { floor, head, islands } }
  const held = heldRanges(log).flatMap((range) => without(range, voids))
  const first = held[0]?.from === floor ? held.shift() : undefined
  return {
    publisher,
    session,
    // The newest ones: to name less than there is costs nobody anything.
    held: { floor, head: first?.to ?? floor - 1, islands: held.slice(-LIMITS.islands) }
  }
}

/** What is left of a range without others, which are ascending. */
function without(range: SequenceRange, others: readonly SequenceRange[]): SequenceRange[] {
  const rest: SequenceRange[] = []
  let { from } = range
  for (const other of others) {
    if (other.to < from || other.from > range.to) continue
    if (other.from > from) rest.push({ from, to: other.from - 1 })
    from = other.to + 1
  }
  if (from <= range.to) rest.push({ from, to: range.to })
  return rest
}
