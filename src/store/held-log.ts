import { LIMITS } from '../core/limits.ts'
import type { RecordHead } from '../wire/record.ts'
import { missingIn } from '../wire/vector.ts'
import type { LogRef, LogState, SequenceRange } from './contract.ts'

/** Records held above a hole. */
export interface Island extends SequenceRange {
  /** What its first record says the record before it is; undefined where that is not known. */
  readonly previous: Uint8Array | undefined
  /** Of its last record; undefined where that is not known. */
  readonly digest: Uint8Array | undefined
  /** `bornAt` of its first record. */
  readonly bornAt: number
}

/** A log as the store knows it: what the contract shows, and what it takes to check the chain. Immutable. */
export interface HeldLog extends LogState {
  readonly islands: readonly Island[]
  /** Greatest `bornAt` of any of its records. */
  readonly bornAt: number
}

/** What planning needs to know of a record. */
export interface Link extends SequenceRange {
  readonly previous: Uint8Array | undefined
  readonly digest: Uint8Array
  readonly bytes: number
  readonly timeMs: number
  readonly bornAt: number
}

/** Where a record goes. `held`: its range is held already; whether by the same record has to be looked up. */
export type Place =
  | 'appended'
  | 'island'
  | 'held'
  | 'below-floor'
  | 'frozen'
  | 'broken-chain'
  | 'too-many-islands'

/** A record without its body counts with what is kept of it. */
export function linkOf(record: RecordHead, bornAt: number): Link {
  const { first, count, previous, time } = record.header
  return {
    from: first,
    to: first + count - 1,
    previous,
    digest: record.digest,
    bytes: 'body' in record ? record.bytes.length : record.headLength,
    timeMs: time.ms,
    bornAt
  }
}

/** Nothing held. `bornAt`: when it became known, so that it is not taken for what has long been trimmed. */
export function emptyLog(
  { channel, publisher, session }: LogRef,
  floor: number,
  bornAt = 0
): HeldLog {
  return {
    channel,
    publisher,
    session,
    floor,
    head: floor - 1,
    headDigest: undefined,
    islands: [],
    expected: 0,
    voids: [],
    skipped: [],
    records: 0,
    bytes: 0,
    timeMs: 0,
    bornAt,
    forkedAt: undefined
  }
}

/** Does the whole range count as held, whether given up or not? */
export function isHeld(log: HeldLog, { from, to }: SequenceRange): boolean {
  if (from >= log.floor && to <= log.head) return true
  return log.islands.some((island) => island.from <= from && to <= island.to)
}

/** Adds a record to a log, or says why not; then the log is unchanged. */
export function place(log: HeldLog, link: Link): { place: Place; log: HeldLog } {
  const refusal = refuse(log, link)
  if (refusal !== undefined) return { place: refusal, log }
  const counted = {
    ...log,
    // Only a log that holds nothing yet takes a record across its floor, whole.
    floor: Math.min(log.floor, link.from),
    records: log.records + 1,
    bytes: log.bytes + link.bytes,
    timeMs: Math.max(log.timeMs, link.timeMs),
    bornAt: Math.max(log.bornAt, link.bornAt)
  }
  if (isFilling(log, link)) {
    return { place: 'appended', log: filled(counted, link) }
  }
  if (link.from <= log.head + 1) {
    return {
      place: 'appended',
      log: joined({ ...counted, head: link.to, headDigest: link.digest })
    }
  }
  const islands = withIsland(log.islands, link)
  if (islands.length > LIMITS.islands && islands.length > log.islands.length) {
    return { place: 'too-many-islands', log }
  }
  return { place: 'island', log: { ...counted, islands } }
}

function refuse(log: HeldLog, link: Link): Place | undefined {
  if (link.to < log.floor) return 'below-floor'
  if (isFilling(log, link)) return undefined
  if (log.voids.some(({ from, to }) => from <= link.to && link.from <= to)) return 'below-floor'
  if (isHeld(log, link)) return 'held'
  if (log.forkedAt !== undefined && link.to >= log.forkedAt) return 'frozen'
  const fresh = log.head < log.floor && log.headDigest === undefined
  if (fresh ? false : link.from <= log.head || link.from < log.floor) return 'broken-chain'
  if (log.islands.some(({ from, to }) => from <= link.to && link.from <= to)) return 'broken-chain'
  return isChained(log, link) ? undefined : 'broken-chain'
}

/** Does the record belong into a range that was skipped? */
export function isFilling({ skipped }: HeldLog, link: SequenceRange): boolean {
  return skipped.some(({ from, to }) => from <= link.from && link.to <= to)
}

/** With a record in a range that had been given up: the digest of what ends with it is known again. */
function filled(log: HeldLog, link: Link): HeldLog {
  return {
    ...log,
    headDigest: link.to === log.head ? link.digest : log.headDigest,
    islands: log.islands.map((island) => ({
      ...island,
      previous: island.from === link.from ? link.previous : island.previous,
      digest: island.to === link.to ? link.digest : island.digest
    })),
    voids: without(log.voids, link),
    skipped: without(log.skipped, link)
  }
}

/** Do the neighbours that are held agree? */
function isChained(log: HeldLog, link: Link): boolean {
  const below =
    link.from === log.head + 1
      ? log.headDigest
      : log.islands.find(({ to }) => to + 1 === link.from)?.digest
  if (below !== undefined && !sameBytes(below, link.previous)) return false
  const above = log.islands.find(({ from }) => from === link.to + 1)
  return above?.previous === undefined || sameBytes(above.previous, link.digest)
}

/** The islands with one more record, grown together where they touch. */
function withIsland(islands: readonly Island[], link: Link): Island[] {
  const at = islands.findIndex(({ from }) => from > link.to)
  const index = at === -1 ? islands.length : at
  const before = islands[index - 1]
  const after = islands[index]
  const grown: Island = {
    from: link.from,
    to: link.to,
    previous: link.previous,
    digest: link.digest,
    bornAt: link.bornAt
  }
  const joinsBefore = before !== undefined && before.to + 1 === link.from
  const joinsAfter = after !== undefined && link.to + 1 === after.from
  const merged: Island = {
    ...grown,
    ...(joinsBefore ? { from: before.from, previous: before.previous, bornAt: before.bornAt } : {}),
    ...(joinsAfter ? { to: after.to, digest: after.digest } : {})
  }
  return islands.toSpliced(
    joinsBefore ? index - 1 : index,
    (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0),
    merged
  )
}

/** Lets the head run over the islands that it touches. */
function joined(log: HeldLog): HeldLog {
  let { head, headDigest, islands } = log
  for (
    let island = islands[0];
    island !== undefined && island.from <= head + 1;
    island = islands[0]
  ) {
    head = island.to
    headDigest = island.digest
    islands = islands.slice(1)
  }
  return { ...log, head, headDigest, islands }
}

/** What a trim takes away from a log. */
export interface Cut {
  /** The new floor: everything below goes. */
  readonly floor: number
  /** Records that go, and their bytes. */
  readonly records: number
  readonly bytes: number
}

/** Without so many records. */
export function lessened(log: HeldLog, gone: { records: number; bytes: number }): HeldLog {
  return {
    ...log,
    records: Math.max(0, log.records - gone.records),
    bytes: Math.max(0, log.bytes - gone.bytes)
  }
}

/** Raises the floor. Where it passes the head, holes below it are given up and what then touches it joins. */
export function cutBelow(log: HeldLog, { floor, records, bytes }: Cut): HeldLog {
  if (floor <= log.floor) return log
  const above = (ranges: readonly SequenceRange[]): readonly SequenceRange[] =>
    without(ranges, { from: 0, to: floor - 1 })
  const counts = {
    floor,
    records: Math.max(0, log.records - records),
    bytes: Math.max(0, log.bytes - bytes),
    voids: above(log.voids),
    skipped: above(log.skipped)
  }
  if (floor <= log.head + 1) return { ...log, ...counts }
  const across = log.islands.find(({ from, to }) => from < floor && floor <= to + 1)
  const next = log.islands.find(({ from }) => from === floor)
  return joined({
    ...log,
    ...counts,
    head: across?.to ?? floor - 1,
    headDigest: across === undefined ? next?.previous : across.digest,
    islands: log.islands.filter(({ from }) => from >= floor)
  })
}

/** Lowers the floor over records that end right below it. */
export function lower(log: HeldLog, links: readonly Link[]): HeldLog {
  const last = links.at(-1)
  return {
    ...log,
    floor: links[0]?.from ?? log.floor,
    headDigest: last?.to === log.head ? last.digest : log.headDigest,
    records: log.records + links.length,
    bytes: links.reduce((sum, { bytes }) => sum + bytes, log.bytes),
    timeMs: links.reduce((most, { timeMs }) => Math.max(most, timeMs), log.timeMs),
    bornAt: links.reduce((most, { bornAt }) => Math.max(most, bornAt), log.bornAt)
  }
}

/** The parts of `range` that are missing and not given up yet. */
export function missingPartsOf(log: HeldLog, range: SequenceRange): SequenceRange[] {
  return missingIn(log)
    .map(({ from, to }) => ({ from: Math.max(from, range.from), to: Math.min(to, range.to) }))
    .filter(({ from, to }) => from <= to)
}

/** Lets a range that is missing count as held. */
export function abandon(log: HeldLog, range: SequenceRange, canCome: boolean): HeldLog {
  const bornAt = log.islands.find(({ from }) => from > range.to)?.bornAt ?? log.bornAt
  const gap: Link = {
    ...range,
    previous: undefined,
    digest: NO_DIGEST,
    bytes: 0,
    timeMs: 0,
    bornAt
  }
  const islands = withIsland(log.islands, gap).map((island) =>
    island.digest === NO_DIGEST ? { ...island, digest: undefined } : island
  )
  const voids = bounded(merged([...log.voids, range]))
  // Of these nothing may be held, so the oldest are forgotten: what comes of them is refused.
  const skipped = canCome ? merged([...log.skipped, range]).slice(-LIMITS.islands) : log.skipped
  return joined({ ...log, islands, voids, skipped })
}

/** Of a gap nobody knows the records. */
const NO_DIGEST = new Uint8Array()

/** Ascending, disjoint, and grown together where they touch. */
export function merged(ranges: readonly SequenceRange[]): SequenceRange[] {
  const result: SequenceRange[] = []
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last === undefined || range.from > last.to + 1) result.push(range)
    else result[result.length - 1] = { from: last.from, to: Math.max(last.to, range.to) }
  }
  return result
}

/** The oldest become one range, together with what is held between them: nobody is told that it is missing. */
function bounded(ranges: readonly SequenceRange[]): readonly SequenceRange[] {
  const excess = ranges.length - LIMITS.islands
  const [from, to] = [ranges[0]?.from, ranges[excess]?.to]
  if (excess <= 0 || from === undefined || to === undefined) return ranges
  return [{ from, to }, ...ranges.slice(excess + 1)]
}

/** What is left of `ranges` without `other`. */
export function without(
  ranges: readonly SequenceRange[],
  other: SequenceRange
): readonly SequenceRange[] {
  if (ranges.length === 0) return ranges
  return ranges
    .flatMap(({ from, to }) => [
      { from, to: Math.min(to, other.from - 1) },
      { from: Math.max(from, other.to + 1), to }
    ])
    .filter(({ from, to }) => from <= to)
}

/** What is lost of a log, and what is known of the records around it. */
export interface Loss extends SequenceRange {
  readonly records: number
  readonly bytes: number
  /** Digest of the record below. */
  readonly below: Uint8Array | undefined
  /** Digest of the lost record that the one above names, and when that one was born. */
  readonly above: { readonly previous: Uint8Array | undefined; readonly bornAt: number } | undefined
}

/** Takes a range out of what is held: it becomes a hole, or the head goes back where nothing is above it. */
export function lose(log: HeldLog, loss: Loss): HeldLog {
  const from = Math.max(loss.from, log.floor)
  const { to } = loss
  const counts = {
    records: Math.max(0, log.records - loss.records),
    bytes: Math.max(0, log.bytes - loss.bytes)
  }
  const islands: Island[] = []
  let { head, headDigest } = log
  const upper = (end: number, digest: Uint8Array | undefined): Island => ({
    from: to + 1,
    to: end,
    previous: loss.above?.previous,
    digest,
    bornAt: loss.above?.bornAt ?? log.bornAt
  })
  if (from <= head) {
    if (to < head) islands.push(upper(head, headDigest))
    head = from - 1
    headDigest = loss.below
  }
  for (const island of log.islands) {
    if (island.to < from || island.from > to) {
      islands.push(island)
      continue
    }
    if (island.from < from) islands.push({ ...island, to: from - 1, digest: loss.below })
    if (island.to > to) islands.push(upper(island.to, island.digest))
  }
  return { ...log, ...counts, head, headDigest, islands }
}

export function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0
}
