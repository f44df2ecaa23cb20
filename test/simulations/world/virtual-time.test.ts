import { describe, expect, it } from 'vitest'
import { createVirtualTime } from '../../../simulations/world/virtual-time.ts'

describe('simulations: virtual time', () => {
  it('no timer is early, however short', async () => {
    const time = createVirtualTime()
    const clock = time.clock()
    const due = clock.monotonic() + 10.0004
    let looks = 0
    const look = (): void => {
      looks++
      if (clock.monotonic() < due) clock.after(due - clock.monotonic(), look)
    }
    clock.after(due - clock.monotonic(), look)
    await time.run(20)
    expect(looks).toBe(1)
  })
})
