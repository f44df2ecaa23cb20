import { LIMITS } from '../core/limits.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import { isSkeinError } from '../core/errors.ts'
import type { DecodedMessage } from '../wire/body.ts'
import { joinTopic } from '../wire/topic.ts'
import type { Decoder } from './decoder.ts'
import type { Feed, LiveEntry } from './feed.ts'
import type { Where } from './where.ts'

/** A message at its place in the journal, before it is decided whether to hand it over. */
export interface Candidate {
  readonly entry: JournalEntry
  readonly message: DecodedMessage
  /** Index within the entry. */
  readonly index: number
  /** Journal offset. */
  readonly offset: number
}

export interface ChannelReaderComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
}

export interface ChannelReaderInit {
  readonly channel: string
  /** Journal offset to begin at. */
  readonly from: number
  readonly matches: (topic: string) => boolean
  readonly passes: Where | undefined
  /** Something can be read again. */
  readonly onReadable: () => void
  /** Much was looked at and nothing passed: whoever else has work goes first, then it can be read again. */
  readonly onLongWay: () => void
  /** Journal offsets that are gone: `header` says whose, where it is known. */
  readonly onLost: (lost: { from: number; to: number; entry: JournalEntry | undefined }) => void
  readonly onError: (error: unknown) => void
}

interface Offered {
  readonly offset: number
  readonly count: number
  readonly indexes: readonly number[] | undefined
}

/** Offers kept for a reader that is up to date; with more waiting it goes back to reading by position. */
const OFFERS = 1_024

/**
 * Reads one channel's journal for one subscription. Up to date, it takes what the feed offers, from memory.
 * Behind, it reads by position, from memory where the feed still has it, else from disk, twice LIMITS.readBytes at
 * most. So its memory is bounded however far it is behind.
 */
export class ChannelReader {
  readonly channel: string
  readonly #components: ChannelReaderComponents
  readonly #init: ChannelReaderInit
  /** Next offset to look at. Up to date and with nothing offered, it lags: see `position`. */
  #position: number
  #live = false
  readonly #offers: Offered[] = []
  #loaded: JournalEntry[] = []
  #loading = false
  /** Below, the last look at the disk found nothing. */
  #gone = 0
  #current: LiveEntry | undefined
  /** Of `#current`. */
  #messages: readonly DecodedMessage[] = []
  #indexes: readonly number[] | undefined
  /** Next place in `#indexes`, or in the entry when all match. */
  #at = 0
  /** Last topic matched while behind, and the answer. */
  #lastSuffix: string | undefined
  #lastMatches = false

  constructor(components: ChannelReaderComponents, init: ChannelReaderInit) {
    this.#components = components
    this.#init = init
    this.channel = init.channel
    this.#position = init.from
  }

  /** Everything below was returned by `next` or does not match. */
  get position(): number {
    if (this.#current !== undefined) return this.#position
    const offered = this.#offers[0]
    if (offered !== undefined) return offered.offset
    return this.#live ? this.#components.feed.next(this.channel) : this.#position
  }

  offer(offset: number, count: number, indexes: readonly number[] | undefined): void {
    if (!this.#live) return
    if (this.#offers.length >= OFFERS) {
      this.#position = this.position
      this.#live = false
      this.#offers.length = 0
    } else {
      this.#offers.push({ offset, count, indexes })
    }
    this.#init.onReadable()
  }

  /** The next matching message; undefined when there is none now (`onReadable` tells when there may be). */
  next(): Candidate | undefined {
    for (let bytes = 0; ;) {
      const candidate = this.#fromCurrent()
      if (candidate !== undefined) return candidate
      if (bytes > LIMITS.whereSliceBytes) {
        this.#init.onLongWay()
        return undefined
      }
      if (!this.#advance()) return undefined
      if (this.#init.passes !== undefined) bytes += this.#current?.record.body.byteLength ?? 0
    }
  }

  #fromCurrent(): Candidate | undefined {
    const current = this.#current
    if (current === undefined) return undefined
    const { entry, record } = current
    const { passes } = this.#init
    const messages = this.#messages
    const indexes = this.#indexes
    const end = indexes === undefined ? messages.length : indexes.length
    while (this.#at < end) {
      const index = indexes === undefined ? this.#at : (indexes[this.#at] as number)
      this.#at++
      const offset = entry.offset + index
      if (offset < this.#position) continue
      const message = messages[index]
      if (message === undefined) break
      this.#position = offset + 1
      if (this.#live || this.#matches(message.suffix)) {
        if (passes === undefined || passes({ header: record.header, messages, index })) {
          return { entry, message, index, offset }
        }
      }
    }
    this.#position = entry.offset + entry.count
    this.#current = undefined
    this.#messages = []
    return undefined
  }

  #matches(suffix: string): boolean {
    if (suffix !== this.#lastSuffix) {
      this.#lastSuffix = suffix
      this.#lastMatches = this.#init.matches(joinTopic(this.channel, suffix))
    }
    return this.#lastMatches
  }

  /** Makes the next entry current; false when there is none now. */
  #advance(): boolean {
    return this.#live ? this.#advanceLive() : this.#advanceBehind()
  }

  #advanceLive(): boolean {
    const offered = this.#offers.shift()
    if (offered === undefined) return false
    this.#position = Math.max(this.#position, offered.offset)
    const live = this.#components.feed.at(this.channel, offered.offset)
    if (live === undefined) {
      this.#live = false
      this.#offers.length = 0
      return true
    }
    this.#use(live, offered.indexes)
    return true
  }

  #advanceBehind(): boolean {
    const { feed } = this.#components
    const loaded = this.#loaded.shift()
    if (loaded !== undefined) {
      this.#passTo(loaded.offset)
      this.#useLoaded(loaded)
      this.#readAhead(loaded.offset + loaded.count)
      return true
    }
    if (this.#loading) return false
    this.#passTo(this.#gone)
    if (this.#position >= feed.next(this.channel)) {
      this.#live = true
      return this.#offers.length > 0
    }
    const inMemory = feed.at(this.channel, this.#position)
    if (inMemory !== undefined) {
      this.#use(inMemory, undefined)
      return true
    }
    this.#load(this.#position)
    return false
  }

  /** Everything up to there is gone from the disk. */
  #passTo(offset: number): void {
    if (offset <= this.#position) return
    this.#init.onLost({ from: this.#position, to: offset - 1, entry: undefined })
    this.#position = offset
  }

  #useLoaded(entry: JournalEntry): void {
    if (entry.record === undefined) {
      this.#lose(entry)
      return
    }
    try {
      this.#use({ entry, record: entry.record }, undefined)
    } catch (error) {
      // Judged by an earlier version that took what this one refuses: it must not hold up the rest.
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      this.#lose(entry)
    }
  }

  #use(live: LiveEntry, indexes: readonly number[] | undefined): void {
    this.#messages = this.#components.decoder.messagesOf(live.record)
    this.#current = live
    this.#indexes = indexes
    this.#at = 0
  }

  #lose(entry: JournalEntry): void {
    const from = Math.max(entry.offset, this.#position)
    this.#position = entry.offset + entry.count
    this.#init.onLost({ from, to: this.#position - 1, entry })
  }

  /** With the last one that is loaded, what follows is fetched: the disk works while messages are handed over. */
  #readAhead(from: number): void {
    const { feed } = this.#components
    if (this.#loaded.length > 0 || from >= feed.next(this.channel)) return
    if (feed.at(this.channel, from) === undefined) this.#load(from)
  }

  #load(from: number): void {
    if (this.#loading) return
    this.#loading = true
    const { store } = this.#components
    store
      .readJournal(this.channel, from, { maxBytes: LIMITS.readBytes })
      .then((entries) => {
        this.#gone = entries[0]?.offset ?? store.journal(this.channel).first
        if (entries.length === 0 && this.#gone <= from) {
          throw new Error(`journal of '${this.channel}' ends before ${from}`)
        }
        this.#loaded = entries
      })
      .catch(this.#init.onError)
      .finally(() => {
        this.#loading = false
        this.#init.onReadable()
      })
  }
}
