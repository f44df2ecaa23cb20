import { MIB } from '../core/limits.ts'
import type { LogRef, SequenceRange } from './contract.ts'
import { heldRanges, holes } from '../wire/vector.ts'
import { abandon, emptyLog, isHeld, place, without } from './held-log.ts'
import type { HeldLog } from './held-log.ts'
import {
  journalPrefix,
  keyLog,
  keyNumber,
  logPrefix,
  nameOf,
  namePrefix,
  numberKey,
  rangeOf,
  SPACE,
  successor
} from './keys.ts'
import { isCorruption } from './level.ts'
import type { Level } from './level.ts'
import { readRows } from './log-reader.ts'
import { JOURNAL_START, LogSlot, Mirror } from './mirror.ts'
import { decodeBounds, decodeHeadRow, decodeJournalRow } from './rows.ts'
import { visitRows } from './row-scan.ts'

/** Records of one log that are read and checked at open. */
const TAIL_RECORDS = 64
/** Bytes of one log that are read and checked at open. */
const TAIL_BYTES = 4 * MIB
/** Bytes of all logs that are read and checked at open: under a second on one slow core. The rest is scrubbed. */
const OPEN_BYTES = 256 * MIB
/** Read at once while a whole log is gone through. */
const CHUNK_BYTES = 4 * MIB

/** What was found in a database. */
export interface Recovered {
  readonly mirror: Mirror
  /** Logs whose head row is not true any more. */
  readonly changed: LogSlot[]
  readonly badKeys: Buffer[]
  readonly damaged: (LogRef & SequenceRange)[]
  /** Channels whose journal has lost rows. */
  readonly torn: string[]
  /** Channels whose trim was cut off. */
  readonly trimming: string[]
}

/**
 * Builds the mirror from the head rows, and checks the tail of every log against them. A log that does not agree
 * with its head row is gone through as a whole. `least`: offsets that a journal must go on above.
 */
export async function recoverMirror(
  level: Level,
  least: ReadonlyMap<string, number>
): Promise<Recovered> {
  const recovered: Recovered = {
    mirror: new Mirror(),
    changed: [],
    badKeys: [],
    damaged: [],
    torn: [],
    trimming: []
  }
  const journalEnds = await loadHeads(level, recovered)
  await loadJournals(level, recovered, journalEnds, least)
  await findHeadless(level, recovered)
  let budget = OPEN_BYTES
  const slots = [...recovered.mirror.logs()]
  slots.sort((a, b) => b.committed.bornAt - a.committed.bornAt)
  for (const slot of slots) {
    const { ok, bytes } = await checkTail(level, slot, budget > 0)
    budget -= bytes
    if (!ok) await rebuild(level, slot, recovered)
  }
  for await (const key of level.keys(rangeOf(namePrefix(SPACE.meta, 'trim')))) {
    recovered.trimming.push(key.subarray(namePrefix(SPACE.meta, 'trim').length).toString())
  }
  return recovered
}

async function loadHeads(level: Level, { mirror }: Recovered): Promise<Map<string, number>> {
  const ends = new Map<string, number>()
  await visitAll(level, SPACE.head, (key, value) => {
    const ref = keyLog(key)
    if (ref === undefined) return
    const row = decodeHeadRow(value, ref)
    // Without a head row the log is found by its records.
    if (row === undefined) return
    const slot = mirror.add(new LogSlot(row.log, row.journaled))
    slot.owed = row.owed
    ends.set(ref.channel, Math.max(row.journalEnd, ends.get(ref.channel) ?? 0))
  })
  return ends
}

/** A space of small rows; a damaged block of it is passed over. */
async function visitAll(
  level: Level,
  space: number,
  take: (key: Buffer, value: Buffer) => void
): Promise<void> {
  let { gte, lt } = rangeOf(Buffer.of(space))
  try {
    for await (const [key, value] of level.iterator({ gte, lt })) {
      take(key, value)
      gte = Buffer.concat([key, Buffer.of(0)])
    }
  } catch (error) {
    if (!isCorruption(error)) throw error
    // Whatever can be read from the other end; the rest is found by the rows it was about.
    const iterator = level.iterator({ gte, lt, reverse: true })
    try {
      for await (const [key, value] of iterator) take(key, value)
    } catch (again) {
      if (!isCorruption(again)) throw again
    }
  }
}

async function loadJournals(
  level: Level,
  { mirror, torn }: Recovered,
  ends: ReadonlyMap<string, number>,
  least: ReadonlyMap<string, number>
): Promise<void> {
  const bounds = new Map<string, { first: number; next: number }>()
  await visitAll(level, SPACE.bounds, (key, value) => {
    const row = decodeBounds(value)
    if (row !== undefined) bounds.set(nameOf(key), row)
  })
  for (const channel of new Set([
    ...bounds.keys(),
    ...ends.keys(),
    ...least.keys(),
    ...mirror.channels()
  ])) {
    const prefix = journalPrefix(channel)
    const written = await lastEnd(level, prefix)
    const known = Math.max(written, bounds.get(channel)?.next ?? 0)
    const end = ends.get(channel) ?? 0
    if (end > known) torn.push(channel)
    const next = Math.max(known, end, least.get(channel) ?? 0)
    const first = bounds.get(channel)?.first ?? (await firstOffset(level, prefix, next))
    const start = next === 0 ? JOURNAL_START : next
    mirror.setJournal(channel, { first: Math.min(first, start), next: start })
  }
}

/**
 * Where a journal whose bounds are not known begins. Stores of the first version count from 0, and never reach
 * JOURNAL_START; of others only what was put in front of the journal is below it.
 */
async function firstOffset(level: Level, prefix: Buffer, next: number): Promise<number> {
  if (next > 0 && next < JOURNAL_START) return 0
  try {
    const [key] = await level.keys({ ...rangeOf(prefix), limit: 1 }).all()
    return key === undefined ? JOURNAL_START : Math.min(keyNumber(key), JOURNAL_START)
  } catch (error) {
    if (isCorruption(error)) return JOURNAL_START
    throw error
  }
}

async function lastEnd(level: Level, prefix: Buffer): Promise<number> {
  const iterator = level.iterator({ ...rangeOf(prefix), reverse: true })
  try {
    for (;;) {
      const entry = await iterator.next()
      if (entry === undefined) return 0
      const row = decodeJournalRow(entry[1])
      if (row !== undefined) return keyNumber(entry[0]) + row.count
    }
  } catch (error) {
    if (isCorruption(error)) return 0
    throw error
  } finally {
    await iterator.close()
  }
}

/** Logs with records and without a head row: one seek a log. */
async function findHeadless(level: Level, recovered: Recovered): Promise<void> {
  const { mirror, changed } = recovered
  const { lt } = rangeOf(Buffer.of(SPACE.record))
  let gte: Buffer = Buffer.of(SPACE.record)
  for (;;) {
    const [key] = await level.keys({ gte, lt, limit: 1 }).all()
    if (key === undefined) return
    const ref = keyLog(key)
    gte =
      ref === undefined
        ? Buffer.concat([key, Buffer.of(0)])
        : successor(logPrefix(SPACE.record, ref))
    if (ref === undefined || mirror.log(ref) !== undefined) continue
    const slot = mirror.create(ref, keyNumber(key))
    slot.journaled = Math.max(slot.journaled, await journaledOf(level, ref))
    changed.push(slot)
    if (!mirror.hasJournal(ref.channel)) {
      const prefix = journalPrefix(ref.channel)
      const end = await lastEnd(level, prefix)
      const first = await firstOffset(level, prefix, end)
      mirror.setJournal(ref.channel, { first, next: Math.max(first, end) })
    }
  }
}

/** How far the journal followed a log, by its rows. */
async function journaledOf(level: Level, ref: LogRef): Promise<number> {
  let journaled = 0
  await visitRows(level, fromZero(journalPrefix(ref.channel)), (_key, value) => {
    const row = decodeJournalRow(value)
    if (row?.publisher === ref.publisher && row.session === ref.session) {
      journaled = Math.max(journaled, row.first + row.count - 1)
    }
    return true
  })
  return journaled
}

function fromZero(prefix: Buffer): { gte: Buffer; lt: Buffer } {
  return { gte: Buffer.concat([prefix, Buffer.alloc(8)]), lt: successor(prefix) }
}

/** Do the newest records of a log agree with its head row? `deep`: read them, not only their keys. */
async function checkTail(
  level: Level,
  slot: LogSlot,
  deep: boolean
): Promise<{ ok: boolean; bytes: number }> {
  const log = slot.committed
  const counted = heldRanges(log)
  // What was given up at the end of the log has no records.
  const top = log.voids.reduce<readonly SequenceRange[]>(without, counted).at(-1)?.to ?? 0
  const average = Math.max(1, log.bytes / Math.max(1, log.records))
  const limit = deep ? Math.max(1, Math.min(TAIL_RECORDS, Math.floor(TAIL_BYTES / average))) : 1
  const range = rangeOf(slot.recordPrefix)
  const keys = await level.keys({ ...range, reverse: true, limit }).all()
  const oldest = keys.at(-1)
  if (oldest === undefined) return { ok: log.records === 0 && top < log.floor, bytes: 0 }
  if (!deep) return { ok: keyNumber(oldest) >= log.floor && keyNumber(oldest) <= top, bytes: 0 }
  const read = await readRows(level, slot, {
    from: keyNumber(oldest),
    to: Number.MAX_SAFE_INTEGER,
    maxBytes: Infinity
  })
  const held = read.rows.filter((row) => row.to >= log.floor)
  const ok =
    read.losses.length === 0 &&
    read.badKeys.length === 0 &&
    held.every((row) => isHeld(log, row)) &&
    (top < log.floor || held.at(-1)?.to === top)
  return { ok, bytes: read.bytes }
}

/** Goes through all records of a log and believes only them. */
async function rebuild(level: Level, slot: LogSlot, recovered: Recovered): Promise<void> {
  const before = slot.committed
  const { expected, forkedAt, skipped, voids } = before
  let log: HeldLog = { ...emptyLog(before, before.floor), expected, forkedAt }
  // With nothing said to be held, nothing is found missing: that is compared below, as a whole.
  slot.committed = log
  let from = log.floor
  for (;;) {
    const read = await readRows(level, slot, {
      from,
      to: Number.MAX_SAFE_INTEGER,
      maxBytes: CHUNK_BYTES
    })
    recovered.badKeys.push(...read.badKeys)
    for (const row of read.rows) {
      if (row.to < log.floor) continue
      const unfrozen = { ...overVoids(log, voids, row.from), forkedAt: undefined }
      const placed = place(unfrozen, {
        from: row.from,
        to: row.to,
        previous: row.head.header.previous,
        digest: row.head.digest,
        bytes: row.bytes,
        timeMs: row.head.header.time.ms,
        bornAt: row.bornAt
      })
      if (placed.place === 'appended' || placed.place === 'island') {
        log = { ...placed.log, forkedAt: before.forkedAt }
      } else recovered.badKeys.push(numberKey(slot.recordPrefix, row.from))
    }
    if (read.bytes <= CHUNK_BYTES) break
    from = read.covered + 1
  }
  // What was given up counts as held, whatever became of the records around it.
  log = overVoids(log, voids, Infinity)
  log = { ...log, skipped: skipped.filter((range) => isHeld(log, range)) }
  if (log.records === 0 && before.records === 0) log = before
  slot.committed = log
  slot.planned = log
  slot.journaled = Math.max(slot.journaled, log.floor - 1)
  const lost = lostRanges(before, log)
  // Whatever was in the journal and is gone has to come again; whoever had read it may get it twice.
  slot.owed = [...slot.owed, ...lost.filter(({ to }) => to <= slot.journaled)]
  // Nobody knows any more what had been given up of a log without a head row: what comes of it comes late.
  if (recovered.changed.includes(slot)) {
    slot.owed = [...slot.owed, ...holes(log).filter(({ to }) => to <= slot.journaled)]
  }
  for (const range of lost) {
    recovered.damaged.push({
      channel: log.channel,
      publisher: log.publisher,
      session: log.session,
      ...range
    })
  }
  if (!recovered.changed.includes(slot)) recovered.changed.push(slot)
}

/** Lets what was given up count as held, from above everything held up to below `end`. */
function overVoids(log: HeldLog, voids: readonly SequenceRange[], end: number): HeldLog {
  return voids.reduce((before, { from, to }) => {
    const top = Math.max(before.head, before.islands.at(-1)?.to ?? 0)
    const part = { from: Math.max(from, top + 1), to: Math.min(to, end - 1) }
    return part.from > part.to ? before : abandon(before, part, false)
  }, log)
}

/** What `before` held and `after` does not. */
function lostRanges(before: HeldLog, after: HeldLog): SequenceRange[] {
  const lost: SequenceRange[] = []
  const held = [{ from: after.floor, to: after.head }, ...after.islands]
  for (const segment of [{ from: before.floor, to: before.head }, ...before.islands]) {
    let next = Math.max(segment.from, after.floor)
    for (const { from, to } of held) {
      if (to < next || from > segment.to) continue
      if (from > next) lost.push({ from: next, to: from - 1 })
      next = to + 1
    }
    if (next <= segment.to) lost.push({ from: next, to: segment.to })
  }
  return lost
}
