import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AppendOutcome } from '../../src/store/contract.ts'
import { append, Author, journalOf, memoryDisk, openStore } from './store-fixtures.ts'
import type { SealedRecord } from '../../src/wire/record.ts'

/** The plainest thing that could be right: a set of records, gone through anew for every question. */
class NaiveLog {
  readonly #records = new Map<number, SealedRecord>()
  readonly #floor: number
  #forkedAt = Infinity
  readonly journal: number[] = []

  constructor(floor: number) {
    this.#floor = floor
  }

  get forkedAt(): number | undefined {
    return this.#forkedAt === Infinity ? undefined : this.#forkedAt
  }

  /** Held ranges, ascending; the first begins at the floor or is the first island. */
  ranges(): { from: number; to: number }[] {
    const ranges: { from: number; to: number }[] = []
    for (const first of [...this.#records.keys()].toSorted((a, b) => a - b)) {
      const to = first + (this.#records.get(first) as SealedRecord).header.count - 1
      const last = ranges.at(-1)
      if (last !== undefined && last.to + 1 === first) last.to = to
      else ranges.push({ from: first, to })
    }
    return ranges
  }

  get head(): number {
    const [range] = this.ranges()
    return range?.from === this.#floor ? range.to : this.#floor - 1
  }

  islands(): { from: number; to: number }[] {
    return this.ranges().filter(({ from }) => from > this.head)
  }

  append(record: SealedRecord): AppendOutcome {
    const { first, count } = record.header
    const last = first + count - 1
    if (last < this.#floor) return 'below-floor'
    const held = this.#records.get(first)
    if (held !== undefined && same(held.digest, record.digest)) return 'duplicate'
    if (last >= this.#forkedAt) return 'frozen'
    if (held !== undefined && this.#covers(first, last)) {
      this.#forkedAt = Math.min(this.#forkedAt, first)
      return 'fork'
    }
    if (!this.#fits(record, last)) return 'broken-chain'
    if (first < this.#floor && this.#records.size > 0) return 'broken-chain'
    this.#records.set(first, record)
    const known = this.journal.length
    for (const at of [...this.#records.keys()].toSorted((a, b) => a - b)) {
      if (at <= this.head && !this.journal.includes(at)) this.journal.push(at)
    }
    return this.journal.length > known ? 'appended' : 'island'
  }

  /** Beside every held record, and chained to those it touches. */
  #fits(record: SealedRecord, last: number): boolean {
    const { first, previous } = record.header
    return [...this.#records].every(([from, other]) => {
      const to = from + other.header.count - 1
      if (from <= last && first <= to) return false
      if (to + 1 === first) return same(other.digest, previous)
      return last + 1 !== from || same(record.digest, other.header.previous)
    })
  }

  #covers(first: number, last: number): boolean {
    return this.ranges().some(({ from, to }) => from <= first && last <= to)
  }
}

describe('log planning', () => {
  const author = new Author()
  const other = new Author()
  const counts = [1, 3, 2, 1, 4, 1, 2, 2]
  const records = counts.map((count) => author.write(count))
  // Another history of the same log: the same first two records, then its own.
  counts.slice(0, 2).forEach((count) => other.write(count))
  const twins = counts.slice(2).map((count, index) =>
    other.write(
      Array.from({ length: index % 2 === 0 ? count : count + 1 }, () => ({
        payload: Buffer.of(9)
      }))
    )
  )
  const pool = [...records, ...twins]

  it('append: any order of records, twins and repeats is planned, stored and reopened like the naive log', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(pool.length - 1), { minLength: 1, maxLength: 24 }),
        fc.array(fc.nat(23), { maxLength: 4 }),
        async (order, restarts) => {
          const disk = await memoryDisk()
          let store = await openStore(disk)
          const naive = new NaiveLog(1)
          let damaged = 0
          for (const [step, index] of order.entries()) {
            const record = pool[index] as SealedRecord
            const expected = naive.append(record)
            expect(await append(store, [record], { floor: 1 })).toEqual([expected])
            if (restarts.includes(step)) {
              await store.stop()
              store = await openStore(disk)
              damaged += store.report.damaged.length
            }
            const state = store.log(author.ref)
            expect(state).toMatchObject({ head: naive.head, forkedAt: naive.forkedAt })
            expect(state?.islands.map(({ from, to }) => ({ from, to }))).toEqual(naive.islands())
          }
          expect((await journalOf(store)).map(([first]) => first)).toEqual(naive.journal)
          expect(damaged).toBe(0)
          await store.stop()
        }
      ),
      { numRuns: 200 }
    )
  })

  it('append: calls in parallel end like calls in sequence', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(
          records.map((_, index) => index),
          { minLength: 1 }
        ),
        async (order) => {
          const store = await openStore(await memoryDisk())
          const naive = new NaiveLog(1)
          const expected = order.map((index) => naive.append(records[index] as SealedRecord))
          const got = await Promise.all(
            order.map((index) => append(store, [records[index] as SealedRecord], { floor: 1 }))
          )
          expect(got.flat()).toEqual(expected)
          expect((await journalOf(store)).map(([first]) => first)).toEqual(naive.journal)
          await store.stop()
        }
      ),
      { numRuns: 100 }
    )
  })
})

function same(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.from(a).equals(b)
}
