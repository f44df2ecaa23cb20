import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { SequenceRange, Store } from '../../src/store/contract.ts'
import { logPrefix, numberKey, SPACE } from '../../src/store/keys.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { FaultyDisk } from './faulty-level.ts'
import { append, Author, DISKS, openStore, stillClock, storyOf } from './store-fixtures.ts'
import type { Disk } from './store-fixtures.ts'

const AGE = { maxAgeMs: 3_600_000, maxBytes: Infinity, maxMessages: Infinity }
const POLICY = { ...AGE, keepLast: undefined, untilReceived: false, onFull: 'trim' } as const

async function readAndScrub(store: Store, author: Author): Promise<number[]> {
  while ((await store.scrub(10_000)) > 0);
  return (await store.readLog(author.ref, 1)).map(({ head }) => head.header.first)
}

describe.each(DISKS)('ranges given up on %s', (_name, createDisk) => {
  let disk: Disk
  let store: Store
  let author: Author
  let records: SealedRecord[]
  let damaged: SequenceRange[]
  beforeEach(async () => {
    disk = await createDisk()
    damaged = []
    store = await openStore(disk)
    store.events.on('damaged', ({ range }) => damaged.push(range))
    author = new Author()
    records = author.many(10)
  })
  afterEach(async () => {
    const found = [...damaged, ...store.report.damaged]
    await store.stop()
    await disk.remove()
    if (found.length > 0) throw new Error(`reported as damaged: ${JSON.stringify(found)}`)
  })
  const reopen = async (): Promise<void> => {
    await store.stop()
    store = await openStore(disk)
    store.events.on('damaged', ({ range }) => damaged.push(range))
  }
  const take = (...sequences: number[]): ReturnType<typeof append> =>
    append(
      store,
      sequences.map((sequence) => records[sequence - 1]!),
      { floor: 1 }
    )

  it('giveUp: what stands above is delivered, and who listens is told what and why', async () => {
    const [gaps, given, changes]: unknown[][] = [[], [], []]
    store.events.on('gap', ({ missing }) => gaps?.push(missing))
    store.events.on('given-up', ({ log, range, reason }) => {
      expect(log).toEqual(author.ref)
      given?.push([range, reason])
    })
    await take(1, 4, 5, 8)
    store.events.on('changed', ({ logs }) => changes?.push(logs))
    await store.giveUp(author.ref, { from: 1, to: 5 }, 'lost')
    expect(changes).toEqual([[author.ref]])
    expect(gaps?.at(-1)).toEqual([{ from: 6, to: 7 }])
    expect(await storyOf(store)).toEqual(['1:1', '1:4', '1:5'])
    await store.giveUp(author.ref, { from: 1, to: Infinity }, 'trimmed')
    await store.giveUp(author.ref, { from: 1, to: Infinity }, 'expired')
    expect(given).toEqual([
      [{ from: 2, to: 3 }, 'lost'],
      [{ from: 6, to: 7 }, 'trimmed']
    ])
    expect(gaps?.at(-1)).toEqual([])
    const check = async (): Promise<void> => {
      expect(store.log(author.ref)).toMatchObject({
        head: 8,
        islands: [],
        records: 4,
        voids: [
          { from: 2, to: 3 },
          { from: 6, to: 7 }
        ],
        skipped: []
      })
      expect(await storyOf(store)).toEqual(['1:1', '1:4', '1:5', '1:8'])
      expect(await readAndScrub(store, author)).toEqual([1, 4, 5, 8])
      expect(await take(2, 6)).toEqual(['below-floor', 'below-floor'])
    }
    await check()
    await reopen()
    await check()
    expect(await take(9)).toEqual(['appended'])
    expect(await append(store, [author.seal(10, records[0]!.digest)])).toEqual(['broken-chain'])
  })

  it('giveUp: what was skipped is taken when it comes, once, and delivered late', async () => {
    await take(1, 4)
    await store.giveUp(author.ref, { from: 2, to: 3 }, 'skipped')
    expect(store.log(author.ref)).toMatchObject({ skipped: [{ from: 2, to: 3 }] })
    await reopen()
    expect(await take(3)).toEqual(['appended'])
    expect(await take(3)).toEqual(['duplicate'])
    await reopen()
    expect(await take(3, 2, 2, 3)).toEqual(['duplicate', 'appended', 'duplicate', 'duplicate'])
    expect(await storyOf(store)).toEqual(['1:1', '1:4', '1:3 late', '1:2 late'])
    expect(store.log(author.ref)).toMatchObject({ head: 4, records: 4, voids: [], skipped: [] })
    await reopen()
    expect(await readAndScrub(store, author)).toEqual([1, 2, 3, 4])
    expect(await storyOf(store)).toEqual(['1:1', '1:4', '1:3 late', '1:2 late'])
  })

  it('giveUp: a tail that is only expected', async () => {
    const next = new Author({ session: '0001000000000002', before: author.end })
    await take(1)
    const item = { record: next.write(), ageMs: 0, expectsBefore: true }
    await store.append([item], { sync: false })
    await store.giveUp(author.ref, { from: 1, to: Infinity }, 'skipped')
    expect(store.log(author.ref)).toMatchObject({ head: 10, headDigest: undefined })
    await reopen()
    expect(await storyOf(store)).toEqual(['1:1', '2:1'])
    expect(await take(10)).toEqual(['appended'])
    // Known again, so the chain is checked again.
    expect(store.log(author.ref)?.headDigest).toEqual(records[9]!.digest)
    expect(await append(store, [author.seal(11, records[0]!.digest)])).toEqual(['broken-chain'])
    expect(await append(store, [author.write()])).toEqual(['appended'])
    expect(await storyOf(store)).toEqual(['1:1', '2:1', '1:10 late', '1:11 late'])
    expect(await readAndScrub(store, author)).toEqual([1, 10, 11])
  })

  it('giveUp: nothing of an unknown log, nothing of what is held', async () => {
    let told = 0
    store.events.on('given-up', () => told++)
    await store.giveUp(author.ref, { from: 1, to: 5 }, 'lost')
    expect(store.log(author.ref)).toBeUndefined()
    await take(1, 2)
    await store.giveUp(author.ref, { from: 1, to: 5 }, 'lost')
    expect(store.log(author.ref)).toMatchObject({ head: 2, voids: [] })
    expect(told).toBe(0)
  })

  it('giveUp: while the same records are on their way, either comes first', async () => {
    await take(1, 3)
    const given = store.giveUp(author.ref, { from: 2, to: 2 }, 'lost')
    const [outcomes] = await Promise.all([take(2, 4), given])
    expect(outcomes).toEqual(['below-floor', 'appended'])
    expect(store.log(author.ref)).toMatchObject({ head: 4, records: 3 })
    const taken = take(5, 7, 6)
    await store.giveUp(author.ref, { from: 6, to: 6 }, 'lost')
    expect(await taken).toEqual(['appended', 'island', 'appended'])
    await reopen()
    expect(store.log(author.ref)).toMatchObject({
      head: 7,
      records: 6,
      voids: [{ from: 2, to: 2 }]
    })
    expect(await storyOf(store)).toEqual(['1:1', '1:3', '1:4', '1:5', '1:6', '1:7'])
  })

  it('giveUp: more ranges than are remembered one by one', async () => {
    const long = new Author({ seed: 2 })
    const all = long.many(2 * (LIMITS.islands + 20) + 1)
    for (const [index, record] of all.entries()) {
      if (index % 2 === 1) continue
      await append(store, [record], { floor: 1 })
      await store.giveUp(long.ref, { from: 1, to: Infinity }, 'skipped')
    }
    const held = all.flatMap((_, index) => (index % 2 === 0 ? [index + 1] : []))
    expect(await readAndScrub(store, long)).toEqual(held)
    await reopen()
    expect(await readAndScrub(store, long)).toEqual(held)
    expect(await storyOf(store)).toHaveLength(held.length)
    expect(await append(store, [all[1]!, all.at(-2)!])).toEqual(['below-floor', 'appended'])
  })

  it('raiseFloor: of an unknown log is remembered, over a trim too', async () => {
    await store.raiseFloor(author.ref, 4)
    expect(store.log(author.ref)).toMatchObject({ floor: 4, head: 3, records: 0 })
    await store.trim('orders', POLICY)
    await reopen()
    expect(await take(3)).toEqual(['below-floor'])
    expect(await take(5)).toEqual(['island'])
    expect(await take(4)).toEqual(['appended'])
    expect(await storyOf(store)).toEqual(['1:4', '1:5'])
  })

  it('raiseFloor: what is below goes, counts stay true, the chain goes on', async () => {
    await take(1, 2, 3, 5, 6, 8)
    await store.raiseFloor(author.ref, 3)
    const bytes = (...sequences: number[]): number =>
      sequences.reduce((sum, sequence) => sum + records[sequence - 1]!.bytes.length, 0)
    expect(store.log(author.ref)).toMatchObject({ floor: 3, head: 3, records: 4 })
    expect(store.log(author.ref)?.bytes).toBe(bytes(3, 5, 6, 8))
    expect(store.usage().bytes).toBe(bytes(3, 5, 6, 8))
    await store.raiseFloor(author.ref, 2)
    expect(store.log(author.ref)?.floor).toBe(3)
    await store.raiseFloor(author.ref, 6)
    expect(store.log(author.ref)).toMatchObject({
      floor: 6,
      head: 6,
      islands: [{ from: 8, to: 8 }]
    })
    await reopen()
    expect(await readAndScrub(store, author)).toEqual([6, 8])
    expect(await take(5)).toEqual(['below-floor'])
    expect(await take(7)).toEqual(['appended'])
    await store.raiseFloor(author.ref, 9)
    expect(store.log(author.ref)).toMatchObject({ floor: 9, head: 8, records: 0, bytes: 0 })
    expect(await append(store, [author.seal(9, records[0]!.digest)])).toEqual(['broken-chain'])
    expect(await take(9)).toEqual(['appended'])
    const entries = await store.readJournal('orders', 0)
    expect(entries.filter(({ record }) => record !== undefined)).toHaveLength(1)
  })

  it('raiseFloor: a record across the floor stays as a whole', async () => {
    const wide = new Author({ seed: 2 })
    const [a, b, c] = [wide.write(3), wide.write(3), wide.write(3)]
    await append(store, [a, b, c])
    await store.raiseFloor(wide.ref, 5)
    expect(store.log(wide.ref)).toMatchObject({ floor: 4, head: 9, records: 2 })
    expect(await readAndScrub(store, wide)).toEqual([4, 7])
  })

  it('raiseFloor: a record that comes across the floor of an empty log is taken and delivered', async () => {
    const wide = new Author({ seed: 2 })
    const [a, b, c] = [wide.write(3), wide.write(3), wide.write(3)]
    await store.raiseFloor(wide.ref, 5)
    expect(await append(store, [a, b, c])).toEqual(['below-floor', 'appended', 'appended'])
    expect(await storyOf(store)).toEqual(['1:4', '1:7'])
    expect(await readAndScrub(store, wide)).toEqual([4, 7])
  })

  it('raiseFloor: while records below it are on their way', async () => {
    await take(1)
    await Promise.all([store.raiseFloor(author.ref, 5), take(2, 3, 4, 5, 6), take(7)])
    await store.flush()
    const log = store.log(author.ref)!
    expect(log).toMatchObject({ floor: 5, head: 7, records: 3 })
    await reopen()
    expect(store.log(author.ref)).toMatchObject({ floor: 5, head: 7, records: 3, bytes: log.bytes })
    expect(await readAndScrub(store, author)).toEqual([5, 6, 7])
  })

  it('trim: untilReceived keeps what came late until it is received', async () => {
    await take(1, 4, 5)
    await store.giveUp(author.ref, { from: 2, to: 3 }, 'skipped')
    await take(6, 3)
    const { first, next } = store.journal('orders')
    const policy = { ...POLICY, untilReceived: true, maxAgeMs: Infinity }
    // All but the late one, which stands last, has been read.
    const received = { sequence: () => Infinity, offset: next - 1 }
    await store.trim('orders', policy, received)
    expect(store.journal('orders').first).toBe(first + 1)
    const entries = await store.readJournal('orders', 0)
    expect(entries.at(-1)).toMatchObject({ late: true, header: { first: 3 } })
    await reopen()
    await store.trim('orders', policy, { sequence: () => Infinity, offset: next })
    expect(store.log(author.ref)).toMatchObject({ floor: 7, head: 6, records: 0, bytes: 0 })
    expect(await storyOf(store)).toEqual([])
  })

  it('trim: a hole that is being filled while it is given up ends the trim all the same', async () => {
    const clock = stillClock(1e9)
    await store.stop()
    store = await openStore(disk, { clock })
    await append(store, [records[2]!], { ageMs: 3_599_999, floor: 1 })
    clock.move(2)
    const trimmed = store.trim('orders', POLICY)
    const taken = take(1, 2)
    await Promise.all([trimmed, taken])
    expect(store.log(author.ref)?.islands).toEqual([])
  })
})

describe('ranges given up and a faulty disk', () => {
  const author = new Author()
  const records = author.many(12)

  it('giveUp: any power loss leaves a log that says nothing wrong', async () => {
    for (let kept = 0; kept < 9; kept++) {
      const disk = new FaultyDisk()
      const store = await openStore(disk)
      await append(store, [records[0]!, records[3]!, records[6]!], { floor: 1 })
      await store.flush()
      await store.giveUp(author.ref, { from: 2, to: 3 }, 'skipped')
      await append(store, [records[2]!])
      await store.giveUp(author.ref, { from: 5, to: 6 }, 'lost')
      await append(store, [records[7]!])
      await disk.losePower(kept)
      const after = await openStore(disk)
      expect(after.report.damaged).toEqual([])
      expect(await readAndScrub(after, author)).toEqual(
        expect.arrayContaining(after.log(author.ref)!.head >= 4 ? [1, 4] : [1])
      )
      await append(after, records.slice(1, 8))
      await after.giveUp(author.ref, { from: 1, to: 8 }, 'lost')
      const story = await storyOf(after)
      expect(new Set(story.map((word) => word.split(' ')[0])).size).toBe(story.length)
      expect(story).toHaveLength(after.log(author.ref)!.records)
      await after.stop()
    }
  })

  it('trim: a hole whose records wait to be written is left to the next trim', async () => {
    const disk = new FaultyDisk()
    const clock = stillClock(1e9)
    const store = await openStore(disk, { clock })
    await append(store, [records[2]!], { ageMs: 3_599_999, floor: 1 })
    clock.move(2)
    let release = (): void => undefined
    disk.hold = new Promise((resolve) => {
      release = resolve
    })
    const other = append(store, [new Author({ seed: 2 }).write()])
    await new Promise((resolve) => setImmediate(resolve))
    const filling = append(store, records.slice(0, 2))
    const trimmed = store.trim('orders', POLICY)
    setTimeout(release, 20)
    await Promise.all([other, filling, trimmed])
    expect(store.log(author.ref)).toMatchObject({ head: 3, voids: [], islands: [] })
    await store.stop()
  })

  it('trim: a session that waits is given way when the channel is too large, unless publishing is refused instead', async () => {
    for (const onFull of ['reject', 'trim'] as const) {
      const store = await openStore(new FaultyDisk())
      const next = new Author({ session: '0001000000000002', before: author.end })
      const items = next.many(3).map((record) => ({ record, ageMs: 0, expectsBefore: true }))
      await store.append(items, { sync: false })
      const policy = { ...POLICY, maxAgeMs: Infinity, onFull }
      await store.trim('orders', { ...policy, maxBytes: store.usage().bytes })
      expect(await storyOf(store)).toEqual([])
      await store.trim('orders', { ...policy, maxBytes: store.usage().bytes - 1 })
      expect(await storyOf(store)).toEqual(onFull === 'trim' ? ['2:2', '2:3'] : [])
      await store.stop()
    }
  })

  it('trim: the end of a session that any later one succeeded too long ago is given up', async () => {
    const clock = stillClock(1e9)
    const store = await openStore(new FaultyDisk(), { clock })
    const second = new Author({ session: '0001000000000002', before: author.end })
    const items = second.many(2).map((record) => ({ record, ageMs: 0, expectsBefore: true }))
    const third = new Author({ session: '0001000000000003', before: second.end })
    await append(store, [records[0]!])
    await store.append(items, { sync: false })
    await store.raiseFloor(second.ref, 3)
    await append(store, [third.write()])
    clock.move(3_600_001)
    await append(store, [third.write()])
    expect(await storyOf(store)).toEqual(['1:1'])
    await store.trim('orders', POLICY)
    expect(await storyOf(store)).toEqual(['3:2'])
    await store.stop()
  })

  it('rebuild: voids and what is expected stay when records are lost', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    await append(
      store,
      [1, 2, 5, 6, 9].map((n) => records[n - 1]!)
    )
    await store.giveUp(author.ref, { from: 3, to: 4 }, 'lost')
    await store.giveUp(author.ref, { from: 7, to: 8 }, 'skipped')
    await store.stop()
    await disk.level.open()
    for (const sequence of [5, 9]) {
      await disk.level.del(numberKey(logPrefix(SPACE.record, author.ref), sequence))
    }
    store = await openStore(disk)
    expect(store.report.damaged.map(({ from, to }) => [from, to])).toEqual([
      [5, 5],
      [9, 9]
    ])
    expect(store.log(author.ref)).toMatchObject({
      head: 4,
      voids: [
        { from: 3, to: 4 },
        { from: 7, to: 8 }
      ],
      skipped: [{ from: 7, to: 8 }],
      islands: [{ from: 6, to: 8 }]
    })
    expect(await append(store, [records[4]!, records[8]!])).toEqual(['appended', 'appended'])
    expect(store.log(author.ref)).toMatchObject({ head: 9, islands: [], records: 5 })
    await store.stop()
  })

  it('rebuild: what was given up is asked for again when the head row is lost, and comes late', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    await append(
      store,
      [1, 2, 4].map((n) => records[n - 1]!)
    )
    await store.giveUp(author.ref, { from: 3, to: 3 }, 'lost')
    await store.stop()
    await disk.level.open()
    await disk.level.del(logPrefix(SPACE.head, author.ref))
    store = await openStore(disk)
    expect(store.log(author.ref)).toMatchObject({ head: 2, islands: [{ from: 4, to: 4 }] })
    expect(await append(store, [records[2]!, records[4]!])).toEqual(['appended', 'appended'])
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:4', '1:3 late', '1:5'])
    await store.stop()
  })

  it('open: a tail that was given up is no reason to go through the log', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const next = new Author({ session: '0001000000000002', before: author.end })
    await append(store, records.slice(0, 5))
    const item = { record: next.write(), ageMs: 0, expectsBefore: true }
    await store.append([item], { sync: false })
    await store.giveUp(author.ref, { from: 1, to: Infinity }, 'lost')
    const before = JSON.stringify(store.log(author.ref))
    await store.stop()
    // Were it rebuilt, its head row would be written anew.
    disk.batches = 0
    store = await openStore(disk)
    expect(JSON.stringify(store.log(author.ref))).toBe(before)
    expect(disk.batches).toBe(1)
    await store.stop()
  })
})
