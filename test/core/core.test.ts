import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { delay, every, systemClock } from '../../src/core/clock.ts'
import { Emitter } from '../../src/core/events.ts'
import { jitter, seededRandom, systemRandom } from '../../src/core/random.ts'
import { VERSION } from '../../src/core/version.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

describe('version', () => {
  it('is the one of the package', () => {
    const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
    expect((JSON.parse(file) as { version: string }).version).toBe(VERSION)
  })
})

describe('emitter', () => {
  it('calls every listener even if one throws, and tells of the error', () => {
    const errors: unknown[] = []
    const emitter = new Emitter<{ tick: number }>((error) => errors.push(error))
    const seen: number[] = []
    emitter.on('tick', () => {
      throw new Error('first')
    })
    emitter.on('tick', (n) => seen.push(n))
    emitter.emit('tick', 7)
    expect(seen).toEqual([7])
    expect(errors).toMatchObject([{ message: 'first' }])
  })

  it('calls a listener no more once it was taken away', () => {
    const emitter = new Emitter<{ tick: number }>(() => {})
    const seen: number[] = []
    const off = emitter.on('tick', (n) => seen.push(n))
    emitter.emit('tick', 1)
    off()
    emitter.emit('tick', 2)
    expect(seen).toEqual([1])
    expect(emitter.count('tick')).toBe(0)
  })
})

describe('clock', () => {
  it('delays until its time or its signal', async () => {
    const clock = new ManualClock()
    let done = false
    const waiting = delay(clock, 100).then(() => {
      done = true
    })
    await clock.advance(99)
    expect(done).toBe(false)
    await clock.advance(1)
    await waiting
    const controller = new AbortController()
    const aborted = delay(clock, 100, controller.signal)
    controller.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    await expect(delay(clock, 1, controller.signal)).rejects.toThrow('enough')
  })

  it('repeats a task from the end of the one before, until it is cancelled', async () => {
    const clock = new ManualClock()
    const runs: number[] = []
    const timer = every(clock, 100, async () => {
      runs.push(clock.monotonic())
      await delay(clock, 50)
    })
    await clock.advance(400)
    expect(runs).toEqual([100, 250, 400])
    timer.cancel()
    await clock.advance(1000)
    expect(runs).toHaveLength(3)
  })

  it('of the machine never goes back', () => {
    let before = systemClock.monotonic()
    for (let i = 0; i < 1000; i++) {
      const now = systemClock.monotonic()
      expect(now).toBeGreaterThanOrEqual(before)
      before = now
    }
  })
})

describe('random', () => {
  it('of one seed is the same every time, and of another is not', () => {
    const draw = (seed: number) => {
      const random = seededRandom(seed)
      return [...random.bytes(8), random.int(1000), random.int(2 ** 48)]
    }
    expect(draw(5)).toEqual(draw(5))
    expect(draw(5)).not.toEqual(draw(6))
  })

  it('stays below its bound', () => {
    for (const random of [seededRandom(1), systemRandom]) {
      for (let i = 0; i < 500; i++) {
        const n = random.int(10)
        expect(n >= 0 && n < 10 && Number.isInteger(n)).toBe(true)
      }
    }
  })

  it('jitters between half of a time and the whole', () => {
    const random = seededRandom(3)
    for (let i = 0; i < 200; i++) {
      const ms = jitter(random, 1000)
      expect(ms).toBeGreaterThanOrEqual(500)
      expect(ms).toBeLessThan(1000)
    }
  })
})
