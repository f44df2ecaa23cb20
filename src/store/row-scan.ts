import { keyNumber, numberKey } from './keys.ts'
import type { KeyRange } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'

/** Takes one entry; false to stop. */
export type Take = (key: Buffer, value: Buffer) => boolean

type Entry = [Buffer, Buffer]

/** What classic-level reads ahead at once, bytes. */
const READ_AHEAD = 512 * 1024

/** Entries taken from an iterator at once. */
const CHUNK = 64

/**
 * Visits entries whose keys end in a number, in ascending order. Where a block of the database is damaged, its
 * iterators pass over it and report that at the end, with what they gathered thrown away: then the rows around
 * the damage are looked for one by one, so that no more is missed than the damaged block held.
 */
export async function visitRows(level: Level, range: KeyRange, take: Take): Promise<void> {
  let gte = range.gte
  for (;;) {
    let last: Buffer | undefined
    const seen: Take = (key, value) => {
      last = key
      return take(key, value)
    }
    try {
      await visitChunks(level, { gte, lt: range.lt }, CHUNK, seen)
      return
    } catch (error) {
      if (!isCorruption(error)) throw error
    }
    if (last !== undefined) gte = after(last)
    const next = await goRound(level, { gte, lt: range.lt }, take)
    if (next === undefined) return
    gte = next
  }
}

async function visitChunks(
  level: Level,
  range: KeyRange,
  chunk: number,
  take: Take
): Promise<void> {
  const options = { ...range, highWaterMarkBytes: chunk === 1 ? 0 : READ_AHEAD, fillCache: false }
  const iterator = level.iterator(options)
  try {
    for (;;) {
      const entries = await iterator.nextv(chunk)
      if (entries.length === 0) return
      for (const [key, value] of entries) if (!take(key, value)) return
    }
  } finally {
    await iterator.close()
  }
}

/** Visits what stands before and behind one damage; the key to go on from, or undefined at the end. */
async function goRound(level: Level, range: KeyRange, take: Take): Promise<Buffer | undefined> {
  let start = keyNumber(range.gte)
  let stopped = false
  try {
    await visitChunks(level, range, 1, (key, value) => {
      start = keyNumber(key) + 1
      stopped = !take(key, value)
      return !stopped
    })
    return undefined
  } catch (error) {
    if (!isCorruption(error)) throw error
  }
  const prefix = range.gte.subarray(0, range.gte.length - 8)
  const end = Buffer.compare(prefix, range.lt.subarray(0, prefix.length)) === 0
  const last = end ? keyNumber(range.lt) : Number.MAX_SAFE_INTEGER
  for (let step = 1; start + step < last; step *= 2) {
    const probe = await firstAt(level, { gte: numberKey(prefix, start + step), lt: range.lt })
    if (probe === 'damaged') continue
    if (probe === 'nothing') break
    const before = await backToDamage(level, numberKey(prefix, start), probe[0])
    for (const [key, value] of before.reverse()) if (!take(key, value)) return undefined
    return take(probe[0], probe[1]) ? after(probe[0]) : undefined
  }
  const before = await backToDamage(level, numberKey(prefix, start), range.lt)
  for (const [key, value] of before.reverse()) if (!take(key, value)) return undefined
  return undefined
}

async function firstAt(level: Level, range: KeyRange): Promise<Entry | 'nothing' | 'damaged'> {
  const iterator = level.iterator({ ...range, limit: 1 })
  try {
    return (await iterator.next()) ?? 'nothing'
  } catch (error) {
    if (isCorruption(error)) return 'damaged'
    throw error
  } finally {
    await iterator.close()
  }
}

/** The entries below `lt`, newest first, down to damage. */
async function backToDamage(level: Level, gte: Buffer, lt: Buffer): Promise<Entry[]> {
  const entries: Entry[] = []
  const options = { gte, lt, reverse: true, highWaterMarkBytes: 0 }
  const iterator = level.iterator(options)
  try {
    for (;;) {
      const [entry] = await iterator.nextv(1)
      if (entry === undefined) return entries
      entries.push(entry)
    }
  } catch (error) {
    if (isCorruption(error)) return entries
    throw error
  } finally {
    await iterator.close()
  }
}

/** The least key above `key` of the same length. */
function after(key: Buffer): Buffer {
  return numberKey(key.subarray(0, key.length - 8), keyNumber(key) + 1)
}
