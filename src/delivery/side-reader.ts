import { LIMITS } from '../core/limits.ts'
import type { Hole } from '../replication/gaps.ts'
import type { JournalEntry, LogRef, SequenceRange, Store } from '../store/contract.ts'
import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { joinTopic } from '../wire/topic.ts'
import type { Candidate } from './channel-reader.ts'
import type { Decoder } from './decoder.ts'
import type { Where } from './where.ts'

export interface SideReaderInit {
  readonly matches: (topic: string) => boolean
  readonly passes: Where | undefined
  readonly onReadable: () => void
  readonly onError: (error: unknown) => void
}

interface SideLog extends LogRef {
  /** Read and handed over past the journal, ascending. */
  readonly delivered: SequenceRange[]
  /** Highest sequence read. */
  upTo: number
  /** End of the island that begins right above `upTo`. */
  target: number
}

/**
 * For a subscription that does not wait for gaps: reads what stands above a hole it has given up, which is not
 * in the journal. When the hole is filled after all, the journal brings those messages again and `judge` says
 * which of them were handed over and which come late.
 */
export class SideReader {
  readonly #store: Pick<Store, 'readLog' | 'log'>
  readonly #decoder: Decoder
  readonly #init: SideReaderInit
  readonly #logs = new Map<string, SideLog>()
  #ready: Candidate[] = []
  #loading = false

  constructor(
    components: { store: Pick<Store, 'readLog' | 'log'>; decoder: Decoder },
    init: SideReaderInit
  ) {
    this.#store = components.store
    this.#decoder = components.decoder
    this.#init = init
  }

  /** Was this hole given up already? */
  hasSkipped(hole: Hole): boolean {
    const log = this.#logs.get(keyOf(hole))
    return log !== undefined && hole.to <= log.upTo
  }

  /** Goes on above the hole. */
  skip(hole: Hole): void {
    const key = keyOf(hole)
    const log = this.#logs.get(key)
    if (log === undefined) {
      const { channel, publisher, session, to } = hole
      this.#logs.set(key, { channel, publisher, session, delivered: [], upTo: to, target: to })
    } else {
      log.upTo = log.target = Math.max(log.upTo, hole.to)
    }
    this.#init.onReadable()
  }

  /** A record was stored above a hole. */
  island(record: SealedRecord): void {
    const log = this.#logs.get(keyOf(record.header))
    if (log === undefined || record.header.first > log.target + 1) return
    this.#init.onReadable()
  }

  /** What to do with a message that the journal brings. */
  judge(candidate: Candidate): 'hand-over' | 'late' | 'done' {
    if (this.#logs.size === 0) return 'hand-over'
    const { header } = candidate.entry
    if (header === undefined) return 'hand-over'
    const log = this.#logs.get(keyOf(header))
    if (log === undefined) return 'hand-over'
    const sequence = header.first + candidate.index
    if (log.delivered.some((range) => range.from <= sequence && sequence <= range.to)) return 'done'
    if (sequence < log.upTo) return 'late'
    if (sequence > log.upTo) this.#logs.delete(keyOf(header))
    return 'hand-over'
  }

  next(): Candidate | undefined {
    if (this.#logs.size === 0) return undefined
    const candidate = this.#ready.shift()
    if (candidate === undefined) this.#load()
    return candidate
  }

  #load(): void {
    if (this.#loading) return
    for (const log of this.#logs.values()) {
      const island = this.#store.log(log)?.islands.find((range) => range.from === log.upTo + 1)
      log.target = Math.max(log.target, island?.to ?? 0, this.#endAt(log))
      if (log.target > log.upTo) {
        this.#read(log)
        return
      }
    }
  }

  /** An island that grew keeps its beginning, so what was read of it must be found by its end. */
  #endAt(log: SideLog): number {
    const islands = this.#store.log(log)?.islands ?? []
    return islands.find((range) => range.from <= log.upTo && log.upTo < range.to)?.to ?? 0
  }

  #read(log: SideLog): void {
    this.#loading = true
    this.#store
      .readLog(log, log.upTo + 1, { to: log.target, maxBytes: LIMITS.readBytes })
      .then((entries) => {
        for (const { head, record } of entries) this.#take(log, head, record)
        if (entries.length === 0) log.target = log.upTo
      })
      .catch(this.#init.onError)
      .finally(() => {
        this.#loading = false
        if (this.#ready.length > 0) this.#init.onReadable()
      })
  }

  #take(log: SideLog, { header }: RecordHead, record: SealedRecord | undefined): void {
    const entry: JournalEntry = {
      channel: header.channel,
      offset: 0,
      count: header.count,
      record,
      header,
      bornAt: header.time.ms,
      late: false
    }
    const to = header.first + header.count - 1
    const messages = record === undefined ? [] : this.#decoder.messagesOf(record)
    messages.forEach((message, index) => {
      if (header.first + index <= log.upTo) return
      if (!this.#init.matches(joinTopic(header.channel, message.suffix))) return
      if (this.#init.passes?.({ header, messages, index }) === false) return
      this.#ready.push({ entry, message, index, offset: -1 })
    })
    const last = log.delivered.at(-1)
    if (last !== undefined && last.to === header.first - 1) {
      log.delivered[log.delivered.length - 1] = { from: last.from, to }
    } else {
      log.delivered.push({ from: header.first, to })
    }
    log.upTo = to
  }
}

function keyOf(log: { channel: string; publisher: string; session: string }): string {
  return `${log.publisher}/${log.session}/${log.channel}`
}
