import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AgingMap } from '../../src/core/aging-map.ts'

describe('aging map', () => {
  it('is a map that knows its oldest entry, whatever is done with it', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e')
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), key, value: fc.nat() }),
      fc.record({ kind: fc.constant('delete' as const), key }),
      fc.record({ kind: fc.constant('oldest' as const) }),
      fc.record({ kind: fc.constant('drop' as const) })
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const map = new AgingMap<number>()
        let model: [string, number][] = []
        const said: unknown[] = []
        const expected: unknown[] = []
        for (const step of steps) {
          if (step.kind === 'set') {
            map.set(step.key, step.value)
            model = [...model.filter(([key]) => key !== step.key), [step.key, step.value]]
          } else if (step.kind === 'delete') {
            said.push(map.delete(step.key))
            expected.push(model.some(([key]) => key === step.key))
            model = model.filter(([key]) => key !== step.key)
          } else {
            said.push(map.oldest())
            expected.push(model[0])
            const gone = step.kind === 'drop' ? model.shift() : undefined
            if (gone !== undefined) map.delete(gone[0])
          }
          said.push(map.size, ...model.map(([key]) => [map.has(key), map.get(key)]))
          expected.push(model.length, ...model.map(([, value]) => [true, value]))
        }
        expect(said).toEqual(expected)
      })
    )
  })
})
