import { LIMITS } from '../core/limits.ts'
import { peerIdFromPublicKey, PUBLIC_KEY_BYTES, publicKeyFromPeerId } from './peer-id.ts'
import { ProtoReader, recordError, writeVarint } from './protobuf.ts'
import { isSession } from './session.ts'

/** Sequence numbers from `from` to `to`, both included. */
export interface SequenceRange {
  readonly from: number
  readonly to: number
}

/** What is held of one log. */
export interface HeldRange {
  /** Held from this sequence; below it nothing is held or wanted. */
  readonly floor: number
  /** Held without a hole up to this sequence; `floor - 1` while nothing is. */
  readonly head: number
  /** Held above a hole: ascending, disjoint, not adjacent. */
  readonly islands: readonly SequenceRange[]
}

/** Nothing held yet, wanted from `floor`. */
export function emptyHeld(floor = 1): HeldRange {
  return { floor, head: floor - 1, islands: [] }
}

/** Is `sequence` held? */
export function holds(held: HeldRange, sequence: number): boolean {
  if (sequence < held.floor) return false
  if (sequence <= held.head) return true
  return held.islands.some(({ from, to }) => from <= sequence && sequence <= to)
}

/**
 * Adds a range; what of it lies below the floor is left out. Undefined when there would be more than
 * `maxIslands` islands (default LIMITS.islands).
 */
export function insertRange(
  held: HeldRange,
  range: SequenceRange,
  maxIslands: number = LIMITS.islands
): HeldRange | undefined {
  const from = Math.max(range.from, held.floor)
  if (range.to < from) return held
  const next = normalise(held.floor, [...heldRanges(held), { from, to: range.to }])
  return next.islands.length > maxIslands ? undefined : next
}

/** What two hold together, from the lower of their floors. May have more islands than LIMITS.islands. */
export function mergeHeld(a: HeldRange, b: HeldRange): HeldRange {
  return normalise(Math.min(a.floor, b.floor), [...heldRanges(a), ...heldRanges(b)])
}

/** The holes between the head and the last island, ascending. */
export function holes(held: HeldRange): SequenceRange[] {
  const last = held.islands.at(-1)
  return last === undefined ? [] : subtract([{ from: held.floor, to: last.to }], held)
}

/** The holes, and what is missing at the end of a log that is known to reach up to `expected`. */
export function missingIn(held: HeldRange & { readonly expected: number }): SequenceRange[] {
  const inside = holes(held)
  const end = Math.max(held.head, held.islands.at(-1)?.to ?? 0)
  return end >= held.expected ? inside : [...inside, { from: end + 1, to: held.expected }]
}

/** What `theirs` holds and `mine` lacks and wants, ascending. */
export function missingRanges(mine: HeldRange, theirs: HeldRange): SequenceRange[] {
  const wanted = heldRanges(theirs)
    .filter(({ to }) => to >= mine.floor)
    .map(({ from, to }) => ({ from: Math.max(from, mine.floor), to }))
  return subtract(wanted, mine)
}

/** Everything held, ascending and disjoint. */
export function heldRanges(held: HeldRange): SequenceRange[] {
  if (held.head < held.floor) return [...held.islands]
  return [{ from: held.floor, to: held.head }, ...held.islands]
}

function normalise(floor: number, ranges: readonly SequenceRange[]): HeldRange {
  let head = floor - 1
  const islands: SequenceRange[] = []
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = islands.at(-1)
    if (last === undefined && from <= head + 1) head = Math.max(head, to)
    else if (last !== undefined && from <= last.to + 1) {
      islands[islands.length - 1] = { from: last.from, to: Math.max(last.to, to) }
    } else islands.push({ from, to })
  }
  return { floor, head, islands }
}

function subtract(ranges: readonly SequenceRange[], held: HeldRange): SequenceRange[] {
  const rest: SequenceRange[] = []
  const taken = heldRanges(held)
  for (const range of ranges) {
    let from = range.from
    for (const hole of taken) {
      if (hole.to < from) continue
      if (hole.from > range.to) break
      if (hole.from > from) rest.push({ from, to: hole.from - 1 })
      from = hole.to + 1
    }
    if (from <= range.to) rest.push({ from, to: range.to })
  }
  return rest
}

/** What is held of one log of a channel. */
export interface VectorEntry {
  /** PeerId, as text. */
  readonly publisher: string
  readonly session: string
  readonly held: HeldRange
}

/** What is held of a channel. */
export type Vector = readonly VectorEntry[]

// A safe integer takes 8 bytes as a varint.
const NUMBER_BYTES = 8
const SESSION_BYTES = 8

/**
 * A vector as bytes: the number of publishers, then for each its key, the number of its sessions, and for each
 * the session, floor, held length, and islands as (gap before, length). Entries come back sorted.
 */
export function encodeVector(vector: Vector): Uint8Array {
  const groups = new Map<string, VectorEntry[]>()
  let capacity = NUMBER_BYTES
  for (const entry of vector) {
    const group = groups.get(entry.publisher)
    if (group === undefined) groups.set(entry.publisher, [entry])
    else group.push(entry)
    capacity += PUBLIC_KEY_BYTES + SESSION_BYTES
    capacity += NUMBER_BYTES * (4 + 2 * entry.held.islands.length)
  }
  const bytes = Buffer.allocUnsafe(capacity)
  let at = writeVarint(bytes, 0, groups.size)
  for (const publisher of [...groups.keys()].toSorted()) {
    const entries = (groups.get(publisher) as VectorEntry[]).toSorted(bySession)
    bytes.set(publicKeyFromPeerId(publisher), at)
    at = writeVarint(bytes, at + PUBLIC_KEY_BYTES, entries.length)
    for (const { session, held } of entries) {
      at += bytes.write(session, at, 'hex')
      at = writeHeld(bytes, at, held)
    }
  }
  return Uint8Array.prototype.slice.call(bytes, 0, at)
}

function bySession(a: VectorEntry, b: VectorEntry): number {
  if (a.session === b.session) return 0
  return a.session < b.session ? -1 : 1
}

function writeHeld(into: Buffer, position: number, held: HeldRange): number {
  let at = writeVarint(into, position, held.floor)
  at = writeVarint(into, at, held.head - held.floor + 1)
  at = writeVarint(into, at, held.islands.length)
  let above = held.head
  for (const { from, to } of held.islands) {
    at = writeVarint(into, at, from - above - 1)
    at = writeVarint(into, at, to - from + 1)
    above = to
  }
  return at
}

/** Reads what `encodeVector` wrote. Throws ERR_RECORD when it is malformed or has more than `maxLogs` logs. */
export function decodeVector(bytes: Uint8Array, maxLogs: number): VectorEntry[] {
  const reader = new ProtoReader(bytes)
  const vector: VectorEntry[] = []
  const publishers = reader.varint()
  for (let group = 0; group < publishers; group++) {
    const publisher = peerIdFromPublicKey(take(reader, PUBLIC_KEY_BYTES))
    const sessions = reader.varint()
    for (let index = 0; index < sessions; index++) {
      if (vector.length >= maxLogs) {
        throw recordError('limit', `a vector has more than ${maxLogs} logs`)
      }
      const session = take(reader, SESSION_BYTES).toString('hex')
      if (!isSession(session)) throw recordError('field', 'a vector names no session')
      vector.push({ publisher, session, held: readHeld(reader) })
    }
    if (sessions === 0) throw recordError('field', 'a vector names a publisher without logs')
  }
  if (reader.position !== reader.end) throw recordError('field', 'something follows a vector')
  return vector
}

function readHeld(reader: ProtoReader): HeldRange {
  const floor = reader.varint()
  const head = floor + reader.varint() - 1
  const count = reader.varint()
  if (count > LIMITS.islands) {
    throw recordError('limit', `a log has more than ${LIMITS.islands} islands`)
  }
  const islands: SequenceRange[] = []
  let above = head
  for (let index = 0; index < count; index++) {
    const gap = reader.varint()
    const length = reader.varint()
    const from = above + gap + 1
    above = from + length - 1
    if (gap < 1 || length < 1) throw recordError('field', 'islands of a log touch')
    islands.push({ from, to: above })
  }
  if (floor < 1 || !Number.isSafeInteger(above)) {
    throw recordError('count', 'a log leaves the range of sequences')
  }
  return { floor, head, islands }
}

function take(reader: ProtoReader, length: number): Buffer {
  const start = reader.position
  if (reader.end - start < length) throw recordError('truncated', 'a vector ends too early')
  reader.position = start + length
  return reader.bytes.subarray(start, reader.position)
}
