import { describe, expect, it } from 'vitest'
import { explore } from '../../simulations/index.ts'

const RUNS = process.env['SKEIN_TEST_FULL'] === undefined ? 3 : 50
const seeds = Array.from({ length: RUNS }, (_, i) => i + 1)

describe('simulations: random faults', () => {
  it.each(seeds)('seed %i holds', { timeout: 240_000 }, async (seed) => {
    const report = await explore({ seed })
    expect({ broken: report.violations, replay: report.replay }).toEqual({
      broken: [],
      replay: `skein sim --runs 1 --seed ${seed}`
    })
  })
})
