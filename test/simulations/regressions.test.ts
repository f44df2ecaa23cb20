import { describe, expect, it } from 'vitest'
import { simulate } from '../../simulations/index.ts'
import { runVirtual } from '../../simulations/runner/run-virtual.ts'
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
  ],
  [
    'who comes back with a clock that was set to before its subscription still wants all since then',
    `
name: clock-set-back-while-off
description: A reader is off while all is published, and its clock is half an hour slow when it returns.
seed: 2
nodes: 3
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 10, from: 30s, until: 40s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 10s, restart: n2, down: 50s }
  - { at: 20s, clock-skew: n2, by: -30m, for: 60s }
end: 70s
`
  ]
]

describe('simulations: what was found once stays fixed', () => {
  it.each(CASES)('%s', async (_, yaml) => {
    const report = await simulate(parseScenario(yaml, { file: 'regression.yaml' }))
    expect(report.violations).toEqual([])
  })

  it('what follows in a known log is wanted, however old a holder with a wrong clock says that it is', async () => {
    const yaml = `
name: clock-set-at-a-holder
description: Its only holder comes back with a clock 14 minutes fast before a reader hears of what it missed.
seed: 261
nodes: 3
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 10, from: 6s, until: 40s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 20s, isolate: n3, for: 40s }
  - { at: 42s, clock-skew: n2, by: 14m, for: 110s }
  - { at: 43s, restart: n2, down: 1s }
  - { at: 45s, crash: n1, for: 100s }
end: 170s
`
    const scenario = parseScenario(yaml, { file: 'regression.yaml' })
    const { report, trace } = await runVirtual({ scenario, seed: 261 })
    expect(report.violations).toEqual([])
    const handed = trace.filter(
      (event) => event.kind === 'handed' && event.subscription === 'n3/audit'
    )
    // Long before its publisher is there again.
    expect(handed.at(-1)?.at).toBeLessThan(80_000)
  })

  it('a receipt that was on its way when its sender went down is shown again', async () => {
    // A message takes three journeys of 300 ms to arrive, and its receipt one more.
    for (let crashMs = 4100; crashMs < 5400; crashMs += 100) {
      const yaml = `
name: receipt-under-way
description: The sender crashes when all its messages have arrived and a receipt has not.
nodes: 2
network: { latency: 300ms, jitter: 0ms }
workload:
  sends:
    - { from: n1, to: n2, topic: note, rate: 1, starts: 1s, until: 5s }
timeline:
  - { at: ${crashMs}ms, crash: n1, for: 3s }
end: 10s
drain: 40s
`
      const report = await simulate(parseScenario(yaml, { file: 'regression.yaml' }))
      expect({ crashMs, broken: report.violations }).toEqual({ crashMs, broken: [] })
    }
  })
})
