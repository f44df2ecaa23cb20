import { describe, expect, it } from 'vitest'
import { runVirtual } from '../../simulations/runner/run-virtual.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'

/** Every hand-over of the group's messages; nothing else is wrong. */
async function handedIn(yaml: string, seed: number): Promise<string[]> {
  const scenario = parseScenario(yaml, { file: 'group.yaml' })
  const { report, trace } = await runVirtual({ scenario, seed })
  expect(report.violations.map(({ what }) => what)).toEqual([])
  return trace.flatMap((event) =>
    event.kind === 'handed' && event.subscription.endsWith('billing') ? [event.message.id] : []
  )
}

/** Members come and go, one after the other and two at once; nothing breaks, but the links are slow. */
const peace = (latencyMs: number): string => `
name: peace
description: Members come and leave over slow links, and nothing breaks.
nodes: 4
network: { latency: ${latencyMs}ms, jitter: ${Math.floor(latencyMs / 3)}ms }
workload:
  publishers:
    - { nodes: n4, topic: 'jobs/{node}', rate: 20, key: 'k{n%7}', from: 11s, until: 32s }
    - { nodes: n4, topic: noise, rate: 10, until: 32s }
  subscriptions:
    - { nodes: n3, filter: 'noise' }
    - { nodes: n1, filter: 'jobs/#', group: billing, opens: 1s }
    - { nodes: n2, filter: 'jobs/#', group: billing, opens: 14s, closes: 24s }
    - { nodes: n3, filter: 'jobs/#', group: billing, opens: 14s }
    - { nodes: n4, filter: 'jobs/#', group: billing, opens: 24s, closes: 30s }
end: 34s
drain: 14s
expect:
  noDuplicates: { allow: [] }
`

describe('groups: over slow links', () => {
  it('hand nothing over twice where members come and leave', async () => {
    // The answers of all neighbours take longer than two seconds.
    const handed = await handedIn(peace(700), 4)
    expect(handed).toHaveLength(420)
    expect(new Set(handed).size).toBe(420)
  })
})

describe('groups: founded twice', () => {
  it('hand over what was published before the later one was founded', async () => {
    const handed = await handedIn(
      `
name: founded-twice
description: Two sides found the group for themselves; whoever was first stops reading before they meet.
nodes: 3
workload:
  publishers:
    - { nodes: n3, topic: 'jobs/{node}', rate: 10, from: 4s, until: 12s }
  subscriptions:
    - { nodes: n1, filter: 'jobs/#', group: billing, opens: 1s, ack: { stop: 4s, resume: 60s } }
    - { nodes: n2, filter: 'jobs/#', group: billing, opens: 11s }
timeline:
  - { at: 0s, partition: [[n2], [n1, n3]], for: 20s }
  - { at: 30s, crash: n1, for: 10s }
end: 45s
drain: 20s
expect:
  noDuplicates: { allow: [crash, partition, unacknowledged] }
`,
      1
    )
    expect(new Set(handed).size).toBe(80)
  })
})
