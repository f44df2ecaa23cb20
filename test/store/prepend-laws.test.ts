import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JournalEntry, Store } from '../../src/store/contract.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { FaultyDisk } from './faulty-level.ts'
import { Author, openStore } from './store-fixtures.ts'

const LOGS = 2
const RECORDS = 12
const RETENTION = {
  maxAgeMs: Infinity,
  maxBytes: Infinity,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim'
} as const

const authors = Array.from({ length: LOGS }, (_, index) => new Author({ seed: index + 1 }))
const pool = authors.map((author) =>
  Array.from({ length: RECORDS }, (_, index) => author.write((index % 3) + 1))
)

const itemsOf = (records: readonly SealedRecord[]): { record: SealedRecord; ageMs: number }[] =>
  records.map((record) => ({ record, ageMs: 0 }))

async function entriesOf(store: Store): Promise<JournalEntry[]> {
  const { first, next } = store.journal('orders')
  const entries: JournalEntry[] = []
  for (let offset = first; offset < next;) {
    const page = await store.readJournal('orders', offset, { maxBytes: 1000 })
    const last = page.at(-1)
    if (last === undefined) break
    offset = last.offset + last.count
    entries.push(...page)
  }
  return entries
}

async function prepend(
  store: Store,
  { ref }: Author,
  items: ReturnType<typeof itemsOf>
): Promise<void> {
  const outcome = await store.prepend(ref, items)
  expect(outcome).toBe(items.length === 0 ? 'broken-chain' : 'prepended')
}

async function reopened(disk: FaultyDisk): Promise<Store> {
  const store = await openStore(disk)
  expect(store.report.damaged).toEqual([])
  return store
}

const step = fc.record({
  kind: fc.constantFrom('prepend', 'prepend', 'append', 'append', 'restart', 'crash'),
  log: fc.nat(LOGS - 1),
  count: fc.integer({ min: 1, max: 3 })
})

describe('laws of prepends', () => {
  it('prepend: with what is appended the journal has each log from its floor on, in order', async () => {
    const starts = fc.array(fc.integer({ min: 3, max: 8 }), { minLength: LOGS, maxLength: LOGS })
    await fc.assert(
      fc.asyncProperty(starts, fc.array(step, { maxLength: 24 }), async (from, steps) => {
        const disk = new FaultyDisk()
        let store = await openStore(disk)
        const low = [...from]
        const high = [...from]
        for (const [log, author] of authors.entries()) {
          await store.raiseFloor(author.ref, pool[log]?.[low[log]!]?.header.first ?? 1)
        }
        let cursor = store.journal('orders').next
        let passed = 0
        for (const { count, kind, log } of steps) {
          const records = pool[log] as SealedRecord[]
          if (kind === 'append') {
            const items = itemsOf(records.slice(high[log], high[log]! + count))
            await store.append(items, { sync: false })
            high[log] = Math.min(RECORDS, high[log]! + count)
          } else if (kind === 'prepend') {
            const below = Math.max(0, low[log]! - count)
            const items = itemsOf(records.slice(below, low[log]))
            await prepend(store, authors[log]!, items)
            low[log] = below
          } else {
            await store[kind === 'restart' ? 'stop' : 'flush']()
            store = await reopened(disk)
          }
          const entries = await entriesOf(store)
          for (const index of authors.keys()) {
            const publisher = authors[index]!.ref.publisher
            const own = entries.filter(({ header }) => header?.publisher === publisher)
            const expected = pool[index]!.slice(low[index], high[index])
            expect(own.map(({ header }) => header?.first)).toEqual(
              expected.map(({ header }) => header.first)
            )
            expect(own.some(({ late }) => late)).toBe(false)
            expect(store.log(authors[index]!.ref)?.records).toBe(expected.length)
            const read = await store.readLog(authors[index]!.ref, 1)
            expect(read.map(({ head }) => head.header.first)).toEqual(
              expected.map(({ header }) => header.first)
            )
          }
          // Who was at the end reads what was appended since, and nothing of what came in front.
          const appended = high.reduce((sum, top, index) => sum + top - from[index]!, 0)
          const since = await store.readJournal('orders', cursor)
          expect(since.length).toBe(appended - passed)
          passed = appended
          cursor = store.journal('orders').next
        }
        await store.stop()
      }),
      { numRuns: 150 }
    )
  })

  it('prepend: at once with trims and others, what stays is told apart from what went', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 30 }), async (maxMessages) => {
        const store = await openStore(new FaultyDisk())
        for (const log of authors.keys()) {
          await store.append(itemsOf(pool[log]!.slice(6)), { sync: false })
        }
        await Promise.all([
          store.prepend(authors[0]!.ref, itemsOf(pool[0]!.slice(3, 6))),
          store.trim('orders', { ...RETENTION, maxMessages }),
          store.prepend(authors[1]!.ref, itemsOf(pool[1]!.slice(3, 6))),
          store.trim('orders', { ...RETENTION, maxMessages })
        ])
        const entries = await entriesOf(store)
        expect(entries.every(({ record }) => record !== undefined)).toBe(true)
        for (const { ref } of authors) {
          const own = entries.filter(({ header }) => header?.publisher === ref.publisher)
          const read = await store.readLog(ref, 1)
          expect(own.map(({ header }) => header?.first)).toEqual(
            read.map(({ head }) => head.header.first)
          )
          expect(store.log(ref)?.records).toBe(own.length)
          const bytes = own.reduce((sum, { record }) => sum + (record?.bytes.length ?? 0), 0)
          expect(store.log(ref)?.bytes).toBe(bytes)
        }
        await store.stop()
      }),
      { numRuns: 60 }
    )
  })
})
