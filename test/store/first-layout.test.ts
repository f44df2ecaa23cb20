import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { keyLog, keyNumber, numberKey, rangeOf, SPACE } from '../../src/store/keys.ts'
import { JOURNAL_START } from '../../src/store/mirror.ts'
import { decodeHeadRow, encodeHeadRow } from '../../src/store/rows.ts'
import { FaultyDisk } from './faulty-level.ts'
import { append, Author, openStore, storyOf } from './store-fixtures.ts'

/** Of three empty things at the end: voids, skipped, expected. */
const ADDED_BYTES = 3 * 8
const CRC_BYTES = 4

/** Writes a store as the first version left it: journals from 0, head rows that end with what is owed. */
async function toFirstLayout({ level }: FaultyDisk): Promise<void> {
  await level.open()
  for (const [key, value] of await level.iterator(rangeOf(Buffer.of(SPACE.journal))).all()) {
    await level.del(key)
    const prefix = key.subarray(0, key.length - 8)
    await level.put(numberKey(prefix, keyNumber(key) - JOURNAL_START), value)
  }
  for (const [key, value] of await level.iterator(rangeOf(Buffer.of(SPACE.head))).all()) {
    const row = decodeHeadRow(value, keyLog(key)!)!
    const journalEnd = Math.max(0, row.journalEnd - JOURNAL_START)
    const now = encodeHeadRow({ ...row, journalEnd })
    const then = Buffer.from(now.subarray(0, now.length - ADDED_BYTES))
    const end = then.length - CRC_BYTES
    then.writeUInt32BE(crc32(then.subarray(0, end)), end)
    await level.put(key, then)
  }
}

describe('stores of the first layout', () => {
  const offsets = async (
    store: Awaited<ReturnType<typeof openStore>>,
    from = 0
  ): Promise<unknown[]> =>
    (await store.readJournal('orders', from)).map(({ header, late, offset }) => [
      offset,
      header?.first,
      late
    ])

  it('open: journals go on from where they are, logs are what they were', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    const records = author.many(8)
    await append(store, [...records.slice(2, 5), records[6]!], { floor: 3 })
    const { bytes, headDigest, timeMs } = store.log(author.ref)!
    await store.stop()
    await toFirstLayout(disk)

    store = await openStore(disk)
    expect(store.report).toMatchObject({ clean: true, damaged: [] })
    expect(store.log(author.ref)).toMatchObject({
      floor: 3,
      head: 5,
      headDigest: Uint8Array.from(headDigest!),
      islands: [{ from: 7, to: 7 }],
      expected: 0,
      voids: [],
      skipped: [],
      records: 4,
      bytes,
      timeMs
    })
    expect(store.journal('orders')).toEqual({ first: 0, next: 3 })
    const cursor = { offset: 1, acknowledged: [], handed: 1, attempts: [] }
    const registration = { name: 's', filter: '#', createdAt: 0, options: {} }
    await store.register(registration, new Map([['orders', cursor]]))
    expect(await append(store, [records[5]!])).toEqual(['appended'])
    const story = [
      [0, 3, false],
      [1, 4, false],
      [2, 5, false],
      [3, 6, false],
      [4, 7, false]
    ]
    expect(await offsets(store)).toEqual(story)
    await store.stop()
    store = await openStore(disk)
    expect(store.journal('orders')).toEqual({ first: 0, next: 5 })
    expect(await offsets(store)).toEqual(story)

    // In front of offset 0 is no room.
    const older = records.slice(0, 2).map((record) => ({ record, ageMs: 0 }))
    expect(await store.prepend(author.ref, older)).toBe('prepended')
    const all = [...story, [5, 1, true], [6, 2, true]]
    expect(await offsets(store)).toEqual(all)
    await store.stop()
    store = await openStore(disk)
    expect(await offsets(store)).toEqual(all)
    expect(store.log(author.ref)).toMatchObject({ floor: 1, head: 7, records: 7 })

    const policy = { maxAgeMs: Infinity, maxBytes: Infinity, maxMessages: 3 } as const
    const rest = { keepLast: undefined, untilReceived: false, onFull: 'trim' } as const
    await store.trim('orders', { ...policy, ...rest })
    await store.stop()
    store = await openStore(disk)
    expect(store.journal('orders')).toEqual({ first: 4, next: 7 })
    expect(store.report.damaged).toEqual([])
    await store.stop()
  })

  it('open: a log that lost its head row goes on in the old journal', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    await append(store, author.many(3))
    await store.stop()
    await toFirstLayout(disk)
    for (const key of await disk.level.keys(rangeOf(Buffer.of(SPACE.head))).all()) {
      await disk.level.del(key)
    }
    store = await openStore(disk)
    await append(store, [author.write()])
    expect(store.journal('orders')).toEqual({ first: 0, next: 4 })
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:3', '1:4'])
    await store.stop()
  })

  it('open: a channel of which nothing was deliverable yet gets a journal with room in front', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    const [one, two] = author.many(2)
    await append(store, [two!], { floor: 1 })
    await store.stop()
    await toFirstLayout(disk)
    store = await openStore(disk)
    await append(store, [one!])
    expect(await storyOf(store)).toEqual(['1:1', '1:2'])
    expect(store.journal('orders').first).toBe(JOURNAL_START)
    await store.stop()
  })

  it('open: records in front of a journal stay where they are when its bounds are lost', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    const records = author.many(4)
    await append(store, records.slice(2))
    const older = records.slice(0, 2).map((record) => ({ record, ageMs: 0 }))
    await store.prepend(author.ref, older)
    await store.stop()
    await disk.level.open()
    for (const key of await disk.level.keys(rangeOf(Buffer.of(SPACE.bounds))).all()) {
      await disk.level.del(key)
    }
    store = await openStore(disk)
    expect(store.journal('orders')).toEqual({ first: JOURNAL_START - 2, next: JOURNAL_START + 2 })
    expect(await storyOf(store)).toEqual(['1:1', '1:2', '1:3', '1:4'])
    await store.stop()
  })

  it('prepend: to a log that was trimmed to its end only what ends with its last record', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const records = author.many(4)
    await append(store, records)
    await store.raiseFloor(author.ref, 5)
    const twin = author.seal(4, records[2]!.digest, [{ payload: Buffer.from('other') }])
    expect(await store.prepend(author.ref, [{ record: twin, ageMs: 0 }])).toBe('broken-chain')
    expect(await store.prepend(author.ref, [{ record: records[3]!, ageMs: 0 }])).toBe('prepended')
    expect(await append(store, [author.seal(5, twin.digest)])).toEqual(['broken-chain'])
    expect(await append(store, [author.write()])).toEqual(['appended'])
    await store.stop()
  })
})
