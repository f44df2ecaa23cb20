import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../src/core/random.ts'
import type { LinkConditions } from '../../../simulations/world/link-conditions.ts'
import { Pipe } from '../../../simulations/world/pipe.ts'
import { createVirtualTime } from '../../../simulations/world/virtual-time.ts'

const CLEAR: LinkConditions = {
  cut: false,
  latencyUs: 100_000,
  jitterUs: 0,
  lossPerMillion: 0,
  duplicatePerMillion: 0,
  reorderPerMillion: 0,
  reorderUs: 0,
  bytesPerSecond: undefined
}

describe('world: pipe', () => {
  it('delivers in order, also what a cut held up while more was under way', async () => {
    const time = createVirtualTime()
    let conditions = CLEAR
    const pipe = new Pipe(
      { time, random: seededRandom(1), clock: time.clock() },
      { conditions: () => conditions }
    )
    const arrived: string[] = []
    const send = (name: string): void => pipe.send(100, () => arrived.push(name))
    send('first')
    time.schedule(50, () => {
      conditions = { ...CLEAR, latencyUs: 5_000_000 }
      send('second')
    })
    time.schedule(95, () => {
      conditions = { ...CLEAR, cut: true }
    })
    time.schedule(150, () => {
      conditions = CLEAR
      pipe.mended()
    })
    await time.run(60_000)
    expect(arrived).toEqual(['first', 'second'])
  })
})
