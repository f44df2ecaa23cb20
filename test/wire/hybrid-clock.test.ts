import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import { systemClock } from '../../src/core/clock.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { compareHybrid, HybridClock } from '../../src/wire/hybrid-clock.ts'

class WallClock {
  ms = 1_700_000_000_000
  readonly clock: Clock = { ...systemClock, now: () => this.ms }
}

describe('hybrid clock', () => {
  it('hybrid clock: ticks only go up, whatever the wall clock and peers do', () => {
    const step = fc.record({
      jump: fc.oneof(fc.constant(0), fc.integer({ min: -1_000_000, max: 1_000_000 })),
      ahead: fc.integer({ min: -100_000, max: 200_000 }),
      counter: fc.constantFrom(0, 7, 0xfffe, 0xffff)
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const wall = new WallClock()
        const hybrid = new HybridClock(wall)
        let last = hybrid.tick()
        for (const one of steps) {
          wall.ms += one.jump
          const remote = { ms: wall.ms + one.ahead, counter: one.counter }
          const followed = hybrid.observe(remote)
          expect(followed).toBe(one.ahead <= LIMITS.clockAheadMs)
          expect(!followed || compareHybrid(hybrid.tick(), remote) > 0).toBe(true)
          const next = hybrid.tick()
          expect(compareHybrid(next, last)).toBeGreaterThan(0)
          expect(next.counter).toBeLessThanOrEqual(0xffff)
          last = next
        }
      })
    )
  })

  it('hybrid clock: follows the wall clock when that moves on', () => {
    const wall = new WallClock()
    const hybrid = new HybridClock(wall)
    expect(hybrid.tick()).toEqual({ ms: wall.ms, counter: 0 })
    expect(hybrid.tick()).toEqual({ ms: wall.ms, counter: 1 })
    wall.ms += 5.75
    expect(hybrid.tick()).toEqual({ ms: Math.floor(wall.ms), counter: 0 })
  })

  it('hybrid clock: a full counter moves on to the next millisecond', () => {
    const wall = new WallClock()
    const hybrid = new HybridClock(wall, { last: { ms: wall.ms, counter: 0xffff } })
    expect(hybrid.tick()).toEqual({ ms: wall.ms + 1, counter: 0 })
    expect(hybrid.last).toEqual({ ms: wall.ms + 1, counter: 0 })
  })

  it('hybrid clock: a time too far ahead moves nothing', () => {
    const wall = new WallClock()
    const hybrid = new HybridClock(wall)
    expect(hybrid.observe({ ms: wall.ms + LIMITS.clockAheadMs + 1, counter: 0 })).toBe(false)
    expect(hybrid.tick()).toEqual({ ms: wall.ms, counter: 0 })
    expect(hybrid.observe({ ms: wall.ms + LIMITS.clockAheadMs, counter: 4 })).toBe(true)
    expect(hybrid.tick()).toEqual({ ms: wall.ms + LIMITS.clockAheadMs, counter: 5 })
  })
})
