import type { Clock } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import type { LogEntry, LogState, Store } from '../store/contract.ts'
import type { DecodedMessage } from '../wire/body.ts'
import type { RecordHeader, SealedRecord } from '../wire/record.ts'
import {
  comparePlaces,
  decodeTimeCursor,
  encodeTimeCursor,
  type TimePlace
} from '../wire/time-cursor.ts'
import {
  joinTopic,
  parseFilter,
  type ParsedFilter,
  resolveSelf,
  topicMatches
} from '../wire/topic.ts'
import type { HistoryOptions, Message } from './contract.ts'
import type { Decoder } from './decoder.ts'
import { LogTape, type TapeBudget, placeOf } from './log-tape.ts'
import { DeliveredMessage, type MessageOwner } from './message.ts'

export interface HistoryComponents {
  readonly store: Pick<Store, 'logs' | 'readLog'>
  readonly decoder: Decoder
  readonly clock: Clock
}

export interface HistoryInit {
  /** PeerId of this node: what `@me` stands for. */
  readonly self: string
}

interface Asked {
  readonly filter: ParsedFilter
  readonly since: number
  readonly until: number
  readonly limit: number
  readonly after: TimePlace | undefined
  readonly signal: AbortSignal | undefined
}

const NOBODY: MessageOwner = {
  epoch: '',
  acknowledge: () => Promise.resolve(),
  retry: () => Promise.resolve()
}

/** A message that was read: no subscription waits for its acknowledgement. */
class HistoryMessage extends DeliveredMessage {
  override get cursor(): string {
    const { entry, index } = this.candidate
    const { header } = entry
    if (header === undefined) throw new Error('a message without a header')
    return encodeTimeCursor({ ...placeOf(header), sequence: header.first + index })
  }
}

/**
 * Reads what this node holds in the order of time: the logs that a filter reaches, merged by the hybrid time of their
 * records. Its memory does not depend on how much that is, nor, but for a place each, on how many logs.
 */
export class History {
  readonly #components: HistoryComponents
  readonly #init: HistoryInit

  constructor(components: HistoryComponents, init: HistoryInit) {
    this.#components = components
    this.#init = init
  }

  /**
   * Every iteration reads anew. Throws ERR_FILTER, ERR_CURSOR_UNKNOWN; the iteration rejects with ERR_ABORTED, and
   * with what keeps the store from reading.
   */
  read(filter: string, options: HistoryOptions = {}): AsyncIterable<Message> {
    const { after, limit = Infinity, signal, since, until } = options
    const asked: Asked = {
      filter: parseFilter(resolveSelf(filter, this.#init.self)),
      since: since?.getTime() ?? -Infinity,
      until: until?.getTime() ?? Infinity,
      limit,
      after: after === undefined ? undefined : decodeTimeCursor(after),
      signal
    }
    return { [Symbol.asyncIterator]: () => this.#messages(asked) }
  }

  async *#messages(asked: Asked): AsyncGenerator<Message> {
    let left = asked.limit
    for await (const entry of this.#records(asked)) {
      for (const message of this.#messagesOf(entry, asked)) {
        yield message
        if (--left <= 0) return
      }
    }
  }

  async *#records(asked: Asked): AsyncGenerator<LogEntry> {
    const { signal, until } = asked
    // The one whose record comes next stands last.
    const tapes: LogTape[] = []
    const budget: TapeBudget = { bytes: 0 }
    for (const log of this.#logs(asked)) {
      assertGoesOn(signal)
      const tape = new LogTape(this.#components.store, log, budget)
      await tape.seek((header) => isPassed(header, asked))
      insert(tapes, tape)
    }
    for (let tape = tapes.pop(); tape !== undefined; tape = tapes.pop()) {
      assertGoesOn(signal)
      if (tape.place === undefined || tape.place.time.ms >= until) return
      const entry = await tape.take()
      insert(tapes, tape)
      if (entry !== undefined) yield entry
    }
  }

  /** The logs that may hold something of what is asked for. */
  #logs({ after, filter, since }: Asked): LogState[] {
    const from = Math.max(since, after?.time.ms ?? -Infinity)
    return this.#components.store
      .logs(filter.channel)
      .filter(({ channel, timeMs }) => timeMs >= from && filter.matchesChannel(channel))
  }

  #messagesOf({ bornAt, head, record }: LogEntry, { after, filter }: Asked): HistoryMessage[] {
    if (record === undefined) return []
    const { header } = head
    const { channel, count } = header
    const now = this.#components.clock.now()
    const entry = { channel, offset: 0, count, record, header, bornAt, late: false }
    return this.#decoded(record).flatMap((message, index) => {
      const { suffix, ttlMs } = message
      if (ttlMs !== undefined && now >= bornAt + ttlMs) return []
      if (!topicMatches(filter, joinTopic(channel, suffix))) return []
      const place = { ...placeOf(header), sequence: header.first + index }
      if (after !== undefined && comparePlaces(place, after) <= 0) return []
      const candidate = { entry, message, index, offset: 0 }
      return [new HistoryMessage(NOBODY, candidate, { attempt: 0, late: false })]
    })
  }

  #decoded(record: SealedRecord): readonly DecodedMessage[] {
    try {
      return this.#components.decoder.messagesOf(record)
    } catch (error) {
      // Judged by an earlier version that took what this one refuses: it must not hold up the rest.
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      return []
    }
  }
}

/** Does all of a record come before what is asked for? */
function isPassed(header: RecordHeader, { after, since }: Asked): boolean {
  if (header.time.ms < since) return true
  if (after === undefined) return false
  const last = { ...placeOf(header), sequence: header.first + header.count - 1 }
  return comparePlaces(last, after) <= 0
}

/** Keeps the tapes in order, the latest place first; one that has ended is left out. */
function insert(tapes: LogTape[], tape: LogTape): void {
  const { place } = tape
  if (place === undefined) return
  let low = 0
  let high = tapes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = tapes[middle]?.place
    if (other !== undefined && comparePlaces(other, place) > 0) low = middle + 1
    else high = middle
  }
  tapes.splice(low, 0, tape)
}

function assertGoesOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return
  throw new SkeinError('ERR_ABORTED', 'the reading was aborted', { cause: signal.reason })
}
