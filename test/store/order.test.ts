import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GiveUpReason, JournalEntry, Store } from '../../src/store/contract.ts'
import type { RecordHeader, SealedRecord } from '../../src/wire/record.ts'
import { FaultyDisk } from './faulty-level.ts'
import { Author, openStore } from './store-fixtures.ts'

const COUNTS = [1, 3, 1, 2, 1]
const LENGTH = COUNTS.reduce((sum, count) => sum + count)

/** Two publishers, three sessions each. */
const authors: Author[] = []
const pool: SealedRecord[][] = []
for (const seed of [1, 2]) {
  let before: Author['end'] | undefined
  for (const session of ['0001000000000001', '0001000000000002', '0001000000000003']) {
    const author = new Author({ seed, session, ...(before === undefined ? {} : { before }) })
    authors.push(author)
    pool.push(COUNTS.map((count) => author.write(count)))
    before = author.end
  }
}

const log = fc.nat(pool.length - 1)
const sequence = fc.integer({ min: 1, max: LENGTH + 1 })
const reason = fc.constantFrom<GiveUpReason>('skipped', 'lost', 'unwanted')
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      log,
      records: fc.array(fc.nat(COUNTS.length - 1), { minLength: 1, maxLength: 4 }),
      sync: fc.boolean()
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('giveUp' as const),
      log,
      to: fc.nat(COUNTS.length - 1),
      reason
    })
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('raise' as const), log, sequence }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('powerLoss' as const), kept: fc.nat(6) })
  }
)

const plainSteps = step.filter(({ kind }) => kind !== 'giveUp' && kind !== 'raise')
const plans = fc.oneof(
  { weight: 3, arbitrary: fc.array(step, { minLength: 1, maxLength: 30 }) },
  { weight: 1, arbitrary: fc.array(plainSteps, { minLength: 10, maxLength: 60 }) }
)

async function journalOf(store: Store): Promise<JournalEntry[]> {
  const { first, next } = store.journal('orders')
  const entries: JournalEntry[] = []
  for (let offset = first; offset < next;) {
    const page = await store.readJournal('orders', offset)
    const last = page.at(-1)
    if (last === undefined) break
    offset = last.offset + last.count
    entries.push(...page)
  }
  return entries
}

const nameOf = ({ first, publisher, session }: RecordHeader): string =>
  `${publisher} ${session} ${first}`

/** Places of one publisher compare like this: by session, then by sequence. */
const placeOf = ({ first, session }: RecordHeader): string =>
  `${session} ${`${first}`.padStart(4, '0')}`

function checkOrder(entries: readonly JournalEntry[]): void {
  const tops = new Map<string, string>()
  for (const { header, late } of entries) {
    if (header === undefined) continue
    const top = tops.get(header.publisher) ?? ''
    const isBehind = placeOf(header) < top
    expect(!isBehind || late, `${nameOf(header)} behind ${top}`).toBe(true)
    if (!isBehind) tops.set(header.publisher, placeOf(header))
  }
}

/** Nothing is missing: then the journal has what the logs have, once, and they count what they hold. */
async function checkWhole(store: Store): Promise<void> {
  for (const { ref } of authors) {
    await store.giveUp(ref, { from: 1, to: Infinity }, 'lost')
  }
  const held: string[] = []
  for (const { ref } of authors) {
    const entries = await store.readLog(ref, 1)
    held.push(...entries.map(({ head }) => nameOf(head.header)))
    const state = store.log(ref)
    const bytes = entries.reduce((sum, { record }) => sum + (record?.bytes.length ?? 0), 0)
    expect([state?.records ?? 0, state?.bytes ?? 0]).toEqual([entries.length, bytes])
  }
  const journal = await journalOf(store)
  const named = journal.flatMap(({ header, record }) =>
    header === undefined || record === undefined ? [] : [nameOf(header)]
  )
  expect(named.toSorted()).toEqual(held.toSorted())
  checkOrder(journal)
}

describe('order of the journal', () => {
  for (const overlap of [false, true]) {
    const how = overlap ? 'at once' : 'one after the other'
    it(`any order of appends, floors, ranges given up and restarts, ${how}`, async () => {
      await fc.assert(
        fc.asyncProperty(plans, async (steps) => {
          const disk = new FaultyDisk()
          const damaged: unknown[] = []
          let calls: Promise<unknown>[] = []
          const open = async (): Promise<Store> => {
            const opened = await openStore(disk)
            damaged.push(...opened.report.damaged)
            opened.events.on('damaged', ({ range }) => damaged.push(range))
            return opened
          }
          let store = await open()
          for (const one of steps) {
            const { ref } = authors['log' in one ? one.log : 0] as Author
            if (one.kind === 'append') {
              const records = pool[one.log] as SealedRecord[]
              const items = one.records.map((index) => ({
                record: records[index] as SealedRecord,
                ageMs: 0,
                floor: 1,
                expectsBefore: true
              }))
              calls.push(store.append(items, { sync: one.sync }))
            } else if (one.kind === 'giveUp') {
              const to = COUNTS.slice(0, one.to + 1).reduce((sum, count) => sum + count)
              calls.push(store.giveUp(ref, { from: 1, to }, one.reason))
            } else if (one.kind === 'raise') {
              calls.push(store.raiseFloor(ref, one.sequence))
            } else {
              await Promise.all(calls)
              if (one.kind === 'reopen') await store.stop()
              else await disk.losePower(one.kept)
              store = await open()
            }
            if (overlap) continue
            await Promise.all(calls)
            calls = []
            checkOrder(await journalOf(store))
          }
          await Promise.all(calls)
          // Each session waits for the one before, so that nothing is late of which nothing was given up.
          const isPlain = !steps.some(({ kind }) => kind === 'giveUp' || kind === 'raise')
          const late = (await journalOf(store)).filter((entry) => entry.late)
          expect(isPlain ? late : []).toEqual([])
          await checkWhole(store)
          await store.stop()
          store = await open()
          await checkWhole(store)
          expect(damaged).toEqual([])
          await store.stop()
        }),
        { numRuns: 120 }
      )
    })
  }
})
