import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fencedWork } from '../../simulations/checkers/fenced-work.ts'
import { keyOrder } from '../../simulations/checkers/key-order.ts'
import { runVirtual } from '../../simulations/runner/run-virtual.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'
import type { TraceEvent } from '../../simulations/trace.ts'
import { decodeBeat, encodeBeat } from '../../src/groups/beat.ts'
import { Heard } from '../../src/groups/heard.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'

const PARTED = `
name: parted
description: One of three is cut off for longer than anybody waits.
nodes: 3
workload:
  publishers:
    - { nodes: n3, topic: 'jobs/{node}', rate: 10, key: 'k{n%9}', from: 6s, until: 30s }
    - { nodes: n1, topic: 'jobs/{node}', rate: 5, key: 'k{n%9}', from: 6s, until: 30s }
  subscriptions:
    - { nodes: all, filter: 'jobs/#', group: billing, majority: 3 }
timeline:
  - { at: 10s, partition: [[n1], [n2, n3]], for: 13s }
end: 32s
drain: 13s
expect:
  noDuplicates: { allow: [unacknowledged] }
`

type Handed = Extract<TraceEvent, { kind: 'handed' }>

describe('groups: a majority', () => {
  it('works on while a member that is cut off hands nothing over, and loses nothing', async () => {
    const scenario = parseScenario(PARTED, { file: 'parted.yaml' })
    const { report, trace } = await runVirtual({ scenario, seed: 3 })
    expect(report.violations.map(({ what }) => what)).toEqual([])
    const handed = trace.filter((event): event is Handed => event.kind === 'handed')
    const between = (from: number, to: number, node: string): Handed[] =>
      handed.filter(
        ({ at = 0, subscription }) => at >= from && at < to && subscription === `${node}/billing`
      )
    expect(between(6_000, 10_000, 'n1')).not.toEqual([])
    // Three seconds after it was heard last it stops, and others go on with its part three seconds later.
    expect(between(13_100, 23_000, 'n1')).toEqual([])
    expect(between(10_000, 23_000, 'n2')).not.toEqual([])
    expect(between(24_500, 40_000, 'n1')).not.toEqual([])
    expect(new Set(handed.map(({ message }) => message.id)).size).toBe(360)
    expect(handed.every(({ fence }) => fence !== undefined)).toBe(true)
  })

  it('tells of a hand-over with the fence of somebody else', () => {
    const by = (node: string, token: number): TraceEvent => ({
      kind: 'handed',
      at: 0,
      subscription: node,
      message: { id: 'a/b/1/jobs', publisher: 'a', session: 'b', sequence: 1, channel: 'jobs' },
      attempt: 1,
      late: false,
      fence: { slot: 1, token }
    })
    expect(fencedWork([by('n1', 1), by('n1', 1), by('n2', 2), by('n2', 3)])).toEqual([])
    expect(fencedWork([by('n1', 1), by('n2', 1)])).toHaveLength(1)
    expect(fencedWork([by('n1', 2), by('n2', 3), by('n1', 2)])).toHaveLength(1)
  })

  it('tells of a key whose messages were handed over in another order', () => {
    const member = (subscription: string): TraceEvent => ({
      kind: 'subscribed',
      at: 0,
      subscription,
      filter: 'jobs/#',
      durable: true,
      group: 'billing'
    })
    const by = (subscription: string, sequence: number, key = 'k'): TraceEvent => ({
      kind: 'handed',
      at: 0,
      subscription,
      message: {
        id: `a/b/${sequence}/jobs`,
        publisher: 'a',
        session: 'b',
        sequence,
        channel: 'jobs'
      },
      attempt: 1,
      late: false,
      key
    })
    const members = [member('n1'), member('n2')]
    // Again after a crash is no disorder.
    expect(keyOrder([...members, by('n1', 1), by('n1', 3), by('n2', 1), by('n2', 4)])).toEqual([])
    expect(keyOrder([...members, by('n1', 2), by('n2', 1, 'other')])).toEqual([])
    expect(keyOrder([...members, by('n1', 2), by('n2', 1)])).toHaveLength(1)
  })

  it('reads beats as they were written', () => {
    const peer = fc.nat({ max: 3 }).map((n) => peerIdFromPublicKey(new Uint8Array(32).fill(n + 1)))
    const moment = fc.record({ life: fc.nat(), at: fc.nat() })
    const heard = fc.array(fc.tuple(peer, moment), { maxLength: 4 }).map((all) => new Map(all))
    const read = fc
      .array(fc.tuple(peer, fc.integer({ min: 1, max: 99 })), { maxLength: 4 })
      .map(
        (all) =>
          new Heard(all.map(([id, sequence]) => [id, { session: '0000000000000001', sequence }]))
      )
    fc.assert(
      fc.property(moment, heard, read, (own, others, positions) => {
        const beat = decodeBeat(encodeBeat({ ...own, heard: others, read: positions }))
        expect([beat.life, beat.at, beat.heard]).toEqual([own.life, own.at, others])
        expect(new Map(beat.read.entries())).toEqual(new Map(positions.entries()))
      })
    )
  })
})
