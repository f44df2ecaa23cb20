import { keyNumber, numberKey } from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { openRow } from './log-reader.ts'
import type { LogSlot } from './mirror.ts'
import { decodeRecordRow } from './rows.ts'
import { visitRows } from './row-scan.ts'

/** `floor`, or where the record across it begins: records stay or go as a whole. */
export async function wholeFloor(level: Level, slot: LogSlot, floor: number): Promise<number> {
  // What is on its way now may be written, and not be found, before the read has ended.
  const known = acrossPending(slot, floor)
  const written = await acrossWritten(level, slot, floor)
  return Math.min(known, written, acrossPending(slot, floor))
}

function acrossPending({ pending }: LogSlot, floor: number): number {
  for (const [first, { record }] of pending) {
    if (first < floor && first + record.header.count > floor) return first
  }
  return floor
}

async function acrossWritten(level: Level, slot: LogSlot, floor: number): Promise<number> {
  const gte = numberKey(slot.recordPrefix, slot.committed.floor)
  const lt = numberKey(slot.recordPrefix, Math.max(floor, slot.committed.floor))
  try {
    const range = { gte, lt, reverse: true, limit: 1, fillCache: false }
    const [entry] = await level.iterator(range).all()
    if (entry === undefined) return floor
    const from = keyNumber(entry[0])
    const row = openRow(slot, from, entry[1])
    if (row !== undefined && row.to >= floor) return from
  } catch (error) {
    if (!isCorruption(error)) throw error
  }
  return floor
}

/** How many records begin below a sequence, and their bytes. */
export async function countBelow(
  level: Level,
  slot: LogSlot,
  sequence: number
): Promise<{ records: number; bytes: number }> {
  const counts = { records: 0, bytes: 0 }
  const gte = numberKey(slot.recordPrefix, slot.committed.floor)
  const lt = numberKey(slot.recordPrefix, sequence)
  await visitRows(level, { gte, lt }, (_key, value) => {
    counts.records++
    counts.bytes += decodeRecordRow(value)?.bytes.length ?? 0
    return true
  })
  return counts
}
