import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { type Candidate, ChannelReader } from '../delivery/channel-reader.ts'
import type { Decoder } from '../delivery/decoder.ts'
import type { Feed, FeedListener } from '../delivery/feed.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import { joinTopic } from '../wire/topic.ts'
import type { GroupState } from './group-state.ts'
import { logKey } from './group-values.ts'
import { RangeSet } from './range-set.ts'

export interface GroupLaneComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly clock: Clock
  readonly state: GroupState
}

/** Where to read a channel. */
export interface Place {
  /** Journal offset to begin at: below it nothing is left to do. */
  readonly from: number
  /** What was born before, by the local clock, is not the group's. */
  readonly notBefore: number
}

export interface GroupLaneInit extends Place {
  readonly channel: string
  readonly matches: (topic: string) => boolean
  readonly onReadable: () => void
  readonly onLost: (lost: { from: number; to: number; entry: JournalEntry | undefined }) => void
  readonly onExpired: () => void
  readonly onError: (error: unknown) => void
}

/** A message of the group that is not done. */
export interface GroupCandidate {
  readonly candidate: Candidate
  readonly log: string
  readonly sequence: number
}

/** What was read between two marks, by log. */
type Seen = Map<string, RangeSet>

/**
 * Reads one channel for a group: everything that is not done, whoever has its slot. It begins anew from its mark, below
 * which all is done, when this node gets slots whose messages it has passed over.
 */
export class GroupLane implements FeedListener {
  readonly channel: string
  readonly #components: GroupLaneComponents
  readonly #init: GroupLaneInit
  #reader: ChannelReader
  #held: GroupCandidate | undefined
  #mark: number
  #notBefore: number
  /** Read since the mark, up to `#pendingOffset`: when all of it is done, that is the mark. */
  #pending: Seen = new Map()
  #pendingOffset: number
  /** Read since then. */
  #seen: Seen = new Map()
  /** The log of the newest entry read. */
  #entry: JournalEntry | undefined
  #log = ''

  constructor(components: GroupLaneComponents, init: GroupLaneInit) {
    this.channel = init.channel
    this.#components = components
    this.#init = init
    this.#mark = this.#pendingOffset = init.from
    this.#notBefore = init.notBefore
    this.#reader = this.#createReader()
    components.feed.listen(`${init.channel}/#`, this)
  }

  /** Below it everything is done. */
  get mark(): number {
    return this.#mark
  }

  close(): void {
    this.#components.feed.unlisten(`${this.channel}/#`, this)
  }

  offer(
    _channel: string,
    offset: number,
    count: number,
    indexes: readonly number[] | undefined
  ): void {
    this.#reader.offer(offset, count, indexes)
  }

  /** The next message that is not done; undefined when there is none now. */
  next(): GroupCandidate | undefined {
    for (;;) {
      const next = this.#held ?? this.#read()
      this.#held = undefined
      if (next === undefined) return undefined
      if (this.#components.state.isDone(next.log, next.sequence)) continue
      if (!this.#isAhead(next)) return next
      this.#held = next
      return undefined
    }
  }

  /** Reads again whatever is not done. */
  again(): void {
    this.#held = undefined
    this.#pending = new Map()
    this.#seen = new Map()
    this.#pendingOffset = this.#mark
    this.#entry = undefined
    this.#reader = this.#createReader()
    this.#init.onReadable()
  }

  /** The group turns out to be older than it seemed: what it did not want before is its. */
  rewind({ from, notBefore }: Place): void {
    this.#mark = Math.min(this.#mark, from)
    this.#notBefore = notBefore
    this.again()
  }

  /** Moves the mark on over what is done by now; true where it moved. */
  advance(): boolean {
    const { state } = this.#components
    for (const [log, sequences] of this.#pending) {
      if (!state.areDone(log, sequences)) return false
    }
    const moved = this.#pendingOffset > this.#mark
    this.#mark = this.#pendingOffset
    this.#pending = this.#seen
    this.#pendingOffset = this.#held?.candidate.offset ?? this.#reader.position
    this.#seen = new Map()
    return moved
  }

  #createReader(): ChannelReader {
    const { onError, onLost, onReadable } = this.#init
    return new ChannelReader(this.#components, {
      channel: this.channel,
      from: this.#mark,
      // What does not match is looked at all the same: nobody has to do it.
      matches: () => true,
      passes: undefined,
      onLongWay: onReadable,
      onReadable,
      onLost,
      onError
    })
  }

  #read(): GroupCandidate | undefined {
    const { state } = this.#components
    for (;;) {
      const candidate = this.#reader.next()
      const header = candidate?.entry.header
      if (candidate === undefined) return undefined
      if (header === undefined) continue
      if (candidate.entry !== this.#entry) {
        this.#entry = candidate.entry
        this.#log = logKey(header)
      }
      const log = this.#log
      const sequence = header.first + candidate.index
      // Nobody is told that it is done: who knows of an earlier beginning of the group wants it.
      if (candidate.entry.bornAt < this.#notBefore) continue
      this.#remember(log, sequence)
      if (!this.#isWanted(candidate)) state.finish(log, sequence)
      else return { candidate, log, sequence }
    }
  }

  #isWanted({ entry, message }: Candidate): boolean {
    const { clock } = this.#components
    if (!this.#init.matches(joinTopic(this.channel, message.suffix))) return false
    if (message.ttlMs === undefined || clock.now() < entry.bornAt + message.ttlMs) return true
    this.#init.onExpired()
    return false
  }

  #remember(log: string, sequence: number): void {
    let seen = this.#seen.get(log)
    if (seen === undefined) {
      seen = new RangeSet()
      this.#seen.set(log, seen)
    }
    seen.add(sequence)
  }

  /** Too much of its log is done above what is not: who hands over more makes the holes more than can be told. */
  #isAhead({ log, sequence }: GroupCandidate): boolean {
    const done = this.#components.state.done(log)
    if (done === undefined || done.ranges.length < LIMITS.groupRanges) return false
    return sequence > done.last
  }
}
