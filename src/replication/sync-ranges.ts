import type { LogRef, LogState, SequenceRange } from '../store/contract.ts'
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

/** A log as it stands in a vector. */
export function entryOf({
  floor,
  head,
  islands,
  publisher,
  session
}: VectorEntry['held'] & LogRef): VectorEntry {
  return { publisher, session, held: { floor, head, islands } }
}
