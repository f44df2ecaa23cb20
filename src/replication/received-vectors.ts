import { createHash } from 'node:crypto'
import { type Clock, type Timer, every } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import { KIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { JournalEntry, LogRef, Received, RetentionPolicy, Store } from '../store/contract.ts'
import { decodeMessages } from '../wire/body.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import { FLAGS } from '../wire/record.ts'
import { parseFilter, parseTopic } from '../wire/topic.ts'
import { decodeVector, encodeVector } from '../wire/vector.ts'
import type { Membership } from './membership.ts'
import type { Publisher } from './publisher.ts'

/** Last values (`keepLast: 1`) of what nodes with durable subscriptions hold: `$receipts/<peer>/<channel>`. */
export const RECEIPTS_CHANNEL = '$receipts'

export interface ReceivedVectorsComponents {
  readonly store: Pick<
    Store,
    'channels' | 'events' | 'flush' | 'journal' | 'logs' | 'readJournal' | 'registrations'
  >
  readonly publisher: Pick<Publisher, 'publish'>
  readonly membership: Pick<Membership, 'hold'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface ReceivedVectorsInit {
  /** PeerId of this node. */
  readonly self: PeerId
  readonly retention: (channel: string) => Pick<RetentionPolicy, 'untilReceived'>
  /** Every durable subscription known whose filter matches in the channel, this node's own included. */
  readonly subscribersOf: (
    channel: string
  ) => ReadonlyArray<{ readonly peerId: PeerId; readonly name: string }>
  /** Least offset of this node's own durable subscriptions in the channel's journal; undefined where it has none. */
  readonly ownOffset: (channel: string) => Promise<number | undefined>
}

/** A vector is told at most this often, ms, and only where it has changed. */
const TELL_MS = 5_000
/** Logs of one channel that a vector may name: what fits a payload. */
const MAX_LOGS = 4_096
/** Vectors remembered: a hundred channels of some hundred nodes. What comes above it counts as not told. */
const MAX_VECTORS = 16_384
/** Read from the journal at once. */
const READ_BYTES = 256 * KIB
/** A channel whose name is longer as part of a topic goes by its hash. */
const CHANNEL_CHARS = 120
const NOT_BELOW = 'nothing of the channel is trimmed before it expires'

interface Told {
  /** Session and first sequence of the record it came in: newer ones compare greater. */
  readonly session: string
  readonly sequence: number
  /** Head by publisher and session. */
  readonly heads: ReadonlyMap<string, number>
}

/**
 * What nodes with durable subscriptions hold of channels that are kept until received: each tells its own synced
 * vector, and a trim takes what all of them have. A vector counts only where its record is signed by the peer that
 * it is about.
 */
export class ReceivedVectors implements Lifecycle {
  /** Vectors told and taken since start, and those that were not the word of whom they are about, or malformed. */
  readonly stats = { told: 0, taken: 0, refused: 0 }
  readonly #components: ReceivedVectorsComponents
  readonly #init: ReceivedVectorsInit
  /** By peer and channel, as they stand in the topic. */
  readonly #vectors = new Map<string, Told>()
  /** What was told of each channel in this life. */
  readonly #told = new Map<string, Uint8Array>()
  #cleanup: (() => void)[] = []
  #timer: Timer | undefined
  #running: Promise<void> = Promise.resolve()
  #joined = false
  #stopped = false

  constructor(components: ReceivedVectorsComponents, init: ReceivedVectorsInit) {
    this.#components = components
    this.#init = init
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined || this.#stopped) return
    const { clock, store } = this.#components
    this.#cleanup.push(
      store.events.on('journal', ({ channel, entries }) => {
        if (channel === RECEIPTS_CHANNEL) for (const entry of entries) this.#take(entry)
      })
    )
    this.#timer = every(clock, TELL_MS, () => this.#tick())
    await this.#readJournal()
    this.#join()
  }

  /** Before the publisher stops. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    for (const undo of this.#cleanup.splice(0)) undo()
    await this.#running
  }

  /** For `store.trim`; undefined where no durable subscription is known: then nothing is trimmed for being received. */
  async received(channel: string): Promise<Received | undefined> {
    const { ownOffset, self, subscribersOf } = this.#init
    const others = new Set(subscribersOf(channel).map(({ peerId }) => peerId))
    others.delete(self)
    const own = await ownOffset(channel)
    if (others.size === 0 && own === undefined) return undefined
    const level = levelOf(channel)
    return {
      offset: own ?? Number.MAX_SAFE_INTEGER,
      sequence: ({ publisher, session }: LogRef) => {
        let least = Number.MAX_SAFE_INTEGER
        for (const peer of others) {
          const heads = this.#vectors.get(`${peer}/${level}`)?.heads
          least = Math.min(least, heads?.get(`${publisher}/${session}`) ?? 0)
        }
        return least
      }
    }
  }

  #isKept(channel: string): boolean {
    return scopeOf(channel) === 'mesh' && this.#init.retention(channel).untilReceived
  }

  /** Who keeps something until it is received wants to hear of it. */
  #join(): void {
    const { membership, store } = this.#components
    if (this.#joined || !store.channels().some((channel) => this.#isKept(channel))) return
    this.#joined = true
    // Last values are as old as what they say.
    this.#cleanup.push(membership.hold(RECEIPTS_CHANNEL, 'all'))
  }

  #tick(): Promise<void> {
    this.#join()
    this.#running = this.#tellAll()
    return this.#running
  }

  async #tellAll(): Promise<void> {
    const { logger, store } = this.#components
    const filters = store.registrations().map(({ filter }) => parseFilter(filter))
    for (const channel of store.channels()) {
      if (this.#stopped) return
      const isWanted = filters.some((filter) => filter.matchesChannel(channel))
      if (!isWanted || !this.#isKept(channel)) continue
      try {
        await this.#tell(channel)
      } catch (error) {
        if (!isSkeinError(error)) throw error
        logger.warn({ err: error, channel }, `what is held could not be told; ${NOT_BELOW}`)
      }
    }
  }

  async #tell(channel: string): Promise<void> {
    const { publisher, store } = this.#components
    const logs = store.logs(channel)
    const vector = encodeVector(
      logs.map(({ floor, head, islands, publisher: author, session }) => {
        return { publisher: author, session, held: { floor, head, islands } }
      })
    )
    const told = this.#told.get(channel)
    if (told !== undefined && Buffer.compare(told, vector) === 0) return
    // What is counted above is on disk then.
    await store.flush()
    const topic = parseTopic(`${RECEIPTS_CHANNEL}/${this.#init.self}/${levelOf(channel)}`)
    const { suffix, suffixBytes } = topic
    await publisher.publish({ topic, suffix, suffixBytes, payload: vector }, 'stored')
    this.#told.set(channel, vector)
    this.stats.told++
  }

  async #readJournal(): Promise<void> {
    const { store } = this.#components
    const { first, next } = store.journal(RECEIPTS_CHANNEL)
    for (let offset = first; offset < next && !this.#stopped;) {
      const entries = await store.readJournal(RECEIPTS_CHANNEL, offset, { maxBytes: READ_BYTES })
      const last = entries.at(-1)
      if (last === undefined) return
      for (const entry of entries) this.#take(entry)
      offset = last.offset + last.count
    }
  }

  #take({ record }: JournalEntry): void {
    if (record === undefined || (record.header.flags & FLAGS.control) !== 0) return
    const { count, first, publisher, session } = record.header
    for (const [index, { payload, suffix }] of decodeMessages(record.body, count).entries()) {
      const sequence = first + index
      const [, peer, level, ...rest] = suffix.split('/')
      if (peer !== publisher || level === undefined || rest.length > 0) {
        this.stats.refused++
        continue
      }
      const before = this.#vectors.get(`${peer}/${level}`)
      const isOlder =
        before !== undefined &&
        (before.session > session || (before.session === session && before.sequence > sequence))
      const isTooMuch = before === undefined && this.#vectors.size >= MAX_VECTORS
      const heads = isOlder || isTooMuch ? undefined : this.#decode(payload, publisher)
      if (heads !== undefined) this.#vectors.set(`${peer}/${level}`, { session, sequence, heads })
    }
  }

  #decode(payload: Uint8Array, peer: PeerId): ReadonlyMap<string, number> | undefined {
    try {
      const heads = new Map<string, number>()
      for (const { held, publisher, session } of decodeVector(payload, MAX_LOGS)) {
        heads.set(`${publisher}/${session}`, held.head)
      }
      this.stats.taken++
      return heads
    } catch (error) {
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      this.stats.refused++
      this.#components.logger.debug({ err: error, peer }, 'a peer told a malformed vector')
      return undefined
    }
  }
}

/** The channel as one level of a topic; a long one goes by its hash, the empty one by a name that no other has. */
function levelOf(channel: string): string {
  const name = encodeURIComponent(channel)
  if (name.length <= CHANNEL_CHARS) return name === '' ? '%' : name
  return `~${createHash('sha256').update(channel).digest('hex')}`
}
