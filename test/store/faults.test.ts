import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { JournalEntry, LogRef, SequenceRange, Store } from '../../src/store/contract.ts'
import { keyLog, keyNumber, logPrefix, numberKey, rangeOf, SPACE } from '../../src/store/keys.ts'
import { FaultyDisk, ioError } from './faulty-level.ts'
import {
  absolute,
  append,
  Author,
  boundsOf,
  journalOf,
  openStore,
  relative,
  stillClock
} from './store-fixtures.ts'

const POLICY = {
  maxAgeMs: Infinity,
  maxBytes: Infinity,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim' as const
}

async function flip(disk: FaultyDisk, ref: LogRef, sequence: number, byte = -1): Promise<void> {
  const key = numberKey(logPrefix(SPACE.record, ref), sequence)
  const value = Buffer.from((await disk.level.get(key)) as Buffer)
  const index = byte < 0 ? value.length + byte : byte
  value[index] = (value[index] as number) ^ 1
  await disk.level.put(key, value)
}

function damages(store: Store): SequenceRange[] {
  const found: SequenceRange[] = []
  store.events.on('damaged', ({ range }) => found.push(range))
  return found
}

describe('store faults', () => {
  it('power loss: what was synced stays, and logs, journal and cursors agree', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ sync: fc.boolean(), log: fc.nat(2) }), {
          minLength: 1,
          maxLength: 30
        }),
        fc.nat(40),
        async (steps, kept) => {
          const disk = new FaultyDisk()
          const store = await openStore(disk)
          const authors = [1, 2, 3].map((seed) => new Author({ seed }))
          const held = [0, 0, 0]
          const synced = [0, 0, 0]
          for (const { sync, log } of steps) {
            const author = authors[log] as Author
            await append(store, [author.write()], { sync })
            held[log] = (held[log] as number) + 1
            if (sync) held.forEach((count, index) => (synced[index] = count))
          }
          await disk.losePower(kept)
          const after = await openStore(disk)
          expect(after.report.clean).toBe(false)
          expect(after.report.damaged).toEqual([])
          const heads = authors.map(({ ref }) => after.log(ref)?.head ?? 0)
          heads.forEach((head, index) =>
            expect(head).toBeGreaterThanOrEqual(synced[index] as number)
          )
          const rows = await journalOf(after)
          expect(rows).toHaveLength(heads.reduce((sum, head) => sum + head, 0))
          expect(rows.map(([, offset]) => offset)).toEqual(rows.map((_, index) => index))
          await after.stop()
        }
      ),
      { numRuns: 40 }
    )
  })

  it('damage: a flipped bit is found by the next read, is reported, and is fetched again', async () => {
    for (const byte of [3, 14, 40, -1]) {
      const disk = new FaultyDisk()
      const store = await openStore(disk)
      const author = new Author()
      const records = author.many(5)
      await append(store, records)
      await store.register(
        { name: 's', filter: '#', createdAt: 0, options: {} },
        new Map([
          ['orders', { offset: absolute(2), acknowledged: [], handed: absolute(2), attempts: [] }]
        ])
      )
      const found = damages(store)
      const gaps: unknown[] = []
      store.events.on('gap', ({ missing }) => gaps.push(missing))
      await flip(disk, author.ref, 3, byte)
      expect((await store.readLog(author.ref, 1)).map(({ head }) => head.header.first)).toEqual([
        1, 2, 4, 5
      ])
      expect(store.log(author.ref)).toMatchObject({ head: 2, islands: [{ from: 4, to: 5 }] })
      // What was queued before is written when this is.
      await store.values('test').put('barrier', Buffer.of(1))
      const entries: JournalEntry[] = []
      store.events.on('journal', (event) => entries.push(...event.entries))
      expect(await append(store, [records[2]!])).toEqual(['appended'])
      expect(found).toEqual([{ from: 3, to: 3 }])
      expect(gaps).toEqual([[{ from: 3, to: 3 }], []])
      expect(store.log(author.ref)).toMatchObject({ head: 5, islands: [], records: 5 })
      // The subscription had not read it: it comes again, behind everything.
      expect(entries.map(({ offset, late }) => [relative(offset), late])).toEqual([[5, true]])
      await store.stop()
    }
  })

  it('damage: a record whose time cannot be read is not taken for the end of its log', async () => {
    const disk = new FaultyDisk()
    const clock = stillClock(1_000)
    const store = await openStore(disk, { clock })
    const author = new Author()
    const records = author.many(5)
    await append(store, records.slice(0, 2))
    clock.move(1_000)
    await append(store, records.slice(2))
    await flip(disk, author.ref, 3, 3)
    // Without it a neighbour would be told that all of the log is too old, and give up what is young.
    expect(await store.seekLog(author.ref, 2_000)).toBe(3)
    expect(await store.seekLog(author.ref, 2_000, 3)).toBe(3)
    expect(await store.seekLog(author.ref, 1_000)).toBe(1)
    await store.stop()
  })

  it('damage: what every subscription had read is fetched again and not delivered again', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const records = author.many(5)
    await append(store, records)
    await store.register(
      { name: 's', filter: '#', createdAt: 0, options: {} },
      new Map([
        ['orders', { offset: absolute(5), acknowledged: [], handed: absolute(5), attempts: [] }]
      ])
    )
    await flip(disk, author.ref, 3)
    expect(
      (await store.readJournal('orders', 0)).map(({ record }) => record !== undefined)
    ).toEqual([true, true, false, true, true])
    expect(await append(store, [records[2]!])).toEqual(['appended'])
    expect(boundsOf(store)).toEqual({ first: 0, next: 5 })
    expect((await store.readJournal('orders', 0)).every(({ record }) => record !== undefined)).toBe(
      true
    )
    await store.stop()
  })

  it('damage: an open finds it in the tail, the scrub in the rest', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    const records = author.many(200)
    await append(store, records)
    await store.stop()
    await disk.level.open()
    await flip(disk, author.ref, 190)
    await flip(disk, author.ref, 10)
    store = await openStore(disk)
    expect(store.report.damaged.map(({ from, to }) => [from, to])).toContainEqual([190, 190])
    const found = damages(store)
    while ((await store.scrub(10_000)) > 0);
    await append(store, [records[189]!, records[9]!])
    expect(
      [...store.report.damaged, ...found].map(({ from }) => from).toSorted((x, y) => x - y)
    ).toEqual([10, 190])
    expect(store.log(author.ref)).toMatchObject({ head: 200, islands: [] })
    await store.stop()
  })

  it('damage: rows that vanished are holes, at the tail and in the middle', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    const records = author.many(20)
    await append(store, records)
    await store.stop()
    await disk.level.open()
    const prefix = logPrefix(SPACE.record, author.ref)
    for (const sequence of [7, 19, 20]) await disk.level.del(numberKey(prefix, sequence))
    store = await openStore(disk)
    expect(store.report.damaged.map(({ from, to }) => [from, to])).toEqual([
      [7, 7],
      [19, 20]
    ])
    expect(store.log(author.ref)).toMatchObject({ head: 6, islands: [{ from: 8, to: 18 }] })
    expect(await append(store, [records[6]!, records[18]!, records[19]!])).toEqual([
      'appended',
      'appended',
      'appended'
    ])
    expect(store.log(author.ref)).toMatchObject({ head: 20, islands: [], records: 20 })
    await store.stop()
  })

  it('damage: a lost head row is made anew from the records', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    await append(store, author.many(20))
    const before = { ...store.log(author.ref) }
    await store.stop()
    await disk.level.open()
    await disk.level.del(logPrefix(SPACE.head, author.ref))
    store = await openStore(disk)
    expect(JSON.stringify(store.log(author.ref))).toBe(JSON.stringify(before))
    expect(boundsOf(store)).toEqual({ first: 0, next: 20 })
    await store.stop()
  })

  it('damage: lost rows of the journal bring their records back, late', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    await append(store, author.many(10))
    await store.stop()
    await disk.level.open()
    const journal = await disk.level.keys(rangeOf(Buffer.of(SPACE.journal))).all()
    for (const key of journal.slice(-2)) await disk.level.del(key)
    store = await openStore(disk)
    const entries = await store.readJournal('orders', 0)
    expect(
      entries
        .slice(-3)
        .map(({ offset, count, late, header }) => [relative(offset), count, late, header?.first])
    ).toEqual([
      [8, 2, false, undefined],
      [10, 1, true, 9],
      [11, 1, true, 10]
    ])
    await store.stop()
  })

  it('full disk: a start that cannot write says so', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    await store.stop()
    disk.failure = ioError()
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    disk.failure = undefined
    await (await openStore(disk)).stop()
  })

  it('full disk: a failed write rejects everything until the store recovered', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const conditions: string[] = []
    store.events.on('condition', ({ condition }) => conditions.push(condition))
    await append(store, author.many(2), { sync: true })
    disk.failure = ioError()
    disk.probe = 'ENOSPC'
    const lost = author.write()
    const failing = [
      append(store, [lost], { sync: true }),
      store.saveCursor('a', 'orders', {
        offset: 0,
        acknowledged: [],
        handed: 0,
        attempts: []
      })
    ]
    for (const result of await Promise.allSettled(failing)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'ERR_STORE_WRITE' } })
    }
    expect(store.condition).toBe('failed')
    await expect(append(store, [lost])).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    await expect(store.recover()).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    expect(store.condition).toBe('failed')
    disk.failure = undefined
    await store.recover()
    expect(store.condition).toBe('open')
    expect(store.log(author.ref)).toMatchObject({ head: 2 })
    expect(await append(store, [lost], { sync: true })).toEqual(['appended'])
    expect(conditions).toEqual(['failed', 'open'])
    await store.stop()
  })

  it('full disk: nobody is told that what a failed write did not write is not there', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const [first, second] = author.many(2)
    await append(store, [first!])
    disk.failure = ioError()
    disk.probe = 'ENOSPC'
    await expect(append(store, [second!])).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    // Still shown as held: with "there is nothing so young" who asks would give up what others hold.
    expect(store.log(author.ref)?.head).toBe(2)
    const seek = (): Promise<number | undefined> => store.seekLog(author.ref, 0, 2)
    await expect(seek()).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    disk.failure = undefined
    let open: (() => void) | undefined
    disk.hold = new Promise((resolve) => (open = resolve))
    const recovered = store.recover()
    await vi.waitFor(() => expect(disk.held).toBe(1))
    await expect(seek()).rejects.toMatchObject({ code: 'ERR_STORE_WRITE' })
    open?.()
    await recovered
    expect(store.log(author.ref)?.head).toBe(1)
    expect(await seek()).toBe(1)
    await store.stop()
  })

  it('full disk: what a failed write left behind is told after recovery', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const [a, b] = author.many(2)
    await append(store, [a!], { sync: true })
    // The sync fails after the data went out: the record is found again when the store is read anew.
    const other = new FaultyDisk()
    const twin = await openStore(other)
    await append(twin, [a!, b!])
    disk.failure = ioError()
    disk.probe = 'EDQUOT'
    await expect(append(store, [b!], { sync: true })).rejects.toMatchObject({
      code: 'ERR_STORE_WRITE'
    })
    for await (const [key, value] of other.level.iterator()) {
      if (key[0] !== SPACE.meta) await disk.level.put(key, value)
    }
    disk.failure = undefined
    const seen: number[] = []
    store.events.on('journal', ({ entries }) =>
      seen.push(...entries.map(({ offset }) => relative(offset)))
    )
    await store.recover()
    expect(seen).toEqual([1])
    expect(store.log(author.ref)?.head).toBe(2)
    await Promise.all([store.stop(), twin.stop()])
  })

  it('io error: anything but lack of space is final', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    disk.failure = ioError()
    const author = new Author()
    await expect(append(store, [author.write()])).rejects.toMatchObject({
      code: 'ERR_STORE_FAILED'
    })
    expect(store.condition).toBe('broken')
    disk.failure = undefined
    await expect(store.recover()).rejects.toMatchObject({ code: 'ERR_STORE_FAILED' })
    await expect(append(store, [author.write()])).rejects.toMatchObject({
      code: 'ERR_STORE_FAILED'
    })
    await store.stop()
  })

  it('reserve: below it user records are refused, and taken again above it', async () => {
    const disk = new FaultyDisk()
    let tick = (): void => undefined
    const clock = {
      ...stillClock(0),
      after: (_ms: number, callback: () => void) => {
        tick = callback
        return { cancel: () => undefined }
      }
    }
    const store = await openStore(disk, { clock }, {})
    expect(store.usage().reserveBytes).toBe(2 ** 30)
    store.assertWritable()
    const condition = (): Promise<string> =>
      new Promise((resolve) => {
        const off = store.events.on('condition', (event) => {
          off()
          resolve(event.condition)
        })
      })
    disk.freeBytes = 2 ** 30 - 1
    const full = condition()
    tick()
    expect(await full).toBe('full')
    expect(() => store.assertWritable()).toThrow(
      expect.objectContaining({ code: 'ERR_STORE_FULL' })
    )
    expect(await append(store, [new Author().write()])).toEqual(['appended'])
    disk.freeBytes = 2 ** 30
    const open = condition()
    await new Promise((resolve) => setImmediate(resolve))
    tick()
    expect(await open).toBe('open')
    store.assertWritable()
    await store.stop()
  })

  it('trim: one that was cut off is finished at the next start', async () => {
    const disk = new FaultyDisk()
    let store = await openStore(disk)
    const author = new Author()
    await append(store, author.many(10))
    disk.clearFailure = ioError()
    await expect(store.trim('orders', { ...POLICY, maxMessages: 3 })).rejects.toMatchObject({
      code: 'LEVEL_IO_ERROR'
    })
    await disk.losePower()
    disk.clearFailure = undefined
    store = await openStore(disk)
    expect(store.log(author.ref)).toMatchObject({ floor: 8, head: 10, records: 3 })
    expect(boundsOf(store)).toEqual({ first: 7, next: 10 })
    const rows = await disk.level.keys(rangeOf(Buffer.of(SPACE.record))).all()
    expect(rows.map(keyNumber)).toEqual([8, 9, 10])
    expect(keyLog(rows[0] as Buffer)).toEqual(author.ref)
    await store.stop()
  })

  it('commits: what waits together is written and synced together', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const author = new Author()
    const before = disk.syncs
    await Promise.all(author.many(100).map((record) => append(store, [record], { sync: true })))
    expect(disk.syncs - before).toBeLessThanOrEqual(2)
    await store.stop()
  })
})
