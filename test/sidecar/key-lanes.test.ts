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

  it.each([false, true])(
    'law: one of a key at a time, in order, failed ones first; single: %o',
    (isSingle) => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
          const lanes = new KeyLanes(isSingle)
          const lane = ({ id, key }: Message): string => (isSingle ? '' : (key ?? `id ${id}`))
          const busy: Message[] = []
          /** What is settled, in that order. */
          const over: Message[] = []
          let [now, number] = [0, 0]
          const push = (): void => {
            const message = lanes.next(now)
            if (message === undefined) return
            expect(busy.map(lane)).not.toContain(lane(message))
            busy.push(message)
          }
          for (const one of steps) {
            if (one.do === 'add') lanes.add(messageOf(++number, one.key))
            else if (one.do === 'wait') now += one.ms
            else if (one.do === 'push') push()
            else {
              const [message] = busy.splice(one.at, 1)
              if (message === undefined) continue
              if (one.do === 'back') lanes.back(message)
              if (one.do === 'done') lanes.done(message)
              if (one.do === 'fail' || one.do === 'lose') lanes.failed(message, now + 10)
              // It comes again at once, or is a dead letter.
              if (one.do === 'fail') lanes.add(message)
              if (one.do === 'lose') lanes.release(message.id)
              if (one.do === 'done' || one.do === 'lose') over.push(message)
            }
          }
          // In the end all come out.
          for (let guard = 0; guard < 500 && lanes.size > 0; guard++) {
            push()
            for (const message of busy.splice(0)) {
              lanes.done(message)
              over.push(message)
            }
            now = Math.max(now, lanes.dueAt() ?? now)
          }
          expect([lanes.size, lanes.bytes, over.length]).toEqual([0, 0, number])
          for (const name of new Set(over.map(lane))) {
            const numbers = over
              .filter((message) => lane(message) === name)
              .map(({ id }) => Number(id))
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
