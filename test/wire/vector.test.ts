import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import {
  decodeVector,
  emptyHeld,
  encodeVector,
  heldRanges,
  holds,
  holes,
  insertRange,
  mergeHeld,
  missingRanges
} from '../../src/wire/vector.ts'
import type { HeldRange, SequenceRange } from '../../src/wire/vector.ts'
import { accepted, session } from './arbitraries.ts'

const range: fc.Arbitrary<SequenceRange> = fc
  .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 12 }))
  .map(([from, length]) => ({ from, to: from + length }))

const floor = fc.integer({ min: 1, max: 20 })

const held: fc.Arbitrary<HeldRange> = fc
  .tuple(floor, fc.array(range, { maxLength: 6 }))
  .map(([start, ranges]) => build(start, ranges))

function build(start: number, ranges: readonly SequenceRange[]): HeldRange {
  return ranges.reduce((all, one) => insertRange(all, one) ?? all, emptyHeld(start))
}

function members(one: HeldRange): number[] {
  return sequences(heldRanges(one))
}

function sequences(ranges: readonly SequenceRange[]): number[] {
  return ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i))
}

describe('held range', () => {
  it('held range: holds exactly what was inserted above the floor, in a normal form', () => {
    fc.assert(
      fc.property(floor, fc.array(range, { maxLength: 8 }), (start, ranges) => {
        const all = build(start, ranges)
        const expected = new Set(sequences(ranges).filter((sequence) => sequence >= start))
        for (let sequence = 0; sequence < 80; sequence++) {
          expect(holds(all, sequence)).toBe(expected.has(sequence))
        }
        expect(members(all)).toEqual([...expected].toSorted((a, b) => a - b))
        let above = all.head
        for (const { from, to } of all.islands) {
          expect(from).toBeGreaterThan(above + 1)
          expect(to).toBeGreaterThanOrEqual(from)
          above = to
        }
      })
    )
  })

  it('held range: the order of insertion does not matter, nor does repetition', () => {
    fc.assert(
      fc.property(floor, fc.array(range, { maxLength: 8 }), (start, ranges) => {
        expect(build(start, [...ranges].toReversed())).toEqual(build(start, ranges))
        expect(build(start, [...ranges, ...ranges])).toEqual(build(start, ranges))
      })
    )
  })

  it('held range: merging is a union: commutative, associative, idempotent', () => {
    fc.assert(
      fc.property(held, held, held, (a, b, c) => {
        const both = mergeHeld(a, b)
        expect(both).toEqual(mergeHeld(b, a))
        expect(mergeHeld(both, c)).toEqual(mergeHeld(a, mergeHeld(b, c)))
        expect(mergeHeld(a, a)).toEqual(a)
        expect(members(both)).toEqual(
          [...new Set([...members(a), ...members(b)])].toSorted((x, y) => x - y)
        )
        expect(both.floor).toBe(Math.min(a.floor, b.floor))
      })
    )
  })

  it('held range: what is missing is what they hold, I want and I lack', () => {
    fc.assert(
      fc.property(held, held, (mine, theirs) => {
        const missing = sequences(missingRanges(mine, theirs))
        expect(missing).toEqual(
          members(theirs).filter((sequence) => sequence >= mine.floor && !holds(mine, sequence))
        )
        const filled = missingRanges(mine, theirs).reduce<HeldRange>(
          (all, one) => insertRange(all, one) ?? all,
          mine
        )
        expect(missingRanges(filled, theirs)).toEqual([])
      })
    )
  })

  it('held range: filling the holes leaves no islands', () => {
    fc.assert(
      fc.property(held, (one) => {
        const filled = build(one.floor, [...heldRanges(one), ...holes(one)])
        expect([filled.islands, holes(filled)]).toEqual([[], []])
        expect(filled.head).toBe(one.islands.at(-1)?.to ?? one.head)
      })
    )
  })

  it('held range: one island too many is refused', () => {
    let all = emptyHeld()
    for (let index = 1; index <= LIMITS.islands; index++) {
      all = insertRange(all, { from: index * 3, to: index * 3 }) as HeldRange
    }
    expect(all.islands).toHaveLength(LIMITS.islands)
    expect(insertRange(all, { from: 1000, to: 1001 })).toBe(undefined)
    expect(insertRange(all, { from: 4, to: 5 })?.islands).toHaveLength(LIMITS.islands - 1)
  })
})

describe('vector', () => {
  const publisher = fc
    .integer({ min: 0, max: 3 })
    .map((fill) => peerIdFromPublicKey(new Uint8Array(32).fill(fill)))
  const vector = fc.uniqueArray(fc.record({ publisher, session, held }), {
    maxLength: 12,
    selector: (entry) => `${entry.publisher}/${entry.session}`
  })
  const order = (entry: { publisher: string; session: string }): string =>
    `${entry.publisher}/${entry.session}`

  it('vector: what was encoded is decoded, sorted', () => {
    fc.assert(
      fc.property(vector, (entries) => {
        const decoded = decodeVector(encodeVector(entries), 12)
        expect(decoded).toEqual(entries.toSorted((a, b) => (order(a) < order(b) ? -1 : 1)))
        expect(encodeVector(decoded)).toEqual(encodeVector(entries))
      })
    )
  })

  it('vector: numbers up to 2^53 - 1 survive', () => {
    const entry = {
      publisher: peerIdFromPublicKey(new Uint8Array(32)),
      session: 'ffffffffffffffff',
      held: {
        floor: 2 ** 52,
        head: 2 ** 53 - 5,
        islands: [{ from: 2 ** 53 - 3, to: Number.MAX_SAFE_INTEGER }]
      }
    }
    expect(decodeVector(encodeVector([entry]), 1)).toEqual([entry])
  })

  it('vector: more logs than allowed are refused', () => {
    const entries = [1, 2, 3].map((n) => ({
      publisher: peerIdFromPublicKey(new Uint8Array(32).fill(n)),
      session: '0190000000000001',
      held: emptyHeld()
    }))
    expect(() => decodeVector(encodeVector(entries), 2)).toThrow(
      expect.objectContaining({ code: 'ERR_RECORD', details: { reason: 'limit' } })
    )
  })

  it('vector: any bytes are decoded or refused with ERR_RECORD', () => {
    const altered = fc.tuple(vector, fc.nat(), fc.nat({ max: 255 })).map(([entries, at, byte]) => {
      const bytes = encodeVector(entries)
      bytes[at % bytes.length] = byte
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(altered, fc.uint8Array({ maxLength: 120 })), (bytes) => {
        const entries = accepted(() => decodeVector(bytes, 100)) ?? []
        expect(entries.every(({ held: { head } }) => Number.isSafeInteger(head))).toBe(true)
      }),
      { numRuns: 1000 }
    )
  })
})
