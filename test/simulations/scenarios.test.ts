import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadScenario, scenarioNames } from '../../simulations/scenario/catalogue.ts'
import { scheduleOf } from '../../simulations/scenario/schedule.ts'

const names = scenarioNames()

describe('scenarios', () => {
  it.each(names)('%s parses, is called like its file, and says what it shows', (name) => {
    const scenario = loadScenario(name)
    expect(scenario.name).toBe(name)
    const file = new URL(`../../simulations/scenarios/${name}.yaml`, import.meta.url)
    expect(readFileSync(file, 'utf8')).toMatch(/^# Shows /)
    expect(Object.isFrozen(scenario.nodes[0])).toBe(true)
  })

  it.each(names)('%s has a schedule that mends everything it breaks', (name) => {
    const steps = scheduleOf(loadScenario(name), 1)
    const broken = new Set<number>()
    for (const { edge, fault } of steps) {
      if (edge === 'begin') broken.add(fault)
      if (edge === 'end') broken.delete(fault)
    }
    expect([...broken]).toEqual([])
  })

  it('are at least twelve, and split-brain is short enough to be watched', () => {
    expect(names.length).toBeGreaterThanOrEqual(12)
    const { drainMs, endMs } = loadScenario('split-brain')
    expect(endMs + drainMs).toBeLessThanOrEqual(60_000)
  })

  it('tell what there is when a name is wrong', () => {
    expect(() => loadScenario('split-brian')).toThrow(/split-brain/)
  })
})
