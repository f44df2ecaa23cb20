import type { SealedRecord } from '../wire/record.ts'
import type { JournalState, LogRef, SequenceRange } from './contract.ts'
import { emptyLog } from './held-log.ts'
import type { HeldLog } from './held-log.ts'
import { journalPrefix, logName, logPrefix, SPACE } from './keys.ts'

/** A record on its way to the disk. */
export interface PendingRecord {
  readonly record: SealedRecord
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
  /** The holes that listeners were told of. */
  reported = ''
  readonly recordPrefix: Buffer
  readonly headKey: Buffer

  constructor(log: HeldLog, journaled: number) {
    this.planned = log
    this.committed = log
    this.journaled = journaled
    this.recordPrefix = logPrefix(SPACE.record, log)
    this.headKey = logPrefix(SPACE.head, log)
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

  /** A log that is not known yet. */
  create(ref: LogRef, floor: number): LogSlot {
    return this.add(new LogSlot(emptyLog(ref, floor), floor - 1))
  }

  add(slot: LogSlot): LogSlot {
    const { channel, publisher, session } = slot.planned
    let logs = this.#channels.get(channel)
    if (logs === undefined) {
      logs = new Map()
      this.#channels.set(channel, logs)
    }
    logs.set(logName(slot.planned), slot)
    if (session > (this.#sessions.get(publisher) ?? '')) this.#sessions.set(publisher, session)
    return slot
  }

  delete(slot: LogSlot): void {
    this.#channels.get(slot.planned.channel)?.delete(logName(slot.planned))
  }

  latestSession(publisher: string): string | undefined {
    return this.#sessions.get(publisher)
  }

  journal(channel: string): JournalSlot {
    let journal = this.#journals.get(channel)
    if (journal === undefined) {
      journal = new JournalSlot(channel, { first: 0, next: 0 })
      this.#journals.set(channel, journal)
    }
    return journal
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
