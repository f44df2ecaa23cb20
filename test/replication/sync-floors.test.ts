import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Since } from '../../src/replication/membership.ts'
import type { Pull, SyncFrame } from '../../src/wire/sync-frames.ts'
import type { HeldRange } from '../../src/wire/vector.ts'
import { EngineMesh, type MeshNode } from '../fixtures/engine-mesh.ts'
import { ForeignLog } from '../fixtures/lone-engine.ts'
import { SpokenHolder } from '../fixtures/spoken-holder.ts'
import { eventually } from '../processes/skein-process.ts'

const CHANNEL = 't'
const HOUR_MS = 3_600_000

/** A session that began so long ago, ms. */
function sessionOf(ageMs: number): string {
  return `${(Date.now() - ageMs).toString(16).padStart(12, '0')}0001`
}

describe('where a log begins that is first seen through sync', () => {
  let mesh: EngineMesh
  let node: MeshNode
  let partial: SpokenHolder
  let whole: SpokenHolder

  beforeEach(async () => {
    mesh = new EngineMesh()
    node = await mesh.start()
    partial = new SpokenHolder(mesh, 200)
    whole = new SpokenHolder(mesh, 201)
    for (const { transport } of [partial, whole]) await transport.start()
    await eventually(() => partial.asked && whole.asked)
  })

  afterEach(async () => {
    await mesh.stop()
    for (const { transport } of [partial, whole]) await transport.stop()
  })

  /** One holder has messages 3 and 4 and tells first, another has all four. What is stored when it has come to rest. */
  async function stored(
    wish: { since?: Since; ageMs: number; remembered?: boolean },
    log: { sessionAgeMs: number; recordAgeMs: number; partialFloor: number }
  ): Promise<{ floor: number; head: number }> {
    const { partialFloor, recordAgeMs, sessionAgeMs } = log
    const foreign = new ForeignLog(CHANNEL, { key: 77, session: sessionOf(sessionAgeMs) })
    const records = ['1', '2', '3', '4'].map((text) => foreign.record([text]))
    const { publisher, session } = (records[0] as (typeof records)[0]).header
    const heads = (held: HeldRange): SyncFrame => ({
      kind: 'heads',
      channels: [{ channel: CHANNEL, logs: [{ publisher, session, held }], receipts: [] }],
      last: false
    })
    const answers =
      (floor: number, first: number) =>
      ({ from, id, to }: Pull): SyncFrame[] => {
        const given = records.filter((_, at) => at + 1 >= Math.max(from, first) && at + 1 <= to)
        return [
          {
            kind: 'start',
            id,
            from: given[0]?.header.first ?? 0,
            exact: false,
            floor,
            head: given.length === 0 ? floor - 1 : 4
          },
          {
            kind: 'records',
            id,
            records: given.map(({ bytes }) => ({ ageMs: recordAgeMs, bytes, headOnly: false }))
          },
          { kind: 'end', id }
        ]
      }
    const asOf = Date.now() - wish.ageMs
    const remembered = wish.remembered === true ? asOf : undefined
    node.engine.membership.hold(CHANNEL, wish.since ?? asOf, remembered)
    const held = (): { floor: number; head: number } | undefined =>
      node.engine.store.log({ channel: CHANNEL, publisher, session })
    partial.says(
      heads(
        partialFloor === 1
          ? { floor: 1, head: 0, islands: [{ from: 3, to: 4 }] }
          : { floor: partialFloor, head: 4, islands: [] }
      ),
      answers(partialFloor, 3)
    )
    await eventually(() => held() !== undefined)
    whole.says(heads({ floor: 1, head: 4, islands: [] }), answers(1, 1))
    await eventually(() => held()?.head === 4)
    const { floor, head } = held() ?? { floor: 0, head: 0 }
    return { floor, head }
  }

  it.each<[string, Parameters<typeof stored>, number]>([
    [
      'wanted from some time on, a hole at the holder, in a session from before: at its beginning',
      [{ ageMs: 60_000 }, { sessionAgeMs: HOUR_MS, recordAgeMs: 1_000, partialFloor: 1 }],
      1
    ],
    [
      'wanted from some time on, a holder that joined late: at its beginning',
      [{ ageMs: 60_000 }, { sessionAgeMs: HOUR_MS, recordAgeMs: 1_000, partialFloor: 3 }],
      1
    ],
    [
      'wanted from some time on, records from before: where the holder begins',
      [{ ageMs: 60_000 }, { sessionAgeMs: HOUR_MS, recordAgeMs: 62_000, partialFloor: 3 }],
      3
    ],
    [
      'wanted in an earlier life, before the clock was set: at its beginning',
      [
        { ageMs: -600_000, remembered: true },
        { sessionAgeMs: HOUR_MS, recordAgeMs: 60_000, partialFloor: 3 }
      ],
      1
    ],
    [
      'all of it wanted, a hole at the holder: at its beginning',
      [
        { since: 'all', ageMs: 60_000 },
        { sessionAgeMs: HOUR_MS, recordAgeMs: 1_000, partialFloor: 1 }
      ],
      1
    ],
    [
      'all of it wanted, a session from later, a holder that joined late: at its beginning',
      [
        { since: 'all', ageMs: HOUR_MS, remembered: true },
        { sessionAgeMs: 60_000, recordAgeMs: 1_000, partialFloor: 3 }
      ],
      1
    ],
    [
      'all of it wanted, a session from before, of which a holder has the end: where the holder begins',
      [
        { since: 'all', ageMs: 60_000 },
        { sessionAgeMs: HOUR_MS, recordAgeMs: 1_000, partialFloor: 3 }
      ],
      3
    ]
  ])('%s', async (_what, [wish, log], floor) => {
    expect(await stored(wish, log)).toEqual({ floor, head: 4 })
  })
})
