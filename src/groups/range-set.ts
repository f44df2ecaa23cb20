import type { SequenceRange } from '../wire/vector.ts'

/** Sequence numbers as ascending ranges that neither touch nor overlap. Grows only; two merge into their union. */
export class RangeSet {
  readonly #ranges: { from: number; to: number }[] = []
  #count = 0

  constructor(ranges: Iterable<SequenceRange> = []) {
    for (const { from, to } of ranges) this.add(from, to)
  }

  get ranges(): readonly SequenceRange[] {
    return this.#ranges
  }

  /** Numbers in it. */
  get count(): number {
    return this.#count
  }

  /** The greatest number in it; 0 where it is empty. */
  get last(): number {
    return this.#ranges.at(-1)?.to ?? 0
  }

  has(sequence: number): boolean {
    return this.covers(sequence, sequence)
  }

  /** Is everything from `from` to `to` in it? */
  covers(from: number, to: number): boolean {
    const range = this.#ranges[this.#firstEndingAt(from)]
    return range !== undefined && range.from <= from && to <= range.to
  }

  /** Is all of `other` in it? */
  includes(other: RangeSet): boolean {
    return other.#ranges.every(({ from, to }) => this.covers(from, to))
  }

  /** False where all of it was there already. */
  add(from: number, to: number = from): boolean {
    if (to < from || this.covers(from, to)) return false
    // Ranges that touch count: they become one with it.
    const first = this.#firstEndingAt(from - 1)
    let end = first
    const joined = { from, to }
    for (; end < this.#ranges.length; end++) {
      const range = this.#ranges[end] as SequenceRange
      if (range.from > to + 1) break
      joined.from = Math.min(joined.from, range.from)
      joined.to = Math.max(joined.to, range.to)
      this.#count -= range.to - range.from + 1
    }
    this.#count += joined.to - joined.from + 1
    this.#ranges.splice(first, end - first, joined)
    return true
  }

  /** Takes in all of another. False where all of it was there already. */
  merge(ranges: Iterable<SequenceRange>): boolean {
    let grown = false
    for (const { from, to } of ranges) grown = this.add(from, to) || grown
    return grown
  }

  /** How many numbers from `from` to `to` are in it. */
  countWithin(from: number, to: number): number {
    let count = 0
    for (let at = this.#firstEndingAt(from); at < this.#ranges.length; at++) {
      const range = this.#ranges[at] as SequenceRange
      if (range.from > to) break
      count += Math.min(range.to, to) - Math.max(range.from, from) + 1
    }
    return count
  }

  /** Index of the first range that ends at or above `sequence`. */
  #firstEndingAt(sequence: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranges[middle] as SequenceRange).to < sequence) low = middle + 1
      else high = middle
    }
    return low
  }
}
