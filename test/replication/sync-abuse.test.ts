import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SYNC_PROTOCOL } from '../../src/replication/sync-holder.ts'
import {
  decodeSyncFrame,
  encodeSyncFrame,
  type Pull,
  type PulledRecord,
  type SyncFrame
} from '../../src/wire/sync-frames.ts'
import { EngineMesh, type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { ForeignLog } from '../fixtures/lone-engine.ts'
import { SpokenHolder } from '../fixtures/spoken-holder.ts'
import { eventually } from '../processes/skein-process.ts'

const CHANNEL = 't'

describe('sync with a liar', () => {
  let mesh: EngineMesh
  let victim: MeshNode
  let liar: SpokenHolder

  beforeEach(async () => {
    mesh = new EngineMesh()
    victim = await mesh.start()
    victim.engine.membership.hold(CHANNEL, 'all')
    liar = new SpokenHolder(mesh)
    await liar.transport.start()
    await eventually(() => liar.asked)
  })

  afterEach(async () => {
    await mesh.stop()
    await liar.transport.stop()
  })

  const log = new ForeignLog(CHANNEL, { key: 77 })
  const record = log.record(['true'])
  const { publisher, session } = record.header
  const heads: SyncFrame = {
    kind: 'heads',
    channels: [
      {
        channel: CHANNEL,
        logs: [{ publisher, session, held: { floor: 1, head: 9, islands: [] } }],
        receipts: []
      }
    ],
    last: false
  }
  const answer =
    (records: readonly PulledRecord[]) =>
    ({ id }: Pull): SyncFrame[] => [
      { kind: 'start', id, from: 1, exact: true, floor: 1, head: 9 },
      { kind: 'records', id, records },
      { kind: 'end', id }
    ]
  const flipped = Buffer.from(record.bytes)
  flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1
  const unsigned = Buffer.from(record.bytes)
  unsigned[record.headLength - 5] = (unsigned[record.headLength - 5] as number) ^ 1
  const other = new ForeignLog(CHANNEL, { key: 78 }).record(['of another log'])
  const whole = (bytes: Uint8Array): PulledRecord => ({ ageMs: 0, bytes, headOnly: false })

  it.each<[string, (pull: Pull) => SyncFrame[]]>([
    ['a body that was changed', answer([whole(flipped)])],
    ['a signature that was changed', answer([whole(unsigned)])],
    ['a record of another log', answer([whole(other.bytes)])],
    ['no record at all', answer([whole(Buffer.from('nonsense'))])],
    ['a question for an answer', () => [{ kind: 'ask', channels: [] }]]
  ])('%s: nothing is stored, and the liar is blamed', async (_what, lie) => {
    liar.says(heads, lie)
    await eventually(() => victim.engine.transport.score(liar.transport.self.id) < 0)
    expect(victim.engine.store.logs(CHANNEL).filter(({ records }) => records > 0)).toEqual([])
  })

  it('a neighbour that offers everything and gives nothing keeps nobody from getting it', async () => {
    const honest = await mesh.start()
    await honest.publishMany(CHANNEL, 'm', 50)
    const own = { publisher: honest.id, session: honest.engine.publisher.session }
    liar.says(
      {
        kind: 'heads',
        channels: [
          {
            channel: CHANNEL,
            logs: [{ ...own, held: { floor: 1, head: 1_000_000, islands: [] } }],
            receipts: []
          }
        ],
        last: false
      },
      ({ id }) => [
        { kind: 'start', id, from: 0, exact: false, floor: 0, head: 0 },
        { kind: 'end', id }
      ]
    )
    const got = await victim.collect(CHANNEL, 'd', 'earliest')
    expect(await got.atLeast(50)).toEqual(numbered('m', 50))
    await honest.publish(CHANNEL, 'live')
    expect((await got.atLeast(51)).at(-1)).toBe('live')
    // It is not asked again and again.
    expect(liar.pulls.length).toBeLessThan(10)
  })

  it('too many questions at once end the stream of who asks them', async () => {
    await victim.publish(CHANNEL, 'one')
    // A disk that takes its time: the questions pile up.
    vi.spyOn(victim.engine.store, 'readLog').mockReturnValue(new Promise(() => {}))
    const stream = await liar.transport.open(victim.id, SYNC_PROTOCOL)
    const pull: Pull = {
      id: 1,
      channel: CHANNEL,
      publisher: victim.id,
      session: victim.engine.publisher.session,
      from: 1,
      to: 9,
      maxBytes: 1024,
      maxAgeMs: 0,
      backwards: false,
      awaited: false
    }
    for (let id = 1; id <= 64; id++) {
      stream.send(encodeSyncFrame({ kind: 'pull', ...pull, id })).catch(() => undefined)
    }
    await eventually(() => victim.engine.transport.score(liar.transport.self.id) < 0)
    await expect(stream.send(encodeSyncFrame({ kind: 'pull', ...pull }))).rejects.toMatchObject({
      code: 'ERR_STREAM'
    })
  })

  it("an inbox is not shown to strangers, but its owner's mail is to its owner", async () => {
    const friend = await mesh.start()
    const inbox = await friend.collect('@me/#', 'inbox', 'earliest')
    const channel = `@${friend.id}`
    await victim.engine.inbox.send(friend.id, { topic: 'x', payload: Buffer.from('secret') })
    await inbox.atLeast(1)
    const stream = await liar.transport.open(victim.id, SYNC_PROTOCOL)
    const frames: SyncFrame[] = []
    void (async () => {
      for await (const bytes of stream.frames) frames.push(decodeSyncFrame(bytes))
    })().catch(() => undefined)
    const own = { publisher: victim.id, session: victim.engine.publisher.session }
    await stream.send(
      encodeSyncFrame({ kind: 'ask', channels: [{ channel, digests: new Uint8Array(8) }] })
    )
    await stream.send(
      encodeSyncFrame({
        kind: 'pull',
        id: 7,
        channel,
        ...own,
        from: 1,
        to: 100,
        maxBytes: 1e6,
        maxAgeMs: 0,
        backwards: false,
        awaited: false
      })
    )
    await eventually(() => frames.some(({ kind }) => kind === 'end'))
    expect(frames).toEqual([
      { kind: 'heads', channels: [], last: true },
      { kind: 'start', id: 7, from: 0, exact: false, floor: 0, head: 0 },
      { kind: 'end', id: 7 }
    ])
  })
})
