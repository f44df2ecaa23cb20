import { type Clock, every, type Timer } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { KIB, LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import type { AppendOutcome, LogRef, LogState, SequenceRange, Store } from '../store/contract.ts'
import { decodeMessages } from '../wire/body.ts'
import { inboxChannel, isInbox } from '../wire/inbox-receipt.ts'
import { recordError } from '../wire/protobuf.ts'
import type { SealedRecord } from '../wire/record.ts'
import { SEALED_TYPE } from '../wire/sealed-message.ts'
import { openRecord } from '../wire/sealed-record.ts'
import { publicKeyFromPeerId } from '../wire/peer-id.ts'
import {
  CUSTODY_PROTOCOL,
  type CustodyAnswer,
  type CustodyOffer,
  decodeOffer,
  encodeAnswer
} from './custody-frames.ts'
import type { InboxReceipts } from './inbox-receipts.ts'

export interface CustodyComponents {
  readonly store: Pick<
    Store,
    'append' | 'assertWritable' | 'flush' | 'giveUp' | 'log' | 'logs' | 'raiseFloor' | 'readLog'
  >
  readonly transport: Pick<Transport, 'blame' | 'handle'>
  readonly receipts: Pick<InboxReceipts, 'isReceived'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface CustodyInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** Does this node keep messages for others? */
  readonly custodian: boolean
  /** Default LIMITS.custodyBytes; one sender may take a quarter. */
  readonly maxBytes?: number | undefined
}

/** Counters since start. */
export interface CustodyStats {
  kept: number
  refused: number
  /** Records dropped because their time to live had passed. */
  expired: number
}

/** A log costs memory and index whatever it holds. */
const LOG_BYTES = KIB
/** How often it is looked for what has outlived its time, ms. */
const SWEEP_MS = 60_000

interface Allowance {
  tokens: number
  /** Monotonic ms. */
  at: number
}

/** Keeps sealed messages for peers that are away, for whoever asks, within a quota. */
export class Custody {
  readonly stats: CustodyStats = { kept: 0, refused: 0, expired: 0 }
  readonly #components: CustodyComponents
  readonly #init: CustodyInit
  readonly #allowances = new Map<PeerId, Allowance>()
  readonly #streams = new Set<FrameStream>()
  #sweeping: Promise<void> = Promise.resolve()
  #ticker: Timer | undefined
  #stopped = false

  constructor(components: CustodyComponents, init: CustodyInit) {
    this.#components = components
    this.#init = init
    components.transport.handle(CUSTODY_PROTOCOL, (stream) => void this.#serve(stream))
  }

  start(): void {
    this.#ticker ??= every(this.#components.clock, SWEEP_MS, () => {
      this.#sweeping = this.#sweep()
      return this.#sweeping
    })
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#ticker?.cancel()
    for (const stream of this.#streams) stream.abort(stopped())
    await this.#sweeping
  }

  /** Bytes kept for others. */
  usedBytes(): number {
    return this.#used(undefined)
  }

  // ---- taking ----

  async #serve(stream: FrameStream): Promise<void> {
    const { logger, transport } = this.#components
    if (this.#stopped) {
      stream.abort(stopped())
      return
    }
    this.#streams.add(stream)
    try {
      for await (const frame of stream.frames) {
        await stream.send(encodeAnswer(await this.#answer(frame, stream.peer)))
      }
      await stream.close()
    } catch (error) {
      if (isSkeinError(error, 'ERR_RECORD')) transport.blame(stream.peer, 'a malformed offer')
      // A fault of this node must be seen in its log; the stream goes in any case.
      const log = isSkeinError(error) ? logger.debug : logger.error
      log.call(logger, { err: error, peer: stream.peer }, 'a custody stream ended')
      stream.abort(error as Error)
    } finally {
      this.#streams.delete(stream)
    }
  }

  async #answer(frame: Uint8Array, from: PeerId): Promise<CustodyAnswer> {
    const offer = decodeOffer(frame)
    const record = openRecord(offer.record)
    const reason = this.#refusal(record, from) ?? (await this.#keep(record, offer))
    if (reason === undefined) {
      this.stats.kept++
      return { kept: true }
    }
    this.stats.refused++
    return { kept: false, reason }
  }

  #refusal({ bytes, header }: SealedRecord, from: PeerId): string | undefined {
    const { custodian, maxBytes = LIMITS.custodyBytes, self } = this.#init
    const { channel, flags, publisher } = header
    if (!custodian) return 'this node keeps nothing for others'
    if (!isPeersInbox(channel)) return 'it is no message to a peer'
    if (channel === inboxChannel(self)) return 'this node is the recipient'
    if (publisher !== from) return 'only its sender may offer a message'
    if (flags !== 0) return 'it is no message'
    if (!this.#mayOffer(from)) return 'too many offers at once'
    try {
      this.#components.store.assertWritable()
    } catch (error) {
      if (isSkeinError(error)) return 'the store takes nothing now'
      throw error
    }
    const size = bytes.length + LOG_BYTES
    if (this.#used(undefined) + size > maxBytes) return 'the quota is used up'
    if (this.#used(from) + size > maxBytes / 4) return 'the quota of this sender is used up'
    return undefined
  }

  /** Resolves when the record is on disk, synced; else to why it is not. */
  async #keep(record: SealedRecord, { ageMs }: CustodyOffer): Promise<string | undefined> {
    const { store } = this.#components
    if (ageMs >= lifetimeOf(record)) return 'its time to live has passed'
    const { channel, count, first, publisher, session } = record.header
    const log: LogRef = { channel, publisher, session }
    if (this.#areReceived(log, { from: first, to: first + count - 1 })) return 'it was received'
    const [outcome] = await store.append([{ record, ageMs, floor: 1 }], { sync: true })
    const refusal = refusalOf(outcome)
    if (refusal !== undefined) return refusal
    if (outcome === 'duplicate') {
      // What was passed over long ago counts as held and is not; what came another way may not be synced yet.
      const [held] = await store.readLog(log, first, { to: first })
      if (held?.head.header.first !== first) return 'it comes too late'
      await store.flush()
    }
    const head = store.log(log)?.head ?? first
    if (head < first - 1) {
      // Messages between were sent without custodians: nobody brings them here, and holes are few per log.
      await store.giveUp(log, { from: head + 1, to: first - 1 }, 'skipped')
    }
    return undefined
  }

  #areReceived(log: LogRef, { from, to }: SequenceRange): boolean {
    for (let sequence = from; sequence <= to; sequence++) {
      if (!this.#components.receipts.isReceived(log, sequence)) return false
    }
    return true
  }

  #used(sender: PeerId | undefined): number {
    let bytes = 0
    for (const log of this.#kept()) {
      if (sender === undefined || log.publisher === sender) bytes += log.bytes + LOG_BYTES
    }
    return bytes
  }

  #kept(): LogState[] {
    const { self } = this.#init
    const own = inboxChannel(self)
    return this.#components.store
      .logs()
      .filter(({ channel, publisher }) => isInbox(channel) && channel !== own && publisher !== self)
  }

  #mayOffer(peer: PeerId): boolean {
    const most = LIMITS.custodyRecordsPerSecond
    const now = this.#components.clock.monotonic()
    const { at, tokens } = this.#allowances.get(peer) ?? { at: now, tokens: most }
    const filled = Math.min(most, tokens + ((now - at) * most) / 1000)
    this.#allowances.set(peer, { at: now, tokens: Math.max(0, filled - 1) })
    return filled >= 1
  }

  // ---- letting go ----

  async #sweep(): Promise<void> {
    const { clock, logger } = this.#components
    for (const [peer, { at }] of this.#allowances) {
      if (clock.monotonic() - at > SWEEP_MS) this.#allowances.delete(peer)
    }
    for (const log of this.#kept()) {
      if (this.#stopped) return
      try {
        await this.#expire(log)
      } catch (error) {
        logger.warn({ err: error, log }, 'messages kept for a peer could not be dropped')
      }
    }
  }

  /** Drops records from the front of a log, up to the first that still has time. */
  async #expire(log: LogState): Promise<void> {
    const { clock, store } = this.#components
    let floor = log.floor
    for (;;) {
      const [entry] = await store.readLog(log, floor, { maxBytes: 1 })
      if (entry === undefined) break
      const { record } = entry
      const { count, first } = entry.head.header
      if (record !== undefined && clock.now() - entry.bornAt < lifetimeOf(record)) break
      floor = first + count
      this.stats.expired++
    }
    if (floor > log.floor) await store.raiseFloor(log, floor)
  }
}

/** The longest time to live of the messages in a record, ms. Throws ERR_RECORD where one is not sealed. */
function lifetimeOf({ body, header }: SealedRecord): number {
  let longest = 0
  for (const { contentType, ttlMs } of decodeMessages(body, header.count)) {
    if (contentType !== SEALED_TYPE) throw recordError('field', 'a message to a peer is not sealed')
    longest = Math.max(longest, Math.min(ttlMs ?? Infinity, LIMITS.inboxTtlMaxMs))
  }
  return longest
}

/** Does the channel name a peer? */
function isPeersInbox(channel: string): boolean {
  if (!isInbox(channel)) return false
  try {
    publicKeyFromPeerId(channel.slice(1))
    return true
  } catch (error) {
    if (isSkeinError(error, 'ERR_OPTIONS')) return false
    throw error
  }
}

function refusalOf(outcome: AppendOutcome | undefined): string | undefined {
  if (outcome === 'appended' || outcome === 'island' || outcome === 'duplicate') return undefined
  return outcome === 'below-floor' ? 'it was received, or is too old' : `the store says ${outcome}`
}

function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
}
