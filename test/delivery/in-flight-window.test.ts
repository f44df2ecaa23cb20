import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InFlightWindow } from '../../src/delivery/in-flight-window.ts'

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('add' as const), by: fc.integer({ min: 1, max: 3 }) })
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('first' as const), by: fc.nat(600) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('any' as const), by: fc.nat() }) }
)

describe('delivery: messages in flight', () => {
  it('are what was added and not taken away, in the order of their offsets', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2000, size: 'max' }), (steps) => {
        const window = new InFlightWindow<{ offset: number }>()
        const model = new Map<number, { offset: number }>()
        let next = 0
        for (const { do: what, by } of steps) {
          const offsets = [...model.keys()]
          if (what === 'add') {
            next += by
            const entry = { offset: next }
            window.add(entry)
            model.set(next, entry)
          }
          const taken =
            what === 'first'
              ? offsets.slice(0, by)
              : what === 'any'
                ? offsets.slice(by % 7, (by % 7) + 1)
                : []
          for (const offset of taken) model.delete(offset)
          expect(taken.every((offset) => window.delete(offset))).toBe(true)
          expect(window.delete(next + 1)).toBe(false)
          expect(window.size).toBe(model.size)
          expect(window.firstOffset).toBe([...model.keys()][0])
          expect(window.get(next)).toBe(model.get(next))
        }
        expect([...window.values()]).toEqual([...model.values()])
      }),
      { numRuns: 30 }
    )
  })

  it('may be taken away while they are looked through', () => {
    const window = new InFlightWindow<{ offset: number }>()
    for (let offset = 0; offset < 2000; offset++) window.add({ offset })
    const seen: number[] = []
    for (const { offset } of window.values()) {
      seen.push(offset)
      for (let below = offset - 2; below <= offset; below++) window.delete(below)
    }
    expect(seen).toEqual(Array.from({ length: 2000 }, (_, offset) => offset))
    expect(window.size).toBe(0)
  })
})
