import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { randomScenario } from '../../simulations/explore/random-scenario.ts'
import { shrink } from '../../simulations/explore/shrink.ts'
import { loadScenario, scenarioNames } from '../../simulations/scenario/catalogue.ts'
import { concreteScenario } from '../../simulations/scenario/concrete.ts'
import type { FaultKind, Scenario } from '../../simulations/scenario/contract.ts'
import { formatScenario } from '../../simulations/scenario/format.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'
import { scheduleOf } from '../../simulations/scenario/schedule.ts'

const again = (scenario: Scenario): Scenario =>
  parseScenario(formatScenario(scenario), { file: 'again.yaml' })

describe('format', () => {
  it.each(scenarioNames())('%s reads back as the same scenario', (name) => {
    const scenario = loadScenario(name)
    expect(again(scenario)).toEqual(scenario)
    const concrete = concreteScenario(scenario, 3)
    expect(again(concrete)).toEqual(concrete)
  })
})

describe('random scenario', () => {
  it('law: the same seed draws the same, reads back the same, and ends with everything mended', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 31 }),
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 10_000, max: 300_000 }),
        (seed, nodes, durationMs) => {
          const scenario = randomScenario(seed, { nodes, durationMs })
          expect(randomScenario(seed, { nodes, durationMs })).toEqual(scenario)
          expect(again(scenario)).toEqual(scenario)
          const broken = new Set<number>()
          const down = new Set<string>()
          for (const { actions, edge, fault } of scheduleOf(scenario, seed)) {
            if (edge === 'begin') broken.add(fault)
            if (edge === 'end') broken.delete(fault)
            for (const action of actions) {
              if (action.do === 'crash' || action.do === 'stop') down.add(action.node)
              if (action.do === 'start') down.delete(action.node)
            }
          }
          expect([[...broken], [...down]]).toEqual([[], []])
        }
      ),
      { numRuns: 60 }
    )
  })

  it('draws every fault that it mixes, sooner or later', () => {
    const kinds = new Set<FaultKind>()
    for (let seed = 0; seed < 100; seed++) {
      for (const { kind } of randomScenario(seed).faults) kinds.add(kind)
    }
    expect(kinds.size).toBe(18)
  })
})

describe('shrink', () => {
  const needs = (scenario: Scenario): Set<string> => {
    const found = new Set<string>()
    for (const fault of scenario.faults) {
      if ('nodes' in fault && fault.kind === 'crash' && fault.nodes.includes('n3'))
        found.add('crash n3')
      if (fault.kind === 'partition' || fault.kind === 'isolate') found.add('cut')
    }
    if (scenario.publishers.some(({ nodes }) => nodes.includes('n2'))) found.add('n2 publishes')
    return found
  }

  it('leaves only the faults, nodes and load without which it does not fail', async () => {
    const scenario = parseScenario(
      `
description: x
nodes: 8
workload:
  publishers:
    - { nodes: all, topic: 'a/{node}', rate: 64 }
    - { nodes: n5, topic: b, rate: 9 }
  subscriptions:
    - { nodes: all, filter: 'a/#', durable: d }
  sends:
    - { from: n1, to: n2, topic: t, rate: 1 }
timeline:
  - { at: 1s, loss: 5%, for: 10s }
  - { at: 2s, crash: n1..n4, for: 8s }
  - { at: 4s, pause: half, for: 5s }
  - { at: 5s, partition: half, for: 20s }
  - { at: 9s, disk-full: n7, for: 5s }
  - { at: 30s, restart: all }
end: 60s
`,
      { file: 'x.yaml' }
    )
    let tried = 0
    const small = await shrink(scenario, (candidate) => {
      tried++
      // Each candidate must be a scenario that can be saved.
      again(candidate)
      return Promise.resolve(needs(candidate).size === 3)
    })
    expect(small.faults.map(({ kind }) => kind)).toEqual(['crash', 'partition'])
    expect(small.nodes.map(({ name }) => name)).toContain('n3')
    expect(small.nodes.length).toBeLessThanOrEqual(3)
    expect(small.publishers).toHaveLength(1)
    expect(small.publishers[0]?.perSecond).toBe(1)
    expect([small.subscriptions, small.sends]).toEqual([[], []])
    expect(small.faults.every(({ forMs = 0 }) => forMs <= 300)).toBe(true)
    expect(small.endMs).toBeLessThan(10_000)
    expect(tried).toBeLessThan(400)
  })

  it('law: what comes back fails as the whole did', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 10_000 }), fc.nat({ max: 5 }), async (seed, pick) => {
        const scenario = randomScenario(seed, { nodes: 4 })
        const kind = scenario.faults[pick % scenario.faults.length]?.kind
        const fails = (candidate: Scenario): Promise<boolean> =>
          Promise.resolve(candidate.faults.some((fault) => fault.kind === kind))
        const small = await shrink(scenario, fails)
        expect(await fails(small)).toBe(true)
        expect(small.faults).toHaveLength(1)
      }),
      { numRuns: 20 }
    )
  })

  it('gives back the whole when nothing smaller fails, and stops when told', async () => {
    const scenario = randomScenario(1)
    const whole = await shrink(scenario, () => Promise.resolve(false))
    expect(whole).toEqual(concreteScenario(scenario, scenario.seed))
    let tried = 0
    const fails = (): Promise<boolean> => {
      tried++
      return Promise.resolve(true)
    }
    await shrink(scenario, fails, { signal: AbortSignal.abort() })
    expect(tried).toBe(0)
  })
})
