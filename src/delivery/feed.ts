import { LIMITS } from '../core/limits.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import type { SealedRecord } from '../wire/record.ts'
import { joinTopic } from '../wire/topic.ts'
import { TopicTrie } from '../wire/topic-trie.ts'
import type { Decoder } from './decoder.ts'

/** A journal entry in memory. */
export interface LiveEntry {
  readonly entry: JournalEntry
  readonly record: SealedRecord
}

/** What an entry takes beside the bytes of its record: objects, digest, places in tables. Measured, 1.1 to 1.3 KiB. */
const ENTRY_BYTES = 1280

/** Someone who wants to know of new messages. */
export interface FeedListener {
  /**
   * New messages of `channel` match: those at `indexes` of the entry at `offset`, or all `count` of them. Only
   * a reference; the entry is fetched from the feed when it is its turn.
   */
  offer(
    channel: string,
    offset: number,
    count: number,
    indexes: readonly number[] | undefined
  ): void
}

interface Tail {
  /** Oldest first; the key is the entry's first offset. */
  readonly entries: Map<number, LiveEntry>
  /** End of the newest entry that was fed. */
  next: number
}

/**
 * Hands new journal entries to the listeners whose filter matches, and keeps the newest entries of all
 * channels in memory, in LIMITS.liveTailBytes together. Whoever is further behind reads from the store.
 */
export class Feed {
  readonly #store: Store
  readonly #decoder: Decoder
  readonly #trie = new TopicTrie<FeedListener>()
  readonly #tails = new Map<string, Tail>()
  readonly #atStart = new Map<string, number>()
  /** Which entry to forget next, in order of arrival. */
  readonly #order: { channel: string; offset: number; bytes: number }[] = []
  #oldest = 0
  #bytes = 0
  #unsubscribe: (() => void) | undefined

  constructor(store: Store, decoder: Decoder) {
    this.#store = store
    this.#decoder = decoder
  }

  /** Starts to listen; nothing may have been appended since the store was opened. */
  start(): void {
    for (const channel of this.#store.channels()) {
      this.#atStart.set(channel, this.#tail(channel).next)
    }
    this.#unsubscribe = this.#store.events.on('journal', ({ channel, entries }) => {
      for (const entry of entries) this.#take(channel, entry)
    })
  }

  stop(): void {
    this.#unsubscribe?.()
    this.#tails.clear()
    this.#order.length = 0
    this.#bytes = 0
    this.#oldest = 0
  }

  listen(filter: string, listener: FeedListener): void {
    this.#trie.add(filter, listener)
  }

  unlisten(filter: string, listener: FeedListener): void {
    this.#trie.delete(filter, listener)
  }

  /** Offset after the newest message that listeners were told of. */
  next(channel: string): number {
    return this.#tail(channel).next
  }

  /** What `next` was when the node started: nothing from there on was handed over in an earlier life. */
  nextAtStart(channel: string): number {
    return this.#atStart.get(channel) ?? 0
  }

  /** Is a reader at `offset` further back than what is in memory, and not just about to begin? */
  isBehind(channel: string, offset: number): boolean {
    const tail = this.#tails.get(channel)
    if (tail === undefined || offset >= tail.next) return false
    const [oldest] = tail.entries.keys()
    return oldest !== undefined && offset < oldest
  }

  /** The entry that starts at `offset`, while it is in memory. */
  at(channel: string, offset: number): LiveEntry | undefined {
    return this.#tails.get(channel)?.entries.get(offset)
  }

  #tail(channel: string): Tail {
    let tail = this.#tails.get(channel)
    if (tail === undefined) {
      tail = { entries: new Map(), next: this.#store.journal(channel).next }
      this.#tails.set(channel, tail)
    }
    return tail
  }

  #take(channel: string, entry: JournalEntry): void {
    const tail = this.#tail(channel)
    tail.next = entry.offset + entry.count
    if (entry.record === undefined) return
    const live: LiveEntry = { entry, record: entry.record }
    tail.entries.set(entry.offset, live)
    const bytes = entry.record.bytes.byteLength + ENTRY_BYTES
    this.#order.push({ channel, offset: entry.offset, bytes })
    this.#bytes += bytes
    this.#forget()
    if (this.#trie.size > 0) this.#route(channel, live)
  }

  #forget(): void {
    while (this.#bytes > LIMITS.liveTailBytes) {
      const oldest = this.#order[this.#oldest++]
      if (oldest === undefined) return
      this.#bytes -= oldest.bytes
      this.#tails.get(oldest.channel)?.entries.delete(oldest.offset)
    }
    if (this.#oldest < 1024) return
    this.#order.splice(0, this.#oldest)
    this.#oldest = 0
  }

  #route(channel: string, { entry, record }: LiveEntry): void {
    const messages = this.#decoder.messagesOf(record)
    const first = messages[0]
    if (first === undefined) return
    // The decoder gives equal neighbours the same string, so one comparison a message settles the common case.
    if (messages.every((message) => message.suffix === first.suffix)) {
      for (const listener of this.#trie.match(joinTopic(channel, first.suffix))) {
        listener.offer(channel, entry.offset, entry.count, undefined)
      }
      return
    }
    const wanted = new Map<FeedListener, number[]>()
    messages.forEach((message, index) => {
      for (const listener of this.#trie.match(joinTopic(channel, message.suffix))) {
        const indexes = wanted.get(listener)
        if (indexes === undefined) wanted.set(listener, [index])
        else indexes.push(index)
      }
    })
    for (const [listener, indexes] of wanted) {
      const all = indexes.length === entry.count
      listener.offer(channel, entry.offset, entry.count, all ? undefined : indexes)
    }
  }
}
