import { describe, expect, it } from 'vitest'
import { simulate } from '../../simulations/index.ts'
import { scenarioNames } from '../../simulations/scenario/catalogue.ts'

const FULL = process.env['SKEIN_TEST_FULL'] !== undefined

/** A thousand nodes take minutes, twenty that come and go a third of one. */
const LONG = ['thousand-nodes', 'churn']
const names = scenarioNames().filter((name) => FULL || !LONG.includes(name))

describe('simulations: the scenarios that come with Skein', () => {
  it.each(names)('%s holds', { timeout: FULL ? 1_200_000 : 240_000 }, async (name) => {
    const report = await simulate(name)
    expect({ broken: report.violations, replay: report.replay }).toEqual({
      broken: [],
      replay: report.replay
    })
    expect(report.published).toBeGreaterThan(0)
  })
})
