import { describe, expect, it, onTestFinished } from 'vitest'
import type { Receipt } from '../../src/replication/batch.ts'
import { encodeReplicasFrame, REPLICAS_PROTOCOL } from '../../src/replication/replicas-frames.ts'
import type { Level } from '../../src/store/level.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { FaultyDisk } from '../store/faulty-level.ts'
import { PublishingMesh, type PublishingNode } from './publishing-mesh.ts'

function mesh(): PublishingMesh {
  const mesh = new PublishingMesh()
  onTestFinished(() => mesh.stop())
  return mesh
}

/** A publisher that is no member, and members. */
async function meshOf(members: number): Promise<{
  all: PublishingMesh
  publisher: PublishingNode
  members: PublishingNode[]
}> {
  const all = mesh()
  const publisher = await all.node()
  const nodes: PublishingNode[] = []
  for (let n = 0; n < members; n++) nodes.push(await all.node({ channels: ['a'] }))
  return { all, publisher, members: nodes }
}

/** What became of it so far. */
function outcomeOf(promise: Promise<unknown>): { state: string; error?: unknown } {
  const outcome: { state: string; error?: unknown } = { state: 'pending' }
  promise.then(
    () => (outcome.state = 'resolved'),
    (error: unknown) => Object.assign(outcome, { state: 'rejected', error })
  )
  return outcome
}

/** A disk whose writes do not come to an end while it hangs. */
class HangingDisk {
  readonly #disk = new FaultyDisk()
  #held: Promise<void> | undefined
  #release = (): void => {}

  hang(): void {
    this.#held = new Promise((resolve) => (this.#release = resolve))
  }

  release(): void {
    this.#held = undefined
    this.#release()
  }

  async components(): ReturnType<FaultyDisk['components']> {
    const components = await this.#disk.components()
    const openLevel = async (): Promise<Level> => {
      const level = await components.openLevel()
      return new Proxy(level, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name, target)
          if (name !== 'batch') return typeof value === 'function' ? value.bind(target) : value
          return async (...args: unknown[]) => {
            await this.#held
            return (value as (...args: unknown[]) => Promise<void>).apply(target, args)
          }
        }
      })
    }
    return { ...components, openLevel }
  }
}

describe('replicas', () => {
  it('resolves when so many other nodes have the message on disk, synced', async () => {
    const { all, publisher } = await meshOf(2)
    const published = publisher.publish('a', 'text', { confirm: { replicas: 2 } })
    const outcome = outcomeOf(published)
    await all.clock.advance(100)
    expect(outcome.state).toBe('resolved')
    expect((await published).sequence).toBe(1)
    expect(publisher.publisher.replicas.stats).toMatchObject({ confirmed: 1, timedOut: 0 })
  })

  it('waits for the disk of the member, not only for its memory', async () => {
    const all = mesh()
    const disk = new HangingDisk()
    const publisher = await all.node()
    const member = await all.node({ channels: ['a'], disk: await disk.components() })
    await publisher.publish('a', 'begin')
    await settled()
    disk.hang()
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 1 } }))
    await all.clock.advance(500)
    // It has the record in hand.
    expect(member.store.logs('a')[0]?.head).toBe(2)
    expect(outcome.state).toBe('pending')
    disk.release()
    await all.clock.advance(100)
    expect(outcome.state).toBe('resolved')
  })

  it('does without a member whose disk hangs where there are others', async () => {
    const all = mesh()
    const publisher = await all.node()
    for (let n = 0; n < 4; n++) {
      const disk = new HangingDisk()
      await all.node({ channels: ['a'], disk: await disk.components() })
      disk.hang()
      onTestFinished(() => disk.release())
    }
    await all.node({ channels: ['a'] })
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 1 } }))
    // More members are asked than needed, and all of them after a second.
    await all.clock.advance(2000)
    expect(outcome.state).toBe('resolved')
  })

  it('rejects at the timeout, with what it has', async () => {
    const { all, publisher } = await meshOf(1)
    const outcome = outcomeOf(
      publisher.publish('a', 'text', { confirm: { replicas: 2, timeoutMs: 3000 } })
    )
    await all.clock.advance(2900)
    expect(outcome.state).toBe('pending')
    await all.clock.advance(400)
    expect(outcome).toMatchObject({
      state: 'rejected',
      error: {
        code: 'ERR_REPLICAS',
        details: { wanted: 2, have: 1, id: expect.stringContaining('/1/a'), mayBeDelivered: true }
      }
    })
    expect(publisher.store.logs('a')[0]?.head).toBe(1)
    expect(publisher.publisher.replicas.waiting).toBe(0)
  })

  it('waits ten seconds by default', async () => {
    const { all, publisher } = await meshOf(0)
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 1 } }))
    await all.clock.advance(9_900)
    expect(outcome.state).toBe('pending')
    await all.clock.advance(400)
    expect(outcome.state).toBe('rejected')
  })

  it('takes a member that joins meanwhile in place of one that leaves', async () => {
    const all = mesh()
    const publisher = await all.node()
    const disk = new HangingDisk()
    const leaver = await all.node({ channels: ['a'], disk: await disk.components() })
    await publisher.publish('a', 'begin')
    disk.hang()
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 1 } }))
    await all.clock.advance(300)
    all.network.cut(publisher.id, leaver.id)
    disk.release()
    await all.clock.advance(300)
    expect(outcome.state).toBe('pending')
    const joiner = await all.node({ channels: ['a'] })
    await all.clock.advance(500)
    expect(outcome.state).toBe('pending')
    // It fetches what it missed.
    for (const { record } of await publisher.store.readJournal('a', 0)) {
      if (record !== undefined) await joiner.store.append([{ record, ageMs: 0 }], { sync: false })
    }
    await all.clock.advance(500)
    expect(outcome.state).toBe('resolved')
  })

  it('counts a copy of a member that has gone', async () => {
    const { all, publisher, members } = await meshOf(1)
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 2 } }))
    await all.clock.advance(500)
    await members[0]?.stop()
    const joiner = await all.node({ channels: ['a'] })
    for (const { record } of await publisher.store.readJournal('a', 0)) {
      if (record !== undefined) await joiner.store.append([{ record, ageMs: 0 }], { sync: false })
    }
    await all.clock.advance(500)
    expect(outcome.state).toBe('resolved')
  })

  it('does not take a head above a floor for a copy of what is below it', async () => {
    const { all, publisher } = await meshOf(0)
    const outcome = outcomeOf(
      publisher.publish('a', 'text', { confirm: { replicas: 1, timeoutMs: 4000 } })
    )
    await settled()
    const late = await all.node({ channels: ['a'] })
    const [entry] = await publisher.store.readJournal('a', 0)
    expect(entry?.record).toBeDefined()
    const next = publisher.publish('a', 'later')
    await next
    const second = (await publisher.store.readJournal('a', 0)).at(-1)?.record
    if (second === undefined) throw new Error('no record')
    await late.store.append([{ record: second, ageMs: 0, floor: 2 }], { sync: false })
    await all.clock.advance(2000)
    expect(outcome.state).toBe('pending')
    await all.clock.advance(2500)
    expect(outcome).toMatchObject({ error: { code: 'ERR_REPLICAS', details: { have: 0 } } })
  })

  it('looks elsewhere where a member does not answer the protocol', async () => {
    const all = mesh()
    const publisher = await all.node()
    await all.node({ channels: ['a'], holds: false })
    await all.node({ channels: ['a'] })
    const outcome = outcomeOf(publisher.publish('a', 'text', { confirm: { replicas: 1 } }))
    await all.clock.advance(300)
    expect(outcome.state).toBe('resolved')
  })

  it('confirms batches, and messages with ids, whose duplicates wait too', async () => {
    const { all, publisher } = await meshOf(1)
    const confirm = { replicas: 1 }
    const batch = publisher.publishBatch(
      [
        ['a', '1'],
        ['a', '2', 'two']
      ],
      confirm
    )
    const one = publisher.publish('a', '3', { id: 'three', confirm })
    const same = publisher.publish('a', '3', { id: 'three', confirm })
    let receipts: Receipt[] = []
    void batch.then((all) => (receipts = all))
    await all.clock.advance(200)
    expect(receipts.map(({ sequence }) => sequence)).toEqual([1, 2])
    expect((await one).id).toBe((await same).id)
    const again = outcomeOf(publisher.publish('a', '3', { id: 'three', confirm }))
    await all.clock.advance(100)
    expect(again.state).toBe('resolved')
  })

  it('tells a busy publisher a few times, not once for each message', async () => {
    const { all, publisher, members } = await meshOf(1)
    const confirm = { replicas: 1 }
    const published: Promise<Receipt>[] = []
    for (let turn = 0; turn < 50; turn++) {
      for (let n = 0; n < 100; n++) published.push(publisher.publish('a', 'x', { confirm }))
      await all.clock.advance(10)
    }
    await all.clock.advance(100)
    await Promise.all(published)
    expect(published).toHaveLength(5000)
    // Half a second, at most one report each 20 ms.
    expect(members[0]?.holder.reports).toBeLessThanOrEqual(32)
    expect(members[0]?.holder.reports).toBeGreaterThan(5)
  })

  it('keeps streams open only while somebody waits, and a little longer', async () => {
    const { all, publisher, members } = await meshOf(1)
    expect(publisher.publisher.replicas.watched).toBe(0)
    const published = publisher.publish('a', 'x', { confirm: { replicas: 1 } })
    await all.clock.advance(300)
    await published
    expect(publisher.publisher.replicas.watched).toBe(1)
    await all.clock.advance(11_000)
    expect(publisher.publisher.replicas.watched).toBe(0)
    const before = members[0]?.holder.reports
    await publisher.publish('a', 'x')
    await all.clock.advance(1000)
    expect(members[0]?.holder.reports).toBe(before)
    const again = outcomeOf(publisher.publish('a', 'x', { confirm: { replicas: 1 } }))
    await all.clock.advance(300)
    expect(again.state).toBe('resolved')
  })

  it('refuses figures that make no sense before it publishes', async () => {
    const { publisher } = await meshOf(0)
    for (const confirm of [
      { replicas: 0 },
      { replicas: 1.5 },
      { replicas: 1000 },
      { replicas: 1, timeoutMs: 0 }
    ]) {
      await expect(publisher.publish('a', 'x', { confirm })).rejects.toMatchObject({
        code: 'ERR_OPTIONS'
      })
    }
    expect(publisher.store.logs('a')).toEqual([])
  })

  it('rejects who waits when the node stops', async () => {
    const { publisher } = await meshOf(0)
    const outcome = outcomeOf(publisher.publish('a', 'x', { confirm: { replicas: 1 } }))
    await settled()
    await publisher.stop()
    await settled()
    expect(outcome).toMatchObject({
      error: { code: 'ERR_STOPPED', details: { mayBeDelivered: true } }
    })
  })

  it('tells a peer about its own logs alone, and hangs up on nonsense', async () => {
    const { all, publisher, members } = await meshOf(2)
    const [holder, curious] = members
    if (holder === undefined || curious === undefined) throw new Error('no members')
    const published = publisher.publish('a', 'x', { confirm: { replicas: 1 } })
    await all.clock.advance(300)
    const { session } = await published
    const stream = await curious.transport.open(holder.id, REPLICAS_PROTOCOL)
    await stream.send(encodeReplicasFrame({ channel: 'a', session }))
    const reports = holder.holder.reports
    await all.clock.advance(300)
    expect(holder.holder.reports).toBe(reports)
    await stream.send(Buffer.from('nonsense'))
    await settled()
    await expect(stream.send(Buffer.from('more'))).rejects.toMatchObject({ code: 'ERR_STREAM' })
    expect(holder.transport.score(curious.id)).toBeLessThan(0)
  })
})
