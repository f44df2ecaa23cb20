import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/store/contract.ts'
import {
  append,
  Author,
  boundsOf,
  journalOf,
  openStore,
  relative,
  stillClock
} from './store-fixtures.ts'
import type { Disk } from './store-fixtures.ts'

const DAY = 86_400_000
const POLICY = {
  maxAgeMs: Infinity,
  maxBytes: Infinity,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim' as const
}

/** How every store trims, whatever database is under it. */
export function trimSuite(name: string, createDisk: () => Promise<Disk>): void {
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

    it('trim: by messages, oldest first across logs, with a floor that holds', async () => {
      const [one, two] = [new Author(), new Author({ seed: 2 })]
      const records = [one.write(2), two.write(2), one.write(2), two.write(2)]
      for (const record of records) await append(store, [record])
      const report = await store.trim('orders', { ...POLICY, maxMessages: 5 })
      expect(report).toMatchObject({ records: 2, messages: 4 })
      const check = async (): Promise<void> => {
        expect(store.log(one.ref)).toMatchObject({ floor: 3, head: 4, records: 1 })
        expect(store.log(two.ref)).toMatchObject({ floor: 3, head: 4, records: 1 })
        expect(boundsOf(store)).toEqual({ first: 4, next: 8 })
        expect(await journalOf(store)).toEqual([
          [3, 4, 2],
          [3, 6, 2]
        ])
        expect(
          (await store.readJournal('orders', 0)).map(({ offset }) => relative(offset))
        ).toEqual([4, 6])
        expect(await append(store, [records[0]!])).toEqual(['below-floor'])
        expect((await store.readLog(one.ref, 1)).map(({ head }) => head.header.first)).toEqual([3])
      }
      await check()
      await reopen()
      await check()
      expect(await append(store, [one.write(), two.write()])).toEqual(['appended', 'appended'])
    })

    it('trim: by age leaves a stub that keeps head and digest, and forgets it later', async () => {
      const clock = stillClock(10 * DAY)
      await store.stop()
      store = await openStore(disk, { clock })
      const author = new Author()
      const records = author.many(3)
      await append(store, records)
      clock.move(DAY + 1)
      const policy = { ...POLICY, maxAgeMs: DAY }
      expect(await store.trim('orders', policy)).toMatchObject({ records: 3 })
      await store.stop()
      store = await openStore(disk, { clock })
      expect(store.log(author.ref)).toMatchObject({ floor: 4, head: 3, records: 0, bytes: 0 })
      expect(store.log(author.ref)?.headDigest).toEqual(Uint8Array.from(records[2]!.digest))
      expect(boundsOf(store)).toEqual({ first: 3, next: 3 })
      expect(await append(store, [author.seal(4, records[0]!.digest)])).toEqual(['broken-chain'])
      await store.trim('orders', policy)
      expect(await append(store, [author.write()], { ageMs: DAY + 1 })).toEqual(['expired'])
      clock.move(DAY)
      await store.trim('orders', policy)
      expect(store.log(author.ref)).toBeUndefined()
    })

    it('trim: a hole that can only hold what is too old is given up', async () => {
      const clock = stillClock(10 * DAY)
      await store.stop()
      store = await openStore(disk, { clock })
      const author = new Author()
      const records = author.many(6)
      await append(store, [records[0]!])
      await append(store, [records[2]!], { ageMs: DAY - 10 })
      await append(store, [records[3]!])
      clock.move(20)
      const seen: number[] = []
      store.events.on('journal', ({ entries }) =>
        seen.push(...entries.map((e) => e.header?.first ?? 0))
      )
      await store.trim('orders', { ...POLICY, maxAgeMs: DAY })
      expect(seen).toEqual([3, 4])
      // It counts as held, so that the first record stays until it is too old itself; the third is.
      expect(store.log(author.ref)).toMatchObject({
        head: 4,
        islands: [],
        voids: [{ from: 2, to: 2 }]
      })
    })

    it('trim: by bytes', async () => {
      const author = new Author()
      await append(store, author.many(10))
      const { bytes } = store.usage()
      await store.trim('orders', { ...POLICY, maxBytes: bytes / 2 })
      expect(store.log(author.ref)?.floor).toBeGreaterThan(5)
      expect(store.log(author.ref)?.records).toBeGreaterThan(3)
      expect(store.usage().bytes).toBeLessThanOrEqual(bytes / 2)
    })

    it('trim: keepLast compacts what is superseded and never the last value', async () => {
      const author = new Author()
      const value = (key: string, text: string): { key: string; payload: Uint8Array } => ({
        key,
        payload: Buffer.from(text)
      })
      await append(store, [
        author.write([value('a', '1')]),
        author.write([value('b', '1')]),
        author.write([value('a', '2')]),
        author.write([value('a', '3')])
      ])
      await store.trim('orders', { ...POLICY, keepLast: 1 })
      const check = async (): Promise<void> => {
        const entries = await store.readJournal('orders', 0)
        expect(
          entries.map(({ offset, record }) => [relative(offset), record !== undefined])
        ).toEqual([
          [1, true],
          [2, false],
          [3, true]
        ])
        expect(entries[1]?.header?.first).toBe(3)
        expect(store.log(author.ref)).toMatchObject({ floor: 2, head: 4 })
        const log = await store.readLog(author.ref, 1)
        expect(log.map(({ head, record }) => [head.header.first, record !== undefined])).toEqual([
          [2, true],
          [3, false],
          [4, true]
        ])
      }
      await check()
      await reopen()
      expect(store.report.damaged).toEqual([])
      await check()
      await store.trim('orders', { ...POLICY, maxMessages: 1, maxBytes: 1, keepLast: 1 })
      expect((await store.lastOffsets('orders', () => true)).map(relative)).toEqual([3])
      await check()
    })
  })
}
