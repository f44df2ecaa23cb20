import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LogRef, Store } from '../../src/store/contract.ts'
import { openHead } from '../../src/wire/sealed-record.ts'
import { FaultyDisk } from './faulty-level.ts'
import {
  append,
  Author,
  DISKS,
  memoryDisk,
  openStore,
  stillClock,
  storyOf
} from './store-fixtures.ts'
import type { Disk } from './store-fixtures.ts'

const nameOf = ({ channel, session }: LogRef): string => `${channel} ${session.at(-1)}`

describe.each(DISKS)('reads of logs on %s', (_name, createDisk) => {
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

  it('readLog: under a writer that never pauses it reports no damage, and does not wait for its end', async () => {
    const author = new Author()
    const [early, ...rest] = Array.from({ length: 601 }, () =>
      author.write([{ payload: Buffer.alloc(2000) }])
    )
    let damaged = 0
    let reads = 0
    let empty = 0
    store.events.on('damaged', () => damaged++)
    let isWriting = true
    const write = async (): Promise<void> => {
      // Islands, holes and a head that moves: always several appends under way.
      const under = new Set<Promise<unknown>>()
      await append(store, [early!])
      for (let at = 0; at < rest.length; at += 4) {
        const [a, b, c, d] = rest.slice(at, at + 4)
        for (const record of [c, a, d, b]) {
          const done = append(store, [record!]).finally(() => under.delete(done))
          under.add(done)
        }
        if (under.size > 24) await Promise.race(under)
      }
      await Promise.all(under)
      isWriting = false
    }
    const read = async (): Promise<void> => {
      while (isWriting) {
        const log = store.log(author.ref)
        if (log === undefined) {
          await new Promise((resolve) => setImmediate(resolve))
          continue
        }
        const from = Math.max(1, log.head - (reads % 40))
        const entries = await store.readLog(author.ref, from, { maxBytes: 20_000 })
        if (log.head >= log.floor && entries.length === 0) empty++
        await store.readLogBefore(author.ref, log.head + 1, { maxBytes: 20_000 })
        await store.scrub(50_000)
        if (isWriting) reads++
      }
    }
    await Promise.all([write(), read(), read()])
    expect({ damaged, empty }).toEqual({ damaged: 0, empty: 0 })
    expect(reads).toBeGreaterThan(2)
    expect(store.log(author.ref)).toMatchObject({ head: 601, records: 601, islands: [] })
  })

  it('readLog: what is held far above a hole is read while the hole is being filled', async () => {
    const author = new Author()
    const records = author.many(30)
    await append(store, [records[0]!, ...records.slice(2)], { floor: 1 })
    const filling = append(store, [records[1]!])
    const reading = store.readLog(author.ref, 20, { to: 22 })
    expect((await reading).map(({ head }) => head.header.first)).toEqual([20, 21, 22])
    await filling
    expect(await store.readLog(author.ref, 1)).toHaveLength(30)
  })

  it('readLogBefore: the records that end right below, ascending, by bytes, down to a hole or the floor', async () => {
    const author = new Author()
    const records = Array.from({ length: 6 }, () => author.write(2))
    await append(store, [...records.slice(0, 2), ...records.slice(3)], { floor: 1 })
    const firsts = async (before: number, maxBytes?: number): Promise<number[]> => {
      const options = maxBytes === undefined ? {} : { maxBytes }
      const entries = await store.readLogBefore(author.ref, before, options)
      return entries.map(({ head }) => head.header.first)
    }
    expect(await firsts(13)).toEqual([7, 9, 11])
    expect(await firsts(13, 1)).toEqual([11])
    expect(await firsts(9)).toEqual([7])
    expect(await firsts(7)).toEqual([])
    expect(await firsts(5)).toEqual([1, 3])
    expect(await firsts(4)).toEqual([])
    expect(await firsts(1)).toEqual([])
    await store.raiseFloor(author.ref, 3)
    expect(await firsts(5)).toEqual([3])
    expect(await store.readLogBefore({ ...author.ref, channel: 'none' }, 5)).toEqual([])
  })

  it('append: a head without its body is held, passed over by the journal, and read back as a head', async () => {
    const author = new Author()
    const records = [author.write(2), author.write(3), author.write(1), author.write(2)]
    const head = (index: number): ReturnType<typeof openHead> => {
      const { bytes, headLength } = records[index]!
      return openHead(bytes.subarray(0, headLength))
    }
    const items = [records[0]!, head(1), records[2]!, head(3)].map((record) => ({
      record,
      ageMs: 0
    }))
    expect(await store.append(items, { sync: false })).toEqual(Array(4).fill('appended'))
    const sizes = [0, 1, 2, 3].map((index) =>
      index % 2 === 0 ? records[index]!.bytes.length : records[index]!.headLength
    )
    const check = async (): Promise<void> => {
      const bytes = sizes.reduce((sum, size) => sum + size)
      expect(store.log(author.ref)).toMatchObject({ head: 8, records: 4, bytes })
      expect(store.channelUsage('orders')).toEqual({ bytes, messages: 3 })
      expect(await storyOf(store)).toEqual(['1:1', '1:6'])
      const entries = await store.readLog(author.ref, 1)
      expect(entries.map(({ record }) => record !== undefined)).toEqual([true, false, true, false])
      expect(await append(store, [records[1]!])).toEqual(['duplicate'])
    }
    await check()
    await store.stop()
    store = await openStore(disk)
    expect(store.report.damaged).toEqual([])
    await check()
    expect(await append(store, [author.write()])).toEqual(['appended'])
  })

  it('changed: every change of what is held or expected is announced', async () => {
    const clock = stillClock(1e9)
    await store.stop()
    store = await openStore(disk, { clock })
    const known = new Map<string, string>()
    const stateOf = (ref: LogRef): string | undefined => {
      const log = store.log(ref)
      if (log === undefined) return undefined
      const { expected, floor, head, islands, skipped, voids } = log
      const ranges = [islands, voids, skipped].map((list) =>
        list.map(({ from, to }) => `${from}-${to}`).join(',')
      )
      return [floor, head, expected, ...ranges].join(' / ')
    }
    store.events.on('changed', ({ logs }) => {
      for (const ref of logs) {
        const state = stateOf(ref)
        if (state === undefined) known.delete(nameOf(ref))
        else known.set(nameOf(ref), state)
      }
    })
    const check = (): void => {
      const logs = store.logs().map((log) => [nameOf(log), stateOf(log)] as const)
      expect(new Map(logs)).toEqual(known)
    }
    const author = new Author()
    const records = author.many(9)
    const next = new Author({ session: '0001000000000002', before: author.end })
    const policy = { maxAgeMs: 1000, maxBytes: Infinity, maxMessages: Infinity } as const
    const rest = { keepLast: undefined, untilReceived: false, onFull: 'trim' } as const
    const steps: (() => Promise<unknown>)[] = [
      () => append(store, [records[4]!], { floor: 5 }),
      () =>
        store.prepend(
          author.ref,
          records.slice(2, 4).map((record) => ({ record, ageMs: 0 }))
        ),
      () => append(store, [records[6]!]),
      () =>
        store.append([{ record: next.write(), ageMs: 0, expectsBefore: true }], { sync: false }),
      () => store.giveUp(author.ref, { from: 6, to: 6 }, 'skipped'),
      () => append(store, [records[5]!]),
      () => store.giveUp(author.ref, { from: 6, to: 60 }, 'lost'),
      () => store.raiseFloor(author.ref, 5),
      () => store.raiseFloor({ ...author.ref, channel: 'bills' }, 5),
      () => {
        clock.move(1001)
        return store.trim('orders', { ...policy, ...rest })
      },
      () => {
        clock.move(2002)
        return store.trim('orders', { ...policy, ...rest })
      }
    ]
    for (const step of steps) {
      await step()
      check()
    }
    expect(store.logs('orders')).toEqual([])
  })

  it('channelUsage: of a channel alone', async () => {
    const [one, two] = [new Author(), new Author({ channel: 'bills' })]
    const [a, b] = [one.write(3), two.write(2)]
    await append(store, [a, b])
    expect(store.channelUsage('orders')).toEqual({ bytes: a.bytes.length, messages: 3 })
    expect(store.channelUsage('bills')).toEqual({ bytes: b.bytes.length, messages: 2 })
    expect(store.channelUsage('none')).toEqual({ bytes: 0, messages: 0 })
    expect(store.channels()).toEqual(['orders', 'bills'])
  })
})

describe('reads of logs', () => {
  it('seekLog: finds what a look at every record finds', async () => {
    const written = fc.array(
      fc.record({ count: fc.integer({ min: 1, max: 4 }), waitMs: fc.nat(3), given: fc.boolean() }),
      { maxLength: 25 }
    )
    await fc.assert(
      fc.asyncProperty(written, fc.nat(10), async (steps, cut) => {
        const clock = stillClock(1000)
        const store = await openStore(await memoryDisk(), { clock })
        const author = new Author()
        const born: { first: number; to: number; at: number }[] = []
        for (const [index, { count, given, waitMs }] of steps.entries()) {
          const record = author.write(count)
          clock.move(waitMs)
          const { first } = record.header
          if (given && index > 0) continue
          born.push({ first, to: first + count - 1, at: clock.now() })
          await append(store, [record], { floor: 1 })
        }
        await store.giveUp(author.ref, { from: 1, to: Infinity }, 'lost')
        await store.raiseFloor(author.ref, cut)
        const left = born.filter(({ to }) => to >= cut)
        for (let ms = 998; ms < clock.now() + 3; ms++) {
          const expected = left.find(({ at }) => at >= ms)?.first
          expect(await store.seekLog(author.ref, ms)).toBe(expected)
          for (const from of [cut + 1, cut + 7]) {
            const near = left.findLast(({ first }) => first <= from)
            const found = near !== undefined && near.at >= ms ? near.first : expected
            expect(await store.seekLog(author.ref, ms, from)).toBe(found)
          }
        }
        await store.stop()
      }),
      {
        numRuns: 60,
        examples: [
          // The place behind the last record, right after a read that ended there.
          [[1, 3, 3, 3, 2].map((count, at) => ({ count, waitMs: 0, given: at === 2 })), 6]
        ]
      }
    )
    const store = await openStore(await memoryDisk())
    expect(await store.seekLog(new Author().ref, 0)).toBeUndefined()
    await store.stop()
  })

  it('seekLog, readLogBefore: see what was accepted and is not written yet, as log() does', async () => {
    const store = await openStore(await memoryDisk())
    const author = new Author()
    const records = author.many(4)
    const appended = [append(store, records.slice(0, 2)), append(store, records.slice(2))]
    expect(store.log(author.ref)?.head).toBe(4)
    expect(await store.seekLog(author.ref, 0)).toBe(1)
    const more = append(store, author.many(2))
    const before = await store.readLogBefore(author.ref, 7)
    expect(before.at(-1)?.head.header.first).toBe(6)
    await Promise.all([...appended, more])
    await store.stop()
  })

  it('flush: what was appended before it survives a power loss, whatever is lost of the rest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(20), fc.nat(20), fc.nat(5), async (before, after, kept) => {
        const disk = new FaultyDisk()
        const store = await openStore(disk)
        const author = new Author()
        const appended = author.many(before).map((record) => append(store, [record]))
        await store.flush()
        const later = author.many(after).map((record) => append(store, [record]))
        await Promise.all([...appended, ...later])
        await disk.losePower(kept)
        const found = await openStore(disk)
        expect(found.log(author.ref)?.head ?? 0).toBeGreaterThanOrEqual(before)
        await found.stop()
      }),
      { numRuns: 30 }
    )
  })

  it('flush: calls at once share one sync', async () => {
    const disk = new FaultyDisk()
    const store = await openStore(disk)
    const before = disk.syncs
    await Promise.all(Array.from({ length: 50 }, () => store.flush()))
    expect(disk.syncs - before).toBe(1)
    await store.stop()
    await expect(store.flush()).rejects.toMatchObject({ code: 'ERR_STOPPED' })
  })

  it('values: are written with their record or not at all', async () => {
    for (let kept = 0; kept < 8; kept++) {
      const disk = new FaultyDisk()
      const store = await openStore(disk)
      const author = new Author()
      await store.flush()
      for (const record of author.many(6)) {
        const key = `${record.header.first}`
        const values = [{ space: 'ids', key, value: Buffer.from(key) }]
        await store.append([{ record, ageMs: 0, values }], { sync: false })
      }
      await disk.losePower(kept)
      const found = await openStore(disk)
      const head = found.log(author.ref)?.head ?? 0
      expect(head).toBe(Math.min(6, kept))
      const entries = await found.values('ids').entries()
      expect(entries.map(([key]) => Number(key))).toEqual(
        Array.from({ length: head }, (_, index) => index + 1)
      )
      await found.stop()
    }
  })
})
