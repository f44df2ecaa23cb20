import {
  decodeDefinition,
  decodeHearing,
  decodeMembership,
  decodeRanges,
  decodeSlots,
  type Definition,
  type HearingSaid,
  type Membership,
  parseLogKey,
  parseValueSuffix,
  type ValueKind
} from './group-values.ts'
import { Heard } from './heard.ts'
import { RangeSet } from './range-set.ts'
import { SlotTable } from './slot-table.ts'

/** Logs whose acknowledgements are kept: far above what publishers a mesh has in the time it keeps messages. */
const MAX_LOGS = 65_536
const MAX_MEMBERS = 4_096

/** One value, as it was published. */
export interface GroupValue {
  /** Who signed it. */
  readonly publisher: string
  readonly suffix: string
  readonly key: string | undefined
  readonly payload: Uint8Array
}

/**
 * What is known of a group. It only grows, and values may come in any order, any number of times: whoever knows the
 * same values has the same state.
 */
export class GroupState {
  readonly slots = new SlotTable()
  /** Newest word of each member. */
  readonly members = new Map<string, Membership>()
  /** What each says that it has read. */
  readonly hearings = new Map<string, HearingSaid>()
  #definition: Definition | undefined
  readonly #done = new Map<string, RangeSet>()

  get definition(): Definition | undefined {
    return this.#definition
  }

  /** Logs of which something is done. */
  logs(): IterableIterator<[string, RangeSet]> {
    return this.#done.entries()
  }

  /** Takes what was published; undefined where it says nothing new or is not the word of whom it is about. Throws ERR_RECORD. */
  apply({ key, payload, publisher, suffix }: GroupValue): ValueKind | undefined {
    const about = parseValueSuffix(suffix)
    // An empty value says that the one before counts no more.
    if (about === undefined || about.peer !== publisher || payload.length === 0) return undefined
    const isNews = this.#take(about.kind, { key, payload, publisher })
    return isNews ? about.kind : undefined
  }

  #take(kind: ValueKind, { key, payload, publisher }: Omit<GroupValue, 'suffix'>): boolean {
    switch (kind) {
      case 'definition':
        return this.define(decodeDefinition(payload, publisher))
      case 'member':
        return this.#member(publisher, decodeMembership(payload))
      case 'slots':
        return this.slots.merge(decodeSlots(payload))
      case 'forgotten':
        return true
      case 'heard':
        return this.#hearing(publisher, decodeHearing(payload))
      case 'acks': {
        const ranges = decodeRanges(payload)
        parseLogKey(key ?? '')
        return this.#of(key ?? '')?.merge(ranges) ?? false
      }
    }
  }

  /** The earliest definition counts. */
  define(definition: Definition): boolean {
    const known = this.#definition
    const isEarlier =
      known === undefined ||
      definition.createdAt < known.createdAt ||
      (definition.createdAt === known.createdAt && definition.creator < known.creator)
    if (isEarlier) this.#definition = definition
    return isEarlier
  }

  /** A message of a log is done with, or does not concern the group. */
  finish(log: string, sequence: number): boolean {
    return this.#of(log)?.add(sequence) ?? false
  }

  isDone(log: string, sequence: number): boolean {
    return (
      sequence <= (this.#definition?.base.get(log) ?? 0) ||
      this.#done.get(log)?.has(sequence) === true
    )
  }

  /** Are all of these done? */
  areDone(log: string, sequences: RangeSet): boolean {
    const base = this.#definition?.base.get(log) ?? 0
    const done = this.#done.get(log)
    return sequences.ranges.every(
      ({ from, to }) => to <= base || done?.covers(Math.max(from, base + 1), to) === true
    )
  }

  done(log: string): RangeSet | undefined {
    return this.#done.get(log)
  }

  #of(log: string): RangeSet | undefined {
    let done = this.#done.get(log)
    if (done === undefined) {
      if (this.#done.size >= MAX_LOGS) return undefined
      done = new RangeSet()
      this.#done.set(log, done)
    }
    return done
  }

  #member(peer: string, said: Membership): boolean {
    const known = this.members.get(peer)
    if (known !== undefined && !supersedes(said, known)) return false
    this.members.set(peer, said)
    if (this.members.size > MAX_MEMBERS) this.#forgetOldest()
    return true
  }

  #hearing(peer: string, { positions, question }: HearingSaid): boolean {
    const known = this.hearings.get(peer)
    if (known === undefined && this.hearings.size >= MAX_MEMBERS) return false
    const merged = known?.positions ?? new Heard()
    const isNews = merged.merge(positions)
    if (known !== undefined && !isNews && question <= known.question) return false
    const newest = Math.max(question, known?.question ?? 0)
    this.hearings.set(peer, { positions: merged, question: newest })
    return true
  }

  #forgetOldest(): void {
    const [oldest] = [...this.members].toSorted(([, a], [, b]) => a.life - b.life)
    if (oldest === undefined) return
    this.members.delete(oldest[0])
    this.hearings.delete(oldest[0])
  }
}

/** A life only ends, and `full` is by the order of values of one log: the newest that came counts. */
function supersedes(said: Membership, known: Membership): boolean {
  if (said.life !== known.life) return said.life > known.life
  if (said.joined !== known.joined) return known.joined
  return said.full !== known.full && said.joined
}
