import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Hands, type Work } from '../../src/groups/hands.ts'

describe('groups: hands', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('add' as const),
      key: fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined })
    }),
    fc.record({
      do: fc.constantFrom('take' as const, 'finish' as const, 'back' as const, 'unseen' as const),
      at: fc.nat({ max: 9 })
    }),
    fc.record({ do: fc.constant('later' as const) }),
    fc.record({ do: fc.constant('drop' as const), slot: fc.nat({ max: 3 }) })
  )

  type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

  /** A message of the key with each sequence that was handed over first, in that order. */
  const firsts: Work<number>[] = []
  let sequence = 0

  const add = (hands: Hands<number>, key: string | undefined): void => {
    sequence++
    const slot = key === undefined ? sequence % 4 : 'abc'.indexOf(key)
    hands.add({ id: `${sequence}`, log: '', sequence, slot, key, held: sequence })
  }

  const take = (hands: Hands<number>): void => {
    const again = hands.again(0, 1)
    const work = again === undefined ? hands.ready() : undefined
    if (work !== undefined) hands.handOver(work, 1)
    const first = again?.attempt === 1 ? again : work
    if (first !== undefined) firsts.push(first)
  }

  const later = (hands: Hands<number>): void => {
    const work = hands.ready()
    if (work !== undefined) hands.postpone(work, 0)
  }

  const run = (hands: Hands<number>, one: Step): void => {
    if (one.do === 'add') return add(hands, one.key)
    if (one.do === 'take') return take(hands)
    if (one.do === 'later') return later(hands)
    if (one.do === 'drop') return hands.drop(new Set([one.slot]))
    const hand = [...hands.values()][one.at]
    if (hand === undefined) return undefined
    if (one.do === 'back') return hands.putBack(hand, 0)
    if (one.do === 'unseen') return hands.putBack(hand, 0, false)
    return void hands.finish(hand.id)
  }

  it('have one message of a key at a time, in the order in which they came', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const hands = new Hands<number>()
        firsts.length = 0
        const out = (): Work<number>[] =>
          [...hands.values()].filter((one) => one.deadline !== undefined)
        for (const one of steps) {
          run(hands, one)
          const keys = [...hands.values()].flatMap(({ key }) => (key === undefined ? [] : [key]))
          expect(new Set(keys).size).toBe(keys.length)
          for (let slot = 0; slot < 4; slot++) {
            expect(hands.isBusy(slot)).toBe(out().some((work) => work.slot === slot))
          }
        }
        for (const key of ['a', 'b', 'c']) {
          const numbers = firsts.filter((work) => work.key === key).map((work) => work.sequence)
          expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
        }
        // What is left comes out in the end.
        for (let guard = 0; guard < 1000 && hands.size + hands.waiting > 0; guard++) {
          hands.again(Infinity, 1)
          take(hands)
          for (const { id } of out()) hands.finish(id)
        }
        expect([hands.size, hands.waiting]).toEqual([0, 0])
      })
    )
  })
})
