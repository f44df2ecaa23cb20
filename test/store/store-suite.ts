import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { CursorState, JournalEntry, Registration, Store } from '../../src/store/contract.ts'
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
import type { Disk } from './store-fixtures.ts'

/** What every store does, whatever database is under it. */
export function storeSuite(name: string, createDisk: () => Promise<Disk>): void {
  describe(`${name}`, () => {
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

    it('append: records in order are held, journaled and read back unchanged', async () => {
      const author = new Author()
      const records = [author.write(3), author.write(1), author.write(2)]
      const seen: JournalEntry[] = []
      store.events.on('journal', ({ entries }) => seen.push(...entries))
      expect(await append(store, records, { sync: true })).toEqual([
        'appended',
        'appended',
        'appended'
      ])
      expect(seen.map(({ offset, count }) => [relative(offset), count])).toEqual([
        [0, 3],
        [3, 1],
        [4, 2]
      ])
      const check = async (): Promise<void> => {
        expect(store.log(author.ref)).toMatchObject({ floor: 1, head: 6, islands: [], records: 3 })
        expect(Buffer.from(store.log(author.ref)?.headDigest ?? [])).toEqual(records[2]?.digest)
        const read = await store.readLog(author.ref, 1)
        expect(read.map(({ record }) => Buffer.from(record?.bytes ?? []))).toEqual(
          records.map(({ bytes }) => bytes)
        )
        expect(await journalOf(store)).toEqual([
          [1, 0, 3],
          [4, 3, 1],
          [5, 4, 2]
        ])
        expect(boundsOf(store)).toEqual({ first: 0, next: 6 })
        expect(store.latestSession(author.ref.publisher)).toBe(author.ref.session)
        expect(store.channels()).toEqual(['orders'])
      }
      await check()
      await reopen()
      expect(store.report).toMatchObject({ clean: true, logs: 1, records: 3, damaged: [] })
      await check()
    })

    it('append: the plan is visible before the write is done', async () => {
      const author = new Author()
      const done = append(store, author.many(2))
      expect(store.log(author.ref)?.head).toBe(2)
      expect(boundsOf(store).next).toBe(0)
      await done
      expect(boundsOf(store).next).toBe(2)
    })

    it('append: an island waits for its hole and is journaled when that closes', async () => {
      const author = new Author()
      const records = author.many(6)
      const [a, b, c, d, e, f] = records
      const gaps: unknown[] = []
      store.events.on('gap', ({ missing }) => gaps.push(missing))
      expect(await append(store, [a!, c!, d!, f!])).toEqual([
        'appended',
        'island',
        'island',
        'island'
      ])
      expect(store.log(author.ref)).toMatchObject({
        head: 1,
        islands: [
          { from: 3, to: 4 },
          { from: 6, to: 6 }
        ]
      })
      expect(boundsOf(store).next).toBe(1)
      await reopen()
      store.events.on('gap', ({ missing }) => gaps.push(missing))
      expect(await append(store, [b!])).toEqual(['appended'])
      expect(store.log(author.ref)).toMatchObject({ head: 4, islands: [{ from: 6, to: 6 }] })
      expect(await append(store, [e!])).toEqual(['appended'])
      expect(await journalOf(store)).toEqual([1, 2, 3, 4, 5, 6].map((n) => [n, n - 1, 1]))
      expect(gaps).toEqual([
        [
          { from: 2, to: 2 },
          { from: 5, to: 5 }
        ],
        [{ from: 5, to: 5 }],
        []
      ])
    })

    it('append: what joins within one call is journaled in log order', async () => {
      const author = new Author()
      const [a, b, c] = author.many(3)
      expect(await append(store, [c!, b!, a!], { floor: 1 })).toEqual([
        'island',
        'island',
        'appended'
      ])
      expect(await journalOf(store)).toEqual([1, 2, 3].map((n) => [n, n - 1, 1]))
    })

    it('append: duplicates, foreign chains and records below the floor are told apart', async () => {
      const author = new Author()
      const [a, b, c, d] = author.many(4)
      expect(await append(store, [a!, b!])).toEqual(['appended', 'appended'])
      expect(await append(store, [a!, b!])).toEqual(['duplicate', 'duplicate'])
      const unchained = author.seal(3, a!.digest)
      expect(await append(store, [unchained])).toEqual(['broken-chain'])
      const overlapping = author.seal(2, a!.digest, 2)
      expect(await append(store, [overlapping])).toEqual(['broken-chain'])
      expect(await append(store, [c!, d!])).toEqual(['appended', 'appended'])
      const other = new Author({ session: '0001000000000002' })
      const [x, y, z] = other.many(3)
      expect(await append(store, [y!], { floor: 2 })).toEqual(['appended'])
      expect(await append(store, [x!])).toEqual(['below-floor'])
      expect(await append(store, [z!])).toEqual(['appended'])
      expect(store.log(other.ref)).toMatchObject({ floor: 2, head: 3 })
    })

    it('append: a fork freezes the log, over a restart too', async () => {
      const author = new Author()
      const [a, b, c] = author.many(3)
      const forks: number[] = []
      store.events.on('fork', ({ sequence }) => forks.push(sequence))
      await append(store, [a!, b!])
      const twin = author.seal(2, a!.digest, [{ payload: Buffer.from('other') }])
      expect(await append(store, [twin])).toEqual(['fork'])
      expect(await append(store, [c!, twin, b!])).toEqual(['frozen', 'frozen', 'duplicate'])
      expect(forks).toEqual([2])
      await reopen()
      expect(store.log(author.ref)).toMatchObject({ head: 2, forkedAt: 2 })
      expect(await append(store, [c!])).toEqual(['frozen'])
      expect(await append(store, [twin])).toEqual(['frozen'])
    })

    it('append: a fork of a record that is still being written is seen', async () => {
      const author = new Author()
      const first = author.write()
      const twin = author.seal(1, undefined, [{ payload: Buffer.from('other') }])
      expect(await append(store, [first, first, twin])).toEqual(['appended', 'duplicate', 'fork'])
      await append(store, [new Author({ seed: 2 }).write()])
      expect(store.log(author.ref)?.forkedAt).toBe(1)
    })

    it('append: islands are limited', async () => {
      const author = new Author()
      const records = author.many(2 * LIMITS.islands + 4)
      const odd = records.filter((_, index) => index % 2 === 1)
      const outcomes = await append(store, odd, { floor: 1 })
      expect(outcomes.filter((outcome) => outcome === 'island')).toHaveLength(LIMITS.islands)
      expect(outcomes.filter((outcome) => outcome === 'too-many-islands')).toHaveLength(2)
      expect(await append(store, [records[0]!])).toEqual(['appended'])
    })

    it('append: an island larger than a commit joins completely', async () => {
      const author = new Author()
      const body = Buffer.alloc(60_000, 7)
      const records = Array.from({ length: 300 }, () => author.write([{ payload: body }]))
      await append(store, records.slice(1), { floor: 1 })
      expect(boundsOf(store).next).toBe(0)
      const seen: number[] = []
      store.events.on('journal', ({ entries }) =>
        seen.push(...entries.map(({ offset }) => relative(offset)))
      )
      await append(store, [records[0]!])
      expect(seen).toEqual(records.map((_, index) => index))
    })

    it('readLog: respects from, to and maxBytes', async () => {
      const author = new Author()
      const records = Array.from({ length: 20 }, () => author.write(5))
      await append(store, records)
      const firsts = async (from: number, options = {}): Promise<number[]> =>
        (await store.readLog(author.ref, from, options)).map(({ head }) => head.header.first)
      expect(await firsts(8, { to: 16 })).toEqual([6, 11, 16])
      expect(await firsts(11, { maxBytes: 1 })).toEqual([11])
      expect(await firsts(101)).toEqual([])
      expect(await store.readLog({ ...author.ref, channel: 'none' }, 1)).toEqual([])
    })

    it('journal: entries that end above an offset, from the middle of a record', async () => {
      const author = new Author()
      await append(store, [author.write(5), author.write(5), author.write(5)])
      const from = async (offset: number): Promise<number[]> =>
        (await store.readJournal('orders', absolute(offset))).map((entry) => relative(entry.offset))
      expect(await from(0)).toEqual([0, 5, 10])
      expect(await from(4)).toEqual([0, 5, 10])
      expect(await from(5)).toEqual([5, 10])
      expect(await from(14)).toEqual([10])
      expect(await from(15)).toEqual([])
      expect(
        (await store.readJournal('orders', 0, { maxBytes: 1 })).map(({ offset }) =>
          relative(offset)
        )
      ).toEqual([0])
    })

    it('journal: is sought by local time and by newest message of a topic', async () => {
      const clock = stillClock(1_000_000)
      await store.stop()
      store = await openStore(disk, { clock })
      const author = new Author()
      await append(store, [author.write([{ suffix: '/a' }, { suffix: '/b' }])])
      clock.move(1000)
      await append(store, [author.write([{ suffix: '/a' }, { suffix: '/c' }])])
      clock.move(1000)
      await append(store, [author.write([{ suffix: '/c' }])], { ageMs: 500 })
      expect(relative(await store.seekJournal('orders', 0))).toBe(0)
      expect(relative(await store.seekJournal('orders', 1_000_001))).toBe(2)
      expect(relative(await store.seekJournal('orders', 1_001_500))).toBe(4)
      expect(relative(await store.seekJournal('orders', 1_001_501))).toBe(5)
      expect((await store.lastOffsets('orders', () => true)).map(relative)).toEqual([1, 2, 4])
      expect(
        (await store.lastOffsets('orders', (topic) => topic === 'orders/b')).map(relative)
      ).toEqual([1])
    })

    it('cursors: are written, coalesced, found again and removed', async () => {
      const registration: Registration = {
        name: 'bill',
        filter: 'orders/#',
        createdAt: 5,
        options: { a: 1 }
      }
      const cursor = (offset: number): CursorState => ({
        offset,
        acknowledged: [{ from: offset + 2, to: offset + 3 }],
        handed: offset + 9,
        attempts: [[offset + 4, 2]]
      })
      await store.register(registration, new Map([['orders', cursor(absolute(1))]]))
      await Promise.all(
        [2, 3, 4].map((offset) => store.saveCursor('bill', 'orders', cursor(absolute(offset))))
      )
      await store.saveCursor('bill', 'x', cursor(0))
      await reopen()
      expect(store.registrations()).toEqual([registration])
      expect(await store.cursors('bill')).toEqual(
        new Map([
          ['orders', cursor(absolute(4))],
          ['x', cursor(0)]
        ])
      )
      expect(await store.cursors('bil')).toEqual(new Map())
      // Offsets that a cursor knows are never given to other messages; a reservation knows none.
      expect(store.journal('orders').next).toBe(absolute(8))

      await store.unregister('bill')
      await reopen()
      expect(store.registrations()).toEqual([])
      expect(await store.cursors('bill')).toEqual(new Map())
    })

    it('values: live in their own spaces', async () => {
      const peers = store.values('peers')
      const other = store.values('peers2')
      await peers.put('a', Buffer.from('1'))
      await peers.put('b', Buffer.from('2'))
      await other.put('a', Buffer.from('3'))
      await peers.delete('b')
      await reopen()
      const again = store.values('peers')
      expect(await again.entries()).toEqual([['a', Uint8Array.from(Buffer.from('1'))]])
      expect(await again.get('b')).toBeUndefined()
      expect(await store.values('peers2').get('a')).toEqual(Uint8Array.from(Buffer.from('3')))
    })

    it('scrub: goes through everything and begins again', async () => {
      await append(store, new Author().many(20))
      await append(store, new Author({ seed: 2 }).many(20))
      let total = 0
      for (let bytes = await store.scrub(1000); bytes > 0; bytes = await store.scrub(1000))
        total += bytes
      expect(total).toBeGreaterThan(store.usage().bytes)
      expect(await store.scrub(1000)).toBeGreaterThan(0)
    })

    it('stop: refuses what comes afterwards', async () => {
      const author = new Author()
      await store.stop()
      await expect(append(store, [author.write()])).rejects.toMatchObject({ code: 'ERR_STOPPED' })
      expect(store.condition).toBe('closed')
      expect(() => store.assertWritable()).toThrow(expect.objectContaining({ code: 'ERR_STOPPED' }))
      await store.stop()
    })

    it('epoch: stays with the store', async () => {
      const { epoch } = store
      expect(epoch).toMatch(/^[0-9a-f]{16}$/)
      await reopen()
      expect(store.epoch).toBe(epoch)
    })
  })
}
