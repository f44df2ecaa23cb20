import { describe, expect, it } from 'vitest'
import { simulate } from '../../simulations/index.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'

/** The smallest scenario that showed a fault, with the seed that did. */
const CASES: ReadonlyArray<readonly [what: string, yaml: string]> = [
  [
    'a hole at one neighbour is not taken for a range that is too old by another',
    `
name: hole-at-a-neighbour
description: Nobody but the publisher has the first message of its new session.
seed: 5
nodes: 4
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 10, until: 10s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 3s, restart: n1, down: 2s }
end: 12s
`
  ]
]

describe('simulations: what was found once stays fixed', () => {
  it.each(CASES)('%s', async (_, yaml) => {
    const report = await simulate(parseScenario(yaml, { file: 'regression.yaml' }))
    expect(report.violations).toEqual([])
  })
})
