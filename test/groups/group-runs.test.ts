import { expect, it } from 'vitest'
import { runVirtual } from '../../simulations/runner/run-virtual.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'
import { full } from '../processes/skein-process.ts'

/** Of each kind. */
const RUNS = full ? 500 : 2

/** Short, so that many can run: a crash, a partition and a frozen member hit whom the seed chooses. */
const yaml = (majority: string): string => `
name: group-runs
description: Four members share work while a crash, a partition and a frozen process hit some of them.
nodes: 5
workload:
  publishers:
    - { nodes: n5, topic: 'jobs/{node}', rate: 8, key: 'k{n%5}', from: 4s, until: 24s }
  subscriptions:
    - { nodes: n1..n3, filter: 'jobs/#', group: billing${majority} }
    - { nodes: n4, filter: 'jobs/#', group: billing${majority}, opens: 8s }
timeline:
  - { at: 6s, crash: 'random:1', for: 5s }
  - { at: 13s, partition: ['random:1'], for: 5s }
  - { at: 19s, pause: 'random:1', for: 3s }
end: 26s
drain: 22s
expect:
  noDuplicates: { allow: [crash, ${majority === '' ? 'partition, ' : ''}unacknowledged] }
`

it.each([
  ['available', ''],
  ['a majority', ', majority: 4']
])(
  'group: %s holds in all runs, each with other faults',
  async (_, majority) => {
    const scenario = parseScenario(yaml(majority), { file: 'group-runs.yaml' })
    for (let seed = 1; seed <= RUNS; seed++) {
      const { report } = await runVirtual({ scenario, seed })
      expect({ seed, broken: report.violations }).toEqual({ seed, broken: [] })
    }
  },
  3_600_000
)
