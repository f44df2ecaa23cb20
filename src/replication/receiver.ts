import type { Clock } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId, ReceivedFrame, Verdict } from '../mesh/contract.ts'
import type { AppendItem, AppendOutcome, LogRef, Store } from '../store/contract.ts'
import { checkMessages } from '../wire/body.ts'
import type { HybridClock } from '../wire/hybrid-clock.ts'
import { FLAGS, type RecordHead, type SealedRecord } from '../wire/record.ts'
import { RecentCache } from '../wire/recent-cache.ts'
import { recordError } from '../wire/protobuf.ts'
import { sessionMs } from '../wire/session.ts'
import type { PulledRecord } from '../wire/sync-frames.ts'
import type { Membership } from './membership.ts'
import { createRecordReader, digestKey, type RecordReader } from './record-reader.ts'

export interface ReceiverComponents {
  readonly store: Pick<Store, 'append' | 'prepend' | 'log'>
  readonly membership: Pick<Membership, 'since'>
  readonly clock: Clock
  readonly logger: Logger
  readonly hybridClock: HybridClock
  /** Default: one of its own. */
  readonly reader?: RecordReader | undefined
}

export interface ReceiverInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** The session this node publishes in now. */
  readonly ownSession: () => string
  /** A greater session of this node was seen; false where it must be another live node's. */
  readonly supersede: (session: string) => boolean
  /** Takes a verified record that is neither stored nor chained. */
  readonly ephemeral: (record: SealedRecord) => Verdict
}

/** Where pulled records come from, and of which log they are. */
export interface PulledFrom {
  readonly peer: PeerId
  readonly log: LogRef
  /** First sequence wanted, where the log is not known yet. */
  readonly floor: number | undefined
  /** They stand below the floor of a log that is known, and go in front of the journal. */
  readonly prepend?: boolean
}

export interface ReceiverEvents {
  /** A record was stored above a hole in its log. */
  island: { record: SealedRecord }
  /** Only the head of a record came; its body is not here. */
  announced: { log: LogRef; last: number; from: PeerId }
  /** A record of this node's own current session came from someone else. */
  impostor: { peer: PeerId; session: string; sequence: number }
  /** A publisher's statement about its own logs came. */
  statement: { record: SealedRecord }
}

/** Counters since start. `dropped` is by reason. */
export interface ReceiverStats {
  records: number
  messages: number
  bytes: number
  /** Of the records, those that neighbours were asked for. */
  pulled: number
  duplicates: number
  rejected: number
  readonly dropped: Map<string, number>
}

/** Bytes verified and not yet stored at which the sender is made to wait. */
const PENDING_BYTES = 16 * 1024 * 1024
/** Pulled bytes verified and not yet stored at which the next are waited with: live traffic goes first. */
const PULLING_BYTES = 2 * 1024 * 1024
/** Digests of stored records remembered: some seconds of traffic at full rate, a megabyte of memory. */
const RECENT_DIGESTS = 8_192

/**
 * Judges what neighbours send. A record is checked for shape, hash and signature, stored, and becomes
 * deliverable in log order through the store's journal. A record that was seen is recognised by its digest, or
 * by log and sequence where the digest is forgotten, before its signature is looked at.
 */
export class Receiver {
  readonly stats: ReceiverStats = {
    records: 0,
    messages: 0,
    bytes: 0,
    pulled: 0,
    duplicates: 0,
    rejected: 0,
    dropped: new Map()
  }
  readonly #components: ReceiverComponents
  readonly #init: ReceiverInit
  readonly #emitter: Emitter<ReceiverEvents>
  readonly #reader: RecordReader
  /** Digests of records that were handed to the store. */
  readonly #stored = new RecentCache<string, true>(RECENT_DIGESTS)
  #pendingBytes = 0

  constructor(
    components: ReceiverComponents,
    init: ReceiverInit,
    emitter: Emitter<ReceiverEvents>
  ) {
    this.#components = components
    this.#reader = components.reader ?? createRecordReader()
    this.#init = init
    this.#emitter = emitter
  }

  get events(): Events<ReceiverEvents> {
    return this.#emitter
  }

  /** The transport's one handler of frames. */
  readonly judge = (frame: ReceivedFrame): Verdict | Promise<Verdict> => {
    try {
      return frame.complete ? this.#judgeRecord(frame) : this.#judgeHead(frame)
    } catch (error) {
      if (!isSkeinError(error, 'ERR_RECORD', 'ERR_TOPIC')) throw error
      this.#components.logger.debug({ err: error, peer: frame.from }, 'refused a malformed record')
      return this.#reject()
    }
  }

  #judgeHead(frame: ReceivedFrame): Verdict {
    const head = this.#reader.head(frame.bytes)
    const { header } = head
    if (header.channel !== frame.channel) return this.#reject()
    if (!this.#reader.verify(head)) return this.#reject()
    const own = this.#judgeOwn(head, frame.from)
    if (own !== undefined) return own
    this.#components.hybridClock.observe(header.time)
    if ((header.flags & FLAGS.ephemeral) === 0 && !this.#holds(head)) {
      this.#emitter.emit('announced', {
        log: logOf(head),
        last: header.first + header.count - 1,
        from: frame.from
      })
    }
    return 'accept'
  }

  #judgeRecord(frame: ReceivedFrame): Verdict | Promise<Verdict> {
    // The body's hash is checked here, the signature only for a digest that was not verified before.
    const record = this.#reader.record(frame.bytes)
    const { header } = record
    if (header.channel !== frame.channel) return this.#reject()
    const isEphemeral = (header.flags & FLAGS.ephemeral) !== 0
    if (!isEphemeral && this.#stored.has(digestKey(record))) return this.#duplicate()
    if (!this.#reader.verify(record)) return this.#reject()
    const own = this.#judgeOwn(record, frame.from)
    if (own !== undefined) return own
    checkBody(record)
    this.#components.hybridClock.observe(header.time)
    if (isEphemeral) return this.#init.ephemeral(record)
    const item = {
      record,
      ageMs: 0,
      ...this.#floorOf(header.channel),
      ...this.#beforeField(record)
    }
    const stored = this.#keep([item])
    // A disk that is slower than the network makes the neighbour wait instead of filling memory.
    if (this.#pendingBytes > PENDING_BYTES) return stored.then(() => 'accept' as const)
    return 'accept'
  }

  /**
   * Takes records that a neighbour was asked for. Resolves when more may come. Throws ERR_RECORD for one that is
   * not valid or not what was asked for: then the neighbour is to blame.
   */
  pulled(records: readonly PulledRecord[], from: PulledFrom): void | Promise<void> {
    const items: AppendItem[] = []
    for (const { ageMs, bytes, headOnly } of records) {
      const record = this.#openPulled(bytes, headOnly, from)
      if (record === undefined) continue
      items.push({ record, ageMs, ...floorField(from.floor), ...this.#beforeField(record) })
    }
    if (items.length === 0) return
    this.stats.pulled += items.length
    const stored = from.prepend === true ? this.#prepend(items, from.log) : this.#keep(items)
    if (this.#pendingBytes > PULLING_BYTES || from.prepend === true) return stored
  }

  /** Undefined where it is here already, or this node's own. */
  #openPulled(
    bytes: Uint8Array,
    headOnly: boolean,
    { log, prepend }: PulledFrom
  ): SealedRecord | RecordHead | undefined {
    const record = headOnly ? this.#reader.head(bytes) : this.#reader.record(bytes)
    const { header } = record
    const { channel, publisher, session } = header
    if (channel !== log.channel || publisher !== log.publisher || session !== log.session) {
      throw recordError('field', 'a record of another log than the one asked for')
    }
    if ((header.flags & FLAGS.ephemeral) !== 0) {
      throw recordError('field', 'a record that is never stored')
    }
    if (publisher === this.#init.self && session >= this.#init.ownSession()) return undefined
    if (prepend !== true && (this.#stored.has(digestKey(record)) || this.#holds(record))) {
      this.stats.duplicates++
      return undefined
    }
    if (!this.#reader.verify(record)) throw recordError('signature', 'the signature is not valid')
    if (isWhole(record)) checkBody(record)
    this.#components.hybridClock.observe(header.time)
    return record
  }

  async #prepend(items: readonly AppendItem[], log: LogRef): Promise<void> {
    const outcome = await this.#components.store.prepend(log, items)
    if (outcome === 'prepended') this.stats.records += items.length
    else this.#count(outcome)
  }

  #keep(items: readonly AppendItem[]): Promise<void> {
    let size = 0
    for (const { record } of items) {
      this.#stored.set(digestKey(record), true)
      size += record.bytes.byteLength
    }
    this.#pendingBytes += size
    return this.#components.store.append(items, { sync: false }).then(
      (outcomes) => {
        this.#pendingBytes -= size
        for (const [index, { record }] of items.entries()) this.#settle(record, outcomes[index])
      },
      (error: unknown) => {
        this.#pendingBytes -= size
        for (const { record } of items) this.#stored.delete(digestKey(record))
        this.#count('store')
        if (!isSkeinError(error)) throw error
        this.#components.logger.debug({ err: error }, 'records could not be stored')
      }
    )
  }

  /**
   * The floor of a log that is not known yet. Whoever wants a channel from some time on may want what stands below
   * the first record that came by chance: sync finds out. Else the log begins with that record.
   */
  #floorOf(channel: string): { floor?: number } {
    return this.#components.membership.since(channel) === undefined ? {} : { floor: 1 }
  }

  /**
   * A session's first record names where the one before ended, at least: what is missing there shows only here. A
   * session that began before the channel was wanted here says nothing of what is.
   */
  #beforeField({ header }: RecordHead | SealedRecord): { expectsBefore?: boolean } {
    const { before, channel, publisher, session } = header
    if (before === undefined) return {}
    const log = { channel, publisher, session: before.session }
    const since = this.#components.membership.since(channel)
    const isWanted =
      since === 'all' || sessionMs(session) + LIMITS.clockAheadMs >= (since ?? Infinity)
    return { expectsBefore: isWanted || this.#components.store.log(log) !== undefined }
  }

  #settle(record: SealedRecord | RecordHead, outcome: AppendOutcome | undefined): void {
    switch (outcome) {
      case 'appended':
      case 'island':
        this.stats.records++
        this.stats.messages += record.header.count
        this.stats.bytes += record.bytes.byteLength
        this.#tell(record, outcome)
        return
      case 'duplicate':
        this.stats.duplicates++
        return
      case 'below-floor':
      case 'expired':
      case 'fork':
      case 'frozen':
      case 'broken-chain':
      case 'too-many-islands':
        this.#stored.delete(digestKey(record))
        this.#count(outcome)
        return
      case undefined:
        throw new Error('the store gave no outcome')
    }
  }

  #tell(record: SealedRecord | RecordHead, outcome: 'appended' | 'island'): void {
    if (!isWhole(record)) return
    if (outcome === 'island') this.#emitter.emit('island', { record })
    if ((record.header.flags & FLAGS.control) !== 0) this.#emitter.emit('statement', { record })
  }

  /** A verdict for what claims to be this node's own; undefined for others' records. */
  #judgeOwn(head: RecordHead, from: PeerId): Verdict | undefined {
    const { header } = head
    if (header.publisher !== this.#init.self) return undefined
    // Of a session of its own, which says nothing of the logs.
    if ((header.flags & FLAGS.ephemeral) !== 0) return this.#duplicate()
    const current = this.#init.ownSession()
    if (header.session < current) return undefined
    if (header.session > current && this.#init.supersede(header.session)) return undefined
    const held = this.#components.store.log(logOf(head))
    const last = header.first + header.count - 1
    if (header.session > current || held === undefined || last > held.head) {
      this.#emitter.emit('impostor', {
        peer: from,
        session: header.session,
        sequence: header.first
      })
    }
    return this.#duplicate()
  }

  #holds(head: RecordHead): boolean {
    if (this.#stored.has(digestKey(head))) return true
    const state = this.#components.store.log(logOf(head))
    const last = head.header.first + head.header.count - 1
    if (state === undefined) return false
    const { first } = head.header
    if (last <= state.head) return !state.voids.some(({ from, to }) => from <= last && first <= to)
    return state.islands.some((island) => island.from <= head.header.first && last <= island.to)
  }

  #duplicate(): Verdict {
    this.stats.duplicates++
    return 'ignore'
  }

  #reject(): Verdict {
    this.stats.rejected++
    return 'reject'
  }

  #count(reason: string): void {
    this.stats.dropped.set(reason, (this.stats.dropped.get(reason) ?? 0) + 1)
  }
}

function isWhole(record: SealedRecord | RecordHead): record is SealedRecord {
  return 'body' in record
}

/** A body that its publisher signed can still be no list of messages. */
function checkBody({ body, header }: SealedRecord): void {
  if ((header.flags & FLAGS.control) === 0) checkMessages(body, header.count)
}

function floorField(floor: number | undefined): { floor?: number } {
  return floor === undefined ? {} : { floor }
}

function logOf(head: RecordHead): LogRef {
  const { channel, publisher, session } = head.header
  return { channel, publisher, session }
}

if (LIMITS.pushBytes > PENDING_BYTES)
  throw new Error('receiver: one record must fit the pending bytes')
