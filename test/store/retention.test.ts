import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JournalEntry, Store } from '../../src/store/contract.ts'
import { decodeMessages } from '../../src/wire/body.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { append, Author, memoryDisk, openStore, stillClock } from './store-fixtures.ts'

const HOUR = 3_600_000
const NONE = {
  maxAgeMs: Infinity,
  maxBytes: Infinity,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim'
} as const

async function entriesOf(store: Store): Promise<JournalEntry[]> {
  const { first, next } = store.journal('orders')
  const entries: JournalEntry[] = []
  let offset = first
  while (offset < next) {
    const page = await store.readJournal('orders', offset)
    const last = page.at(-1)
    if (last === undefined) break
    entries.push(...page)
    offset = last.offset + last.count
  }
  return entries
}

function payloads(record: SealedRecord | undefined): string[] {
  if (record === undefined) return []
  return decodeMessages(record.body, record.header.count).map(({ payload }) =>
    Buffer.from(payload).toString()
  )
}

const steps = fc.array(
  fc.record({ log: fc.nat(2), count: fc.integer({ min: 1, max: 4 }), waitMs: fc.nat(HOUR) }),
  { minLength: 1, maxLength: 20 }
)

describe('retention', () => {
  it('trim: what is left is the shortest tail of the journal that breaks no limit, over a restart too', async () => {
    const policies = fc.record({
      maxAgeMs: fc.oneof(fc.constant(Infinity), fc.integer({ min: 1, max: 10 * HOUR })),
      maxMessages: fc.oneof(fc.constant(Infinity), fc.nat(40)),
      maxBytes: fc.oneof(fc.constant(Infinity), fc.nat(5000))
    })
    await fc.assert(
      fc.asyncProperty(steps, policies, async (written, limits) => {
        const disk = await memoryDisk()
        const clock = stillClock(1000 * HOUR)
        let store = await openStore(disk, { clock })
        const authors = [1, 2, 3].map((seed) => new Author({ seed }))
        for (const { log, count, waitMs } of written) {
          await append(store, [(authors[log] as Author).write(count)])
          clock.move(waitMs)
        }
        const before = await entriesOf(store)
        const horizon = clock.now() - limits.maxAgeMs
        const kept = [...before]
        const breaks = (): boolean => {
          const [oldest] = kept
          if (oldest === undefined) return false
          const bytes = kept.reduce((sum, { record }) => sum + (record?.bytes.length ?? 0), 0)
          const messages = kept.reduce((sum, { count }) => sum + count, 0)
          return oldest.bornAt < horizon || bytes > limits.maxBytes || messages > limits.maxMessages
        }
        while (breaks()) kept.shift()
        const report = await store.trim('orders', { ...NONE, ...limits })
        expect(report.records).toBe(before.length - kept.length)
        const digests = (entries: readonly JournalEntry[]): unknown[] =>
          entries.map(({ offset, record }) => [
            offset,
            Buffer.from(record?.digest ?? []).toString('hex')
          ])
        expect(digests(await entriesOf(store))).toEqual(digests(kept))
        await store.stop()
        store = await openStore(disk, { clock })
        expect(digests(await entriesOf(store))).toEqual(digests(kept))
        expect(store.report.damaged).toEqual([])
        expect(store.usage().records).toBe(kept.length)
        expect(store.usage().bytes).toBe(
          kept.reduce((sum, { record }) => sum + (record?.bytes.length ?? 0), 0)
        )
        await store.stop()
      }),
      { numRuns: 60 }
    )
  })

  it('keepLast: the newest values of every key stay, whatever else is asked for', async () => {
    const messages = fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 15
    })
    await fc.assert(
      fc.asyncProperty(
        messages,
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (written, keepLast, old) => {
          const clock = stillClock(1000 * HOUR)
          const store = await openStore(await memoryDisk(), { clock })
          const author = new Author()
          const values: [string, string][] = []
          for (const keys of written) {
            const body = keys.map((key) => {
              values.push([`${key}`, `${values.length}`])
              return { key: `${key}`, payload: Buffer.from(`${values.length - 1}`) }
            })
            await append(store, [author.write(body)])
          }
          if (old) clock.move(10 * HOUR)
          const trim = (): Promise<unknown> =>
            store.trim('orders', {
              ...NONE,
              maxAgeMs: HOUR,
              maxMessages: old ? 1 : Infinity,
              keepLast
            })
          await trim()
          const entries = await entriesOf(store)
          const left = new Set(
            entries.flatMap(({ record, count }) =>
              record === undefined
                ? []
                : decodeMessages(record.body, count).map(({ payload }) =>
                    Buffer.from(payload).toString()
                  )
            )
          )
          for (const key of ['0', '1', '2', '3']) {
            const newest = values.filter(([name]) => name === key).slice(old ? -1 : -keepLast)
            for (const [, value] of newest) expect(left).toContain(value)
          }
          // Every record that is whole holds at least one wanted value.
          const wanted = new Set(
            ['0', '1', '2', '3'].flatMap((key) =>
              values
                .filter(([name]) => name === key)
                .slice(-keepLast)
                .map(([, value]) => value)
            )
          )
          const useless = entries.filter(
            ({ record, count }) =>
              record !== undefined &&
              decodeMessages(record.body, count).every(
                ({ payload }) => !wanted.has(Buffer.from(payload).toString())
              )
          )
          expect(useless).toEqual([])
          expect(entries[0]?.record).toBeDefined()
          await store.stop()
        }
      ),
      { numRuns: 60 }
    )
  })

  it('keepLast and last offsets: what is newest is so by hybrid time, in whatever order it came', async () => {
    const value = fc.record({
      author: fc.nat(2),
      key: fc.nat(2),
      timeMs: fc.integer({ min: 1, max: 9 })
    })
    const schedule = fc.infiniteStream(fc.nat(2))
    await fc.assert(
      fc.asyncProperty(
        fc.array(value, { minLength: 2, maxLength: 15 }),
        fc.tuple(schedule, schedule),
        fc.integer({ min: 1, max: 3 }),
        async (written, orders, keepLast) => {
          const authors = [1, 2, 3].map((seed) => new Author({ seed }))
          const clocks = [0, 0, 0]
          const logs: SealedRecord[][] = [[], [], []]
          for (const { author, key, timeMs } of written) {
            const log = logs[author] as SealedRecord[]
            clocks[author] = (clocks[author] ?? 0) + timeMs
            const message = { suffix: `/${key}`, payload: Buffer.from(`${author}/${log.length}`) }
            const before = log.at(-1)?.digest
            log.push(
              (authors[author] as Author).seal(log.length + 1, before, [message], clocks[author])
            )
          }
          const results: unknown[] = []
          for (const order of orders) {
            const store = await openStore(await memoryDisk(), { clock: stillClock(1000 * HOUR) })
            const left = logs.map((log) => [...log])
            for (const author of order) {
              const record = left[author]?.shift()
              if (record !== undefined) await append(store, [record])
              else if (left.every((log) => log.length === 0)) break
            }
            const lastOffsets = await store.lastOffsets('orders', () => true)
            const before = await entriesOf(store)
            const last = lastOffsets.map((at) => before.find(({ offset }) => offset === at)?.record)
            await store.trim('orders', { ...NONE, keepLast })
            const kept = (await entriesOf(store)).map(({ record }) => record)
            results.push([last, kept].map((records) => records.flatMap(payloads).toSorted()))
            await store.stop()
          }
          expect(results[0]).toEqual(results[1])
        }
      ),
      { numRuns: 40 }
    )
  })

  it('keepLast: a tombstone goes after twice the age limit', async () => {
    const clock = stillClock(1000 * HOUR)
    const store = await openStore(await memoryDisk(), { clock })
    const author = new Author()
    await append(store, [
      author.write([{ key: 'a', payload: Buffer.of(1) }]),
      author.write([{ key: 'a' }])
    ])
    const policy = { ...NONE, maxAgeMs: HOUR, keepLast: 1 }
    await store.trim('orders', policy)
    expect((await entriesOf(store)).map(({ header }) => header?.first)).toEqual([2])
    clock.move(2 * HOUR)
    await store.trim('orders', policy)
    expect(await entriesOf(store)).toHaveLength(1)
    clock.move(HOUR)
    await store.trim('orders', policy)
    expect(await entriesOf(store)).toEqual([])
    await store.stop()
  })
})
