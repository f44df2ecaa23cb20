import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type {
  AppendItem,
  GiveUpReason,
  JournalEntry,
  LogRef,
  LogState,
  SequenceRange,
  Store
} from '../../src/store/contract.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import type { EncodableMessage } from '../../src/wire/body.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import type { PreviousSession, SealedRecord } from '../../src/wire/record.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { missingIn } from '../../src/wire/vector.ts'
import { FaultyDisk, ioError } from './faulty-level.ts'
import { openStore } from './store-fixtures.ts'

const signer = createSigner(Buffer.alloc(32, 7))
const publisher = peerIdFromPublicKey(signer.publicKey)
const SESSIONS = ['0001000000000001', '0002000000000001', '0003000000000001']
/** Messages of each record of a session. */
const COUNTS = [1, 2, 1, 3, 1]
const LENGTH = COUNTS.reduce((sum, count) => sum + count, 0)

function seal(session: string, before: PreviousSession | undefined): SealedRecord[] {
  const records: SealedRecord[] = []
  let first = 1
  for (const count of COUNTS) {
    const builder = new BodyBuilder()
    for (let index = 0; index < count; index++) {
      builder.add({ suffix: '/a', payload: Buffer.from(`${first + index}`) } as EncodableMessage)
    }
    records.push(
      sealRecord(
        {
          session,
          channel: 'orders',
          first,
          count,
          previous: records.at(-1)?.digest,
          before: first === 1 ? before : undefined,
          time: { ms: 1000 + first, counter: 0 },
          body: Buffer.from(builder.finish())
        },
        signer
      )
    )
    first += count
  }
  return records
}

/** By session; each names the end of the one before. */
const POOL: SealedRecord[][] = []
for (const session of SESSIONS) {
  const last = POOL.at(-1)?.at(-1)
  POOL.push(
    seal(session, last && { session: last.header.session, sequence: LENGTH, digest: last.digest })
  )
}

type Step =
  | { readonly kind: 'append'; readonly session: number; readonly record: number }
  | {
      readonly kind: 'giveUp'
      readonly session: number
      readonly record: number
      readonly last: number
      readonly reason: GiveUpReason
    }
  | { readonly kind: 'restart' }
  | { readonly kind: 'powerLoss'; readonly kept: number }
  | { readonly kind: 'failure' }

const place = { session: fc.nat(SESSIONS.length - 1), record: fc.nat(COUNTS.length - 1) }
const append = fc.record({ kind: fc.constant('append' as const), ...place })
const giveUp = fc.record({
  kind: fc.constant('giveUp' as const),
  ...place,
  last: fc.nat(COUNTS.length - 1),
  reason: fc.constantFrom<GiveUpReason>('skipped', 'lost', 'expired')
})
const restart = fc.constant({ kind: 'restart' as const })
const powerLoss = fc.record({ kind: fc.constant('powerLoss' as const), kept: fc.nat(4) })
const failure = fc.constant({ kind: 'failure' as const })

const steps = (
  ...more: { weight: number; arbitrary: fc.Arbitrary<Step> }[]
): fc.Arbitrary<Step[]> =>
  fc.array(fc.oneof({ weight: 8, arbitrary: append }, { weight: 2, arbitrary: giveUp }, ...more), {
    minLength: 1,
    maxLength: 40
  })

const refOf = (session: number): LogRef => ({
  channel: 'orders',
  publisher,
  session: SESSIONS[session] as string
})

const rangeOf = ({ session, record, last }: { session: number; record: number; last: number }) => {
  const pool = POOL[session] as SealedRecord[]
  const [from, to] = [pool[record], pool[Math.max(record, last)]] as [SealedRecord, SealedRecord]
  return { from: from.header.first, to: to.header.first + to.header.count - 1 }
}

async function entriesOf(store: Store): Promise<JournalEntry[]> {
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

const nameOf = ({ header }: { header: { session: string; first: number } | undefined }): string =>
  `${header?.session}/${`${header?.first}`.padStart(3, '0')}`

const overlaps = (ranges: readonly SequenceRange[], { from, to }: SequenceRange): boolean =>
  ranges.some((range) => range.from <= to && from <= range.to)

/** Of the first session that is not complete; Infinity when all are. */
function blockedAt(store: Store): number {
  const index = SESSIONS.findIndex((_, session) => {
    const log = store.log(refOf(session))
    return log !== undefined && missingIn(log).length > 0
  })
  return index === -1 ? Infinity : index
}

function stateOf({ session, ...log }: LogState): unknown[] {
  const ranges = [log.islands, log.voids, log.skipped].map((list) =>
    list.map(({ from, to }) => `${from}-${to}`)
  )
  const digest = Buffer.from(log.headDigest ?? []).toString('hex')
  return [session, log.floor, log.head, log.expected, log.records, log.bytes, digest, ...ranges]
}

const statesOf = (store: Store): unknown[] =>
  [...store.logs()].sort((a, b) => (a.session < b.session ? -1 : 1)).map(stateOf)

/** What is behind something later is marked; nothing else is, where nothing was given up. */
function checkOrder(entries: readonly JournalEntry[], exact: boolean): void {
  let top = ''
  for (const entry of entries) {
    const isBehind = nameOf(entry) < top
    const late = isBehind || (entry.late && !exact)
    expect([nameOf(entry), entry.late]).toEqual([nameOf(entry), late])
    if (!isBehind) top = nameOf(entry)
  }
}

async function restarted(store: Store, disk: FaultyDisk): Promise<Store> {
  const before = statesOf(store)
  await store.stop()
  const again = await openStore(disk)
  expect(again.report.damaged).toEqual([])
  expect(statesOf(again)).toEqual(before)
  return again
}

/** Appends a record: what was skipped is taken, what was given up otherwise is not. */
async function isTaken(
  store: Store,
  { session, record }: { session: number; record: number }
): Promise<boolean> {
  const range = rangeOf({ session, record, last: record })
  const log = store.log(refOf(session))
  const isSkipped = overlaps(log?.skipped ?? [], range)
  const isGone = overlaps(log?.voids ?? [], range) && !isSkipped
  const [outcome] = await store.append([itemOf(session, record)], { sync: false })
  expect(outcome === 'below-floor').toBe(isGone)
  expect(!isSkipped || outcome === 'appended').toBe(true)
  return outcome === 'appended' || outcome === 'island'
}

function itemOf(session: number, record: number): AppendItem {
  const sealed = POOL[session]?.[record] as SealedRecord
  return { record: sealed, ageMs: 0, floor: 1, expectsBefore: true }
}

async function giveUpRest(store: Store): Promise<void> {
  for (const session of SESSIONS.keys()) {
    await store.giveUp(refOf(session), { from: 1, to: LENGTH }, 'lost')
  }
  expect(blockedAt(store)).toBe(Infinity)
}

describe('laws of sessions', () => {
  it('order: in whatever order records come, sessions follow each other, each record once', async () => {
    await fc.assert(
      fc.asyncProperty(steps({ weight: 1, arbitrary: restart }), async (plan) => {
        const disk = new FaultyDisk()
        let store = await openStore(disk)
        const accepted = new Set<string>()
        for (const step of plan) {
          if (step.kind === 'restart') store = await restarted(store, disk)
          const known = (await entriesOf(store)).length
          if (step.kind === 'giveUp') {
            await store.giveUp(refOf(step.session), rangeOf(step), step.reason)
          }
          if (step.kind === 'append') {
            const record = POOL[step.session]?.[step.record] as SealedRecord
            if (await isTaken(store, step)) accepted.add(nameOf(record))
          }
          // What came into the journal by this step waited for no earlier session.
          const blocked = blockedAt(store)
          for (const entry of (await entriesOf(store)).slice(known)) {
            const session = SESSIONS.indexOf(entry.header?.session as string)
            expect(session <= blocked || entry.late).toBe(true)
          }
        }
        await giveUpRest(store)
        const entries = await entriesOf(store)
        expect(entries.map(nameOf).toSorted()).toEqual([...accepted].toSorted())
        checkOrder(entries, !plan.some(({ kind }) => kind === 'giveUp'))
        await store.stop()
      }),
      { numRuns: 200 }
    )
  })

  it('order: the same where calls overlap', async () => {
    await fc.assert(
      fc.asyncProperty(steps(), async (plan) => {
        const store = await openStore(new FaultyDisk())
        const accepted: string[] = []
        const calls = plan.map(async (step) => {
          if (step.kind === 'giveUp') {
            await store.giveUp(refOf(step.session), rangeOf(step), step.reason)
          } else if (step.kind === 'append') {
            const record = POOL[step.session]?.[step.record] as SealedRecord
            const item = itemOf(step.session, step.record)
            const [outcome] = await store.append([item], { sync: false })
            if (outcome === 'appended' || outcome === 'island') accepted.push(nameOf(record))
          }
        })
        await Promise.all(calls)
        await giveUpRest(store)
        const entries = await entriesOf(store)
        expect(entries.map(nameOf).toSorted()).toEqual(accepted.toSorted())
        const records = store.logs().reduce((sum, log) => sum + log.records, 0)
        expect(records).toBe(accepted.length)
        checkOrder(entries, false)
        await store.stop()
      }),
      { numRuns: 200 }
    )
  })

  it('crash: what was given up, expected and held stays true at every commit', async () => {
    const crashes = [
      { weight: 1, arbitrary: powerLoss },
      { weight: 1, arbitrary: failure }
    ]
    await fc.assert(
      fc.asyncProperty(steps(...crashes), async (plan) => {
        const disk = new FaultyDisk()
        let store = await openStore(disk)
        let calls: Promise<unknown>[] = []
        for (const step of plan) {
          if (step.kind === 'giveUp') {
            calls.push(store.giveUp(refOf(step.session), rangeOf(step), step.reason))
          } else if (step.kind === 'append') {
            const item = itemOf(step.session, step.record)
            calls.push(store.append([item], { sync: step.record === 0 }))
          } else if (step.kind === 'failure') {
            // Whatever has not been written by now is not written any more.
            disk.failure = ioError()
            await Promise.allSettled(calls)
            calls = []
            disk.failure = undefined
            store = await openStore(disk)
          } else if (step.kind === 'powerLoss') {
            await Promise.all(calls)
            calls = []
            await disk.losePower(step.kept)
            store = await openStore(disk)
          }
          expect(store.report.damaged).toEqual([])
        }
        await Promise.all(calls)
        await giveUpRest(store)
        const entries = await entriesOf(store)
        expect(new Set(entries.map(nameOf)).size).toBe(entries.length)
        const held: string[] = []
        for (const session of SESSIONS.keys()) {
          const log = await store.readLog(refOf(session), 1)
          held.push(...log.map(({ head }) => nameOf(head)))
        }
        expect(entries.map(nameOf).toSorted()).toEqual(held)
        checkOrder(entries, false)
        const before = statesOf(store)
        await store.stop()
        store = await openStore(disk)
        expect(statesOf(store)).toEqual(before)
        await store.stop()
      }),
      { numRuns: 200 }
    )
  })
})
