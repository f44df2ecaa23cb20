import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { steadyClock } from '../../src/core/clock.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

const HOUR_MS = 3_600_000
const YEARS_MS = 10 * 365 * 24 * HOUR_MS

describe('steady clock', () => {
  it('is the wall clock while that does not jump', async () => {
    const clock = new ManualClock()
    const steady = steadyClock(clock)
    for (const ms of [0, 1, 1000, 5 * HOUR_MS]) {
      await clock.advance(ms)
      expect(steady.now()).toBe(clock.now())
    }
  })

  it('does not jump with it, forward or back, and has caught up after twice the distance', async () => {
    for (const ms of [HOUR_MS, -HOUR_MS]) {
      const clock = new ManualClock()
      const steady = steadyClock(clock)
      const before = steady.now()
      clock.jump(ms)
      expect(steady.now()).toBe(before)
      await clock.advance(1000)
      expect(steady.now() - before).toBe(ms > 0 ? 1500 : 500)
      await clock.advance(2 * HOUR_MS - 1000)
      expect(steady.now()).toBe(clock.now())
    }
  })

  it('goes half as fast again at most while the wall clock is years ahead', async () => {
    const clock = new ManualClock()
    const steady = steadyClock(clock)
    const before = steady.now()
    clock.jump(YEARS_MS)
    await clock.advance(24 * HOUR_MS)
    expect(steady.now() - before).toBe(36 * HOUR_MS)
  })

  it('never goes back and never leaves its rate, whatever the wall clock does', () => {
    const step = fc.record({ jump: fc.integer({ min: -1e12, max: 1e12 }), ms: fc.nat(1e7) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        let wall = 1_700_000_000_000
        let monotonic = 0
        const steady = steadyClock({
          now: () => wall,
          monotonic: () => monotonic,
          after: () => ({ cancel: () => undefined }),
          soon: () => undefined
        })
        for (const { jump, ms } of steps) {
          const before = steady.now()
          wall += jump + ms
          monotonic += ms
          const passed = steady.now() - before
          expect(passed).toBeGreaterThanOrEqual(ms * 0.5 - 1)
          expect(passed).toBeLessThanOrEqual(ms * 1.5 + 1)
        }
      })
    )
  })
})
