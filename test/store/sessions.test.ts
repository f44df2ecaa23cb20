import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JournalEntry, Store } from '../../src/store/contract.ts'
import { FaultyDisk } from './faulty-level.ts'
import { append, Author, DISKS, openStore, stillClock, storyOf } from './store-fixtures.ts'
import type { Disk } from './store-fixtures.ts'
import type { SealedRecord } from '../../src/wire/record.ts'

/** Sessions of one publisher, each of so many records, each naming the end of the one before. */
function livesOf(...counts: number[]): { authors: Author[]; records: SealedRecord[][] } {
  const authors: Author[] = []
  const records = counts.map((count, index) => {
    const session = (0x1_0000_0000_0001n + BigInt(index)).toString(16).padStart(16, '0')
    const before = authors.at(-1)?.end
    const author = new Author({ session, ...(before === undefined ? {} : { before }) })
    authors.push(author)
    return author.many(count)
  })
  return { authors, records }
}

async function take(store: Store, records: readonly SealedRecord[]): Promise<void> {
  const items = records.map((record) => ({ record, ageMs: 0, floor: 1, expectsBefore: true }))
  await store.append(items, { sync: false })
}

describe.each(DISKS)('sessions on %s', (_name, createDisk) => {
  let disk: Disk
  let store: Store
  beforeEach(async () => {
    disk = await createDisk()
    store = await openStore(disk)
  })
  afterEach(async () => {
    await store.stop()
    await disk.remove()
  })
  const reopen = async (): Promise<void> => {
    await store.stop()
    store = await openStore(disk)
  }

  it('order: a later session waits for the holes and the named end of the one before', async () => {
    const { authors, records } = livesOf(4, 2)
    const [one, two] = records as [SealedRecord[], SealedRecord[]]
    const gaps: unknown[] = []
    store.events.on('gap', ({ missing }) => gaps.push(missing))
    await take(store, two)
    expect(store.log(authors[1]!.ref)).toMatchObject({ head: 2, records: 2 })
    expect(store.log(authors[0]!.ref)).toMatchObject({ floor: 1, head: 0, expected: 4 })
    expect(gaps).toEqual([[{ from: 1, to: 4 }]])
    expect(await storyOf(store)).toEqual([])
    await take(store, [one[0]!, one[2]!])
    expect(await storyOf(store)).toEqual(['1:1'])
    await reopen()
    await take(store, [one[1]!])
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:3'])
    const seen: JournalEntry[] = []
    store.events.on('journal', ({ entries }) => seen.push(...entries))
    await take(store, [one[3]!])
    expect(seen.map(({ header }) => header?.first)).toEqual([4, 1, 2])
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:3', '1:4', '2:1', '2:2'])
  })

  it('order: giving up lets later sessions follow at once, and only as far as nothing is missing', async () => {
    const { authors, records } = livesOf(2, 3, 2)
    const [one, two, three] = records as [SealedRecord[], SealedRecord[], SealedRecord[]]
    await take(store, three)
    await take(store, [two[0]!, two[2]!])
    await take(store, [one[0]!])
    expect(await storyOf(store)).toEqual(['1:1'])
    await store.giveUp(authors[0]!.ref, { from: 1, to: Infinity }, 'skipped')
    expect(await storyOf(store)).toEqual(['1:1', '2:1'])
    await reopen()
    await store.giveUp(authors[1]!.ref, { from: 2, to: 2 }, 'lost')
    expect(await storyOf(store)).toEqual(['1:1', '2:1', '2:3', '3:1', '3:2'])
    expect(await append(store, [one[1]!])).toEqual(['appended'])
    expect(await append(store, [two[1]!])).toEqual(['below-floor'])
    expect((await storyOf(store)).slice(5)).toEqual(['1:2 late'])
  })

  it('order: a raised floor lets later sessions follow at once', async () => {
    const { authors, records } = livesOf(3, 1)
    await take(store, records[1]!)
    await store.raiseFloor(authors[0]!.ref, 4)
    expect(await storyOf(store)).toEqual(['2:1'])
  })

  it('order: another publisher and another channel wait for nothing', async () => {
    await take(store, livesOf(1, 1).records[1]!)
    const other = new Author({ seed: 2, session: '0001000000000005' })
    const elsewhere = new Author({ channel: 'bills', session: '0001000000000006' })
    await append(store, [other.write(), elsewhere.write()])
    expect(await storyOf(store)).toEqual(['5:1'])
    expect(await storyOf(store, 'bills')).toEqual(['6:1'])
  })

  it('late: what comes of an earlier session after a later one is marked, over a restart too', async () => {
    const { authors, records } = livesOf(3, 2)
    await append(store, [records[0]![0]!])
    await append(store, records[1]!)
    await append(store, [records[0]![1]!])
    expect(await storyOf(store)).toEqual(['1:1', '2:1', '2:2', '1:2 late'])
    await reopen()
    await append(store, [records[0]![2]!, authors[1]!.write()])
    expect((await storyOf(store)).slice(4)).toEqual(['1:3 late', '2:3'])
  })

  it('late: also when everything of the later session has been trimmed', async () => {
    const clock = stillClock(1e9)
    await store.stop()
    store = await openStore(disk, { clock })
    const { records } = livesOf(2, 2)
    await append(store, [records[0]![0]!, ...records[1]!])
    const policy = { maxBytes: Infinity, maxMessages: 0, keepLast: undefined, maxAgeMs: Infinity }
    await store.trim('orders', { ...policy, untilReceived: false, onFull: 'trim' })
    await store.stop()
    store = await openStore(disk, { clock })
    await append(store, [records[0]![1]!])
    expect(await storyOf(store)).toEqual(['1:2 late'])
  })

  it('expected: is kept over a restart, and waits through a trim', async () => {
    const { authors, records } = livesOf(3, 1)
    await take(store, records[1]!)
    await reopen()
    expect(store.log(authors[0]!.ref)).toMatchObject({ expected: 3, head: 0, records: 0 })
    await store.trim('orders', {
      maxAgeMs: 3_600_000,
      maxBytes: Infinity,
      maxMessages: Infinity,
      keepLast: undefined,
      untilReceived: false,
      onFull: 'trim'
    })
    expect(store.log(authors[0]!.ref)).toMatchObject({ expected: 3 })
    expect(await storyOf(store)).toEqual([])
    await take(store, records[0]!)
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:3', '2:1'])
  })

  it('order: a large session that waited follows completely', async () => {
    const { authors, records } = livesOf(1, 0)
    const body = [{ payload: Buffer.alloc(60_000, 7) }]
    const many = Array.from({ length: 60 }, () => authors[1]!.write(body))
    await take(store, many)
    expect(await storyOf(store)).toEqual([])
    await take(store, records[0]!)
    expect(await storyOf(store)).toEqual(['1:1', ...many.map((_, index) => `2:${index + 1}`)])
  })

  it('order: many sessions in the worst order end in the right one', async () => {
    const { records } = livesOf(...Array.from({ length: 150 }, () => 1))
    for (const [record] of records.toReversed()) await take(store, [record!])
    const story = await storyOf(store)
    expect(story).toEqual(records.map(([record]) => `${record!.header.session.at(-1)}:1`))
  })
})

describe('sessions and power loss', () => {
  it('order: what waited follows when it is found after a power loss', async () => {
    for (let kept = 0; kept < 8; kept++) {
      const disk = new FaultyDisk()
      const store = await openStore(disk)
      const { authors, records } = livesOf(2, 2, 1)
      await take(store, records[2]!)
      await take(store, records[1]!)
      await store.flush()
      await take(store, [records[0]![1]!])
      await take(store, [records[0]![0]!])
      await store.giveUp(authors[0]!.ref, { from: 1, to: 9 }, 'lost')
      await disk.losePower(kept)
      const after = await openStore(disk)
      expect(after.report.damaged).toEqual([])
      await take(after, records[0]!)
      expect(await storyOf(after)).toEqual(['1:1', '1:2', '2:1', '2:2', '3:1'])
      await after.stop()
    }
  })
})
