import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { missingIn } from '../wire/vector.ts'
import type { JournalState, LogRef, SequenceRange } from './contract.ts'
import { emptyLog, merged } from './held-log.ts'
import type { HeldLog } from './held-log.ts'
import { journalPrefix, logName, logPrefix, SPACE } from './keys.ts'

/** Where the journal of a new channel begins: what is fetched from before has room in front of it. */
export const JOURNAL_START = 2 ** 32

/** A record on its way to the disk. */
export interface PendingRecord {
  readonly record: SealedRecord | RecordHead
  readonly bornAt: number
  readonly late: boolean
}

/** What is known in memory of one log. */
export class LogSlot {
  /** With everything that was accepted, written or not. */
  planned: HeldLog
  /** With everything that is part of a commit. */
  committed: HeldLog
  /** Sequences up to this one have been put into the journal. */
  journaled: number
  /** Ranges put into the journal that were lost before everyone had read them: they come again. */
  owed: readonly SequenceRange[] = []
  /** Accepted and not written yet, by first sequence. */
  readonly pending = new Map<number, PendingRecord>()
  /** Changes that `planned` has and `committed` has not yet, besides those of `pending`. */
  ahead = 0
  /** Something of it has been put into the journal. */
  entered: boolean
  /** The last read ended with a record right below this sequence: no record reaches over it. */
  boundary = 1
  /** The holes that listeners were told of. */
  reported = ''
  /** All sessions of the publisher in the channel, this one included, in their order. */
  siblings: LogSlot[] = [this]
  readonly recordPrefix: Buffer
  readonly headKey: Buffer

  constructor(log: HeldLog, journaled: number) {
    this.planned = log
    this.committed = log
    this.journaled = journaled
    // Of a log that was trimmed to its end only the digest tells.
    const isTrimmed = log.headDigest !== undefined && journaled >= log.head
    this.entered = journaled >= log.floor || isTrimmed
    this.recordPrefix = logPrefix(SPACE.record, log)
    this.headKey = logPrefix(SPACE.head, log)
  }

  /** Must something of an earlier session come first? */
  get isBlocked(): boolean {
    if (this.siblings.length === 1) return false
    for (const earlier of this.siblings) {
      if (earlier === this) return false
      if (earlier.isIncomplete) return true
    }
    return false
  }

  /** Has something of a later session been put into the journal? */
  get isLate(): boolean {
    const last = this.siblings.at(-1)
    if (last === this || last === undefined) return false
    const { session } = this.committed
    return this.siblings.some((later) => later.entered && later.committed.session > session)
  }

  /** Is something of the log on its way into the journal, or missing that should have come by now? */
  get isIncomplete(): boolean {
    const { committed, journaled } = this
    if (committed.head > journaled) return true
    if (committed.islands.length === 0 && committed.expected <= committed.head) return false
    // Above a fork nothing comes any more.
    const { forkedAt = Infinity } = committed
    return missingIn(committed).some(({ from, to }) => to > journaled && from < forkedAt)
  }

  /** What is on its way to the disk in a range, ascending. */
  unwritten(range: SequenceRange): SequenceRange[] {
    if (this.pending.size === 0) return []
    const ranges: SequenceRange[] = []
    for (const [from, { record }] of this.pending) {
      const to = from + record.header.count - 1
      if (from <= range.to && range.from <= to) ranges.push({ from, to })
    }
    return merged(ranges)
  }

  get ref(): LogRef {
    const { channel, publisher, session } = this.planned
    return { channel, publisher, session }
  }

  /** Applies a change that is not about new records to both views. */
  change(apply: (log: HeldLog) => HeldLog): void {
    const same = this.planned === this.committed
    this.committed = apply(this.committed)
    this.planned = same ? this.committed : apply(this.planned)
    this.journaled = Math.max(this.journaled, this.committed.floor - 1)
  }

  /**
   * Applies a change at once to what was accepted; call the result when it is part of a commit. What is accepted
   * in between is planned with the change in view.
   */
  plan(apply: (log: HeldLog) => HeldLog): () => void {
    this.planned = apply(this.planned)
    this.ahead++
    return () => {
      this.committed = apply(this.committed)
      this.ahead--
      if (this.pending.size === 0 && this.ahead === 0) this.planned = this.committed
    }
  }
}

/** What is known in memory of one journal. */
export class JournalSlot {
  readonly prefix: Buffer
  first: number
  /** Written. */
  next: number
  /** Part of a commit. */
  tail: number

  constructor(channel: string, { first, next }: JournalState) {
    this.prefix = journalPrefix(channel)
    this.first = first
    this.next = next
    this.tail = next
  }
}

/** All log states and journal bounds, in memory. */
export class Mirror {
  readonly #channels = new Map<string, Map<string, LogSlot>>()
  readonly #journals = new Map<string, JournalSlot>()
  readonly #sessions = new Map<string, string>()
  /** The logs of one publisher in one channel, by session. */
  readonly #siblings = new Map<string, LogSlot[]>()

  channels(): string[] {
    return [...this.#channels.keys()]
  }

  log(ref: LogRef): LogSlot | undefined {
    return this.#channels.get(ref.channel)?.get(logName(ref))
  }

  *logs(channel?: string): Generator<LogSlot> {
    if (channel !== undefined) {
      yield* this.#channels.get(channel)?.values() ?? []
      return
    }
    for (const logs of this.#channels.values()) yield* logs.values()
  }

  /** A log that is not known yet. `bornAt`: now, where it is to be remembered with nothing in it. */
  create(ref: LogRef, floor: number, bornAt?: number): LogSlot {
    return this.add(new LogSlot(emptyLog(ref, floor, bornAt), floor - 1))
  }

  add(slot: LogSlot): LogSlot {
    const { channel, publisher, session } = slot.planned
    let logs = this.#channels.get(channel)
    if (logs === undefined) {
      logs = new Map()
      this.#channels.set(channel, logs)
    }
    const key = `${publisher}/${channel}`
    const siblings = this.#siblings.get(key)
    if (siblings === undefined) this.#siblings.set(key, slot.siblings)
    else {
      slot.siblings = siblings
      const at = siblings.findIndex(({ planned }) => planned.session > session)
      siblings.splice(at === -1 ? siblings.length : at, 0, slot)
    }
    logs.set(logName(slot.planned), slot)
    if (session > (this.#sessions.get(publisher) ?? '')) this.#sessions.set(publisher, session)
    return slot
  }

  delete(slot: LogSlot): void {
    const { channel, publisher } = slot.planned
    slot.siblings.splice(slot.siblings.indexOf(slot), 1)
    if (slot.siblings.length === 0) this.#siblings.delete(`${publisher}/${channel}`)
    this.#channels.get(slot.planned.channel)?.delete(logName(slot.planned))
  }

  latestSession(publisher: string): string | undefined {
    return this.#sessions.get(publisher)
  }

  journal(channel: string): JournalSlot {
    let journal = this.#journals.get(channel)
    if (journal === undefined) {
      journal = new JournalSlot(channel, { first: JOURNAL_START, next: JOURNAL_START })
      this.#journals.set(channel, journal)
    }
    return journal
  }

  hasJournal(channel: string): boolean {
    return this.#journals.has(channel)
  }

  journals(): IterableIterator<[string, JournalSlot]> {
    return this.#journals.entries()
  }

  setJournal(channel: string, bounds: JournalState): void {
    this.#journals.set(channel, new JournalSlot(channel, bounds))
    if (!this.#channels.has(channel)) this.#channels.set(channel, new Map())
  }

  /** Bytes and records held, in one channel or in all. */
  usage(channel?: string): { bytes: number; records: number } {
    let bytes = 0
    let records = 0
    for (const { planned } of this.logs(channel)) {
      bytes += planned.bytes
      records += planned.records
    }
    return { bytes, records }
  }
}
