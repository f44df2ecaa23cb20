import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { Duplicates } from '../../src/delivery/duplicates.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

const TIME = 1_700_000_000_000

describe('duplicates', () => {
  it('drops a second message with the id of the first, and not the first one offered again', () => {
    const duplicates = new Duplicates(new ManualClock())
    expect(duplicates.isDuplicate('p/a', 'id', 's/1', TIME)).toBe(false)
    expect(duplicates.isDuplicate('p/a', 'id', 's/2', TIME + 1)).toBe(true)
    expect(duplicates.isDuplicate('p/a', 'id', 's/1', TIME)).toBe(false)
    expect(duplicates.isDuplicate('p/a', 'id', 's/2', TIME + 1)).toBe(true)
  })

  it('tells sources and ids apart', () => {
    const duplicates = new Duplicates(new ManualClock())
    expect(duplicates.isDuplicate('p/a', 'id', 's/1', TIME)).toBe(false)
    expect(duplicates.isDuplicate('p/b', 'id', 's/1', TIME)).toBe(false)
    expect(duplicates.isDuplicate('q/a', 'id', 's/2', TIME)).toBe(false)
    expect(duplicates.isDuplicate('p/a', 'other', 's/2', TIME)).toBe(false)
  })

  it('hands over both of two that were published far apart, however fast they are read', () => {
    const duplicates = new Duplicates(new ManualClock())
    expect(duplicates.isDuplicate('p', 'daily', 's/1', TIME)).toBe(false)
    const nextDay = TIME + 86_400_000
    expect(duplicates.isDuplicate('p', 'daily', 's/2', nextDay)).toBe(false)
    expect(duplicates.isDuplicate('p', 'daily', 's/3', nextDay + 1)).toBe(true)
  })

  it('forgets after its time, by the monotonic clock', async () => {
    const clock = new ManualClock()
    const duplicates = new Duplicates(clock)
    duplicates.isDuplicate('p', 'id', 's/1', TIME)
    clock.jump(10 * LIMITS.idempotencyMs)
    expect(duplicates.isDuplicate('p', 'id', 's/2', TIME)).toBe(true)
    await clock.advance(LIMITS.idempotencyMs - 1)
    expect(duplicates.isDuplicate('p', 'id', 's/2', TIME)).toBe(true)
    await clock.advance(1)
    expect(duplicates.isDuplicate('p', 'id', 's/2', TIME)).toBe(false)
  })

  it('remembers a bounded number, the newest', () => {
    const duplicates = new Duplicates(new ManualClock())
    for (let n = 0; n < LIMITS.idempotencyIds + 10; n++) {
      duplicates.isDuplicate('p', `${n}`, `s/${n}`, TIME)
    }
    expect(duplicates.size).toBe(LIMITS.idempotencyIds)
    expect(duplicates.isDuplicate('p', `${LIMITS.idempotencyIds}`, 's/x', TIME)).toBe(true)
    expect(duplicates.isDuplicate('p', '0', 's/x', TIME)).toBe(false)
  })

  it('never drops a message whose id no other message has', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { maxLength: 60 }), (offers) => {
        const duplicates = new Duplicates(new ManualClock())
        const first = new Map<number, number>()
        for (const [id, message] of offers) {
          if (!first.has(id)) first.set(id, message)
          expect(duplicates.isDuplicate('p', `${id}`, `${message}`, TIME)).toBe(
            first.get(id) !== message
          )
        }
      })
    )
  })
})
