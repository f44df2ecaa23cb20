import { LIMITS } from '../core/limits.ts'
import type { LogEntry, LogState, Store } from '../store/contract.ts'
import type { RecordHeader } from '../wire/record.ts'
import type { TimePlace } from '../wire/time-cursor.ts'

/** Bytes of records that all tapes of one reader hold. */
export interface TapeBudget {
  bytes: number
}

/** The place of a record: that of its first message. */
export function placeOf({ first, publisher, session, time }: RecordHeader): TimePlace {
  return { time, publisher, session, sequence: first }
}

/** Reads the records of one log, those held when it was opened, in order. */
export class LogTape {
  readonly #store: Pick<Store, 'readLog'>
  readonly #log: LogState
  readonly #budget: TapeBudget
  /** Greatest sequence to read. */
  readonly #end: number
  /** Where the next read begins. */
  #next: number
  #loaded: LogEntry[] = []
  #place: TimePlace | undefined

  constructor(store: Pick<Store, 'readLog'>, log: LogState, budget: TapeBudget) {
    this.#store = store
    this.#log = log
    this.#budget = budget
    this.#next = log.floor
    this.#end = Math.max(log.head, log.islands.at(-1)?.to ?? 0)
  }

  /** Of the next record; undefined at the end. */
  get place(): TimePlace | undefined {
    return this.#place
  }

  /** Moves to the first record that is not passed. A publisher's clock never goes back within a log. */
  async seek(isPassed: (header: RecordHeader) => boolean): Promise<void> {
    let low = this.#log.floor
    let high = this.#end
    let found: RecordHeader | undefined
    const first = await this.#headerAt(low)
    if (first === undefined) return
    if (isPassed(first)) low = first.first + first.count
    else [found, high] = [first, 0]
    while (low <= high) {
      const middle = Math.floor((low + high) / 2)
      const header = await this.#headerAt(middle)
      if (header === undefined) high = middle - 1
      else if (isPassed(header)) low = header.first + header.count
      else {
        found = header
        high = Math.min(middle, header.first) - 1
      }
    }
    if (found === undefined) return
    this.#next = found.first
    this.#place = placeOf(found)
  }

  /** The record at `place`, and moves on; undefined where it is gone meanwhile. */
  async take(): Promise<LogEntry | undefined> {
    if (this.#loaded.length === 0) await this.#load()
    const found = this.#loaded[0]?.head.header
    if (found !== undefined && found.first !== this.#place?.sequence) {
      // Retention took what was to be read; what follows has its own place in the order.
      this.#place = placeOf(found)
      return undefined
    }
    const entry = this.#loaded.shift()
    this.#budget.bytes -= bytesOf(entry)
    if (this.#loaded.length === 0) await this.#load()
    const next = this.#loaded[0]?.head.header
    this.#place = next === undefined ? undefined : placeOf(next)
    if (this.#budget.bytes > LIMITS.historyBytes && next !== undefined) {
      // There are too many logs to read ahead in all of them: it is read again when it is its turn.
      this.#next = next.first
      for (const ahead of this.#loaded.splice(0)) this.#budget.bytes -= bytesOf(ahead)
    }
    return entry
  }

  async #load(): Promise<void> {
    if (this.#next > this.#end) return
    // Where many logs share the room, each reads less at once: one record at least.
    const room = (LIMITS.historyBytes - this.#budget.bytes) / 4
    const maxBytes = Math.min(LIMITS.readBytes, Math.max(1, room))
    this.#loaded = [
      ...(await this.#store.readLog(this.#log, this.#next, { to: this.#end, maxBytes }))
    ]
    const last = this.#loaded.at(-1)?.head.header
    this.#next = last === undefined ? this.#end + 1 : last.first + last.count
    for (const entry of this.#loaded) this.#budget.bytes += bytesOf(entry)
  }

  async #headerAt(sequence: number): Promise<RecordHeader | undefined> {
    const range = { to: this.#end, maxBytes: 1 }
    const [entry] = await this.#store.readLog(this.#log, sequence, range)
    return entry?.head.header
  }
}

function bytesOf(entry: LogEntry | undefined): number {
  return entry === undefined ? 0 : (entry.record ?? entry.head).bytes.byteLength
}
