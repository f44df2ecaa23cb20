import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Message } from '../../src/node/contract.ts'
import { KeyLanes } from '../../src/sidecar/webhooks/key-lanes.ts'

const messageOf = (number: number, key: string | undefined): Message =>
  ({ id: `${number}`, key, payload: Buffer.alloc(number % 7) }) as unknown as Message

describe('webhooks: key lanes', () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('add' as const),
        key: fc.option(fc.constantFrom('a', 'b'), { nil: undefined })
      })
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('push' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constantFrom('done' as const, 'fail' as const, 'back' as const, 'lose' as const),
        at: fc.nat({ max: 5 })
      })
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 100 }) })
    }
  )

  type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

  /** Lanes, and what a pusher does with them. */
  class Pushing {
    readonly lanes: KeyLanes
    readonly busy: Message[] = []
    /** What is settled, in that order. */
    readonly over: Message[] = []
    /** Two of one lane were out at once. */
    overlaps = false
    number = 0
    #now = 0
    readonly #isSingle: boolean

    constructor(isSingle: boolean) {
      this.lanes = new KeyLanes(isSingle)
      this.#isSingle = isSingle
    }

    laneOf({ id, key }: Message): string {
      return this.#isSingle ? '' : (key ?? `id ${id}`)
    }

    run(one: Step): void {
      if (one.do === 'add') this.lanes.add(messageOf(++this.number, one.key))
      else if (one.do === 'wait') this.#now += one.ms
      else if (one.do === 'push') this.push()
      else {
        const [message] = this.busy.splice(one.at, 1)
        if (message !== undefined) this.#end(one.do, message)
      }
    }

    push(): void {
      const message = this.lanes.next(this.#now)
      if (message === undefined) return
      this.overlaps ||= this.busy.some((one) => this.laneOf(one) === this.laneOf(message))
      this.busy.push(message)
    }

    /** In the end all come out. */
    finish(): void {
      for (let guard = 0; guard < 500 && this.lanes.size > 0; guard++) {
        this.push()
        for (const message of this.busy.splice(0)) this.#end('done', message)
        this.#now = Math.max(this.#now, this.lanes.dueAt() ?? 0)
      }
    }

    #end(how: 'done' | 'fail' | 'back' | 'lose', message: Message): void {
      if (how === 'back') return this.lanes.back(message)
      if (how === 'done') this.lanes.done(message)
      else this.lanes.failed(message, this.#now + 10)
      // It comes again at once, or is a dead letter.
      if (how === 'fail') return this.lanes.add(message)
      if (how === 'lose') this.lanes.release(message.id)
      this.over.push(message)
    }
  }

  it.each([false, true])(
    'law: one of a key at a time, in order, failed ones first; single: %o',
    (isSingle) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
          const pushing = new Pushing(isSingle)
          for (const one of steps) pushing.run(one)
          pushing.finish()
          const { lanes, number, over } = pushing
          expect(pushing.overlaps).toBe(false)
          expect([lanes.size, lanes.bytes, over.length]).toEqual([0, 0, number])
          for (const name of new Set(over.map((message) => pushing.laneOf(message)))) {
            const own = over.filter((message) => pushing.laneOf(message) === name)
            const numbers = own.map(({ id }) => Number(id))
            expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
          }
        })
      )
    }
  )

  it('a failed message that never comes again holds those behind it up for a while only', () => {
    const lanes = new KeyLanes(false)
    const [one, two] = [messageOf(1, 'a'), messageOf(2, 'a')]
    lanes.add(one)
    lanes.add(two)
    lanes.next(0)
    lanes.failed(one, 50)
    expect(lanes.next(60)).toBeUndefined()
    const due = lanes.dueAt() ?? 0
    expect(due).toBeGreaterThan(5000)
    expect(lanes.next(due)).toBe(two)
  })

  it('what is in hand and not being pushed is drained', () => {
    const lanes = new KeyLanes(false)
    for (const number of [1, 2, 3]) lanes.add(messageOf(number, 'a'))
    const busy = lanes.next(0)
    expect(lanes.drain().map(({ id }) => id)).toEqual(['2', '3'])
    expect(lanes.size).toBe(1)
    if (busy !== undefined) lanes.done(busy)
    expect([lanes.size, lanes.bytes]).toEqual([0, 0])
  })
})
