import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError, toSkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Receipt } from '../replication/batch.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import type { LogRef, Store } from '../store/contract.ts'
import type { SealedRecord } from '../wire/record.ts'
import { inboxChannel } from '../wire/inbox-receipt.ts'
import { parseMessageId } from '../wire/message-id.ts'
import { encodeInner, sealInner } from '../wire/sealed-message.ts'
import { parseTopic } from '../wire/topic.ts'
import type { CustodyOffers, Entrusted } from './custody-offers.ts'
import type { InboxReceipts } from './inbox-receipts.ts'
import { deadLetter } from './outbox-dead-letter.ts'
import { type Indexed, OutboxIndex } from './outbox-index.ts'
import { type FoundMessage, findWaiting } from './outbox-recovery.ts'
import { OutboxLogs } from './outbox-logs.ts'
import { type OutboxRow, OutboxRows } from './outbox-rows.ts'
import { assertSendable, type OutboundMessage, type SentMessage } from './outbound-message.ts'

/** A message that waits for its recipient. */
export interface WaitingMessage {
  readonly id: string
  readonly to: PeerId
  /** Name of the recipient, where it is known. */
  readonly toName: string | undefined
  /** Empty where a crash left the record and nothing else. */
  readonly topic: string
  /** Of the payload. */
  readonly bytes: number
  readonly since: Date
  readonly expiresAt: Date
  /** Peers that keep a copy. */
  readonly custodians: readonly PeerId[]
}

export interface OutboxComponents {
  readonly store: Pick<Store, 'log' | 'logs' | 'raiseFloor' | 'readLog' | 'values'>
  readonly publisher: { publish(outgoing: Outgoing, confirm: 'stored'): Promise<Receipt> }
  readonly receipts: InboxReceipts
  readonly offers: Pick<CustodyOffers, 'entrust'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface OutboxInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** The name of a peer, where it is known. */
  readonly nameOf: (peer: PeerId) => string | undefined
}

export interface OutboxEvents {
  /** The time to live of a message has passed without a receipt: it is in `$dlq/outbox`. */
  expired: WaitingMessage
}

/** Counters since start. */
export interface OutboxStats {
  sent: number
  received: number
  expired: number
}

interface Entry extends Indexed {
  row: OutboxRow
  /** Monotonic ms. */
  deadline: number
  readonly delivery: Delivery
}

/** A promise for whoever wants to know; nobody has to look at it. */
class Delivery {
  readonly promise: Promise<void>
  resolve!: () => void
  reject!: (error: SkeinError) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.promise.catch(() => {})
  }
}

/** Timers of the platform end at 24.8 days; and a machine may sleep. */
const LONGEST_TIMER_MS = 3_600_000
/** A dead letter that could not be written is tried again after this time, ms. */
const RETRY_MS = 60_000

/** What this node sent to single peers and has no receipt for yet. */
export class Outbox {
  readonly stats: OutboxStats = { sent: 0, received: 0, expired: 0 }
  readonly #components: OutboxComponents
  readonly #init: OutboxInit
  readonly #emitter: Emitter<OutboxEvents>
  readonly #rows: OutboxRows
  readonly #logs: OutboxLogs
  readonly #waiting = new OutboxIndex<Entry>()
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #entrusting = new Set<AbortController>()
  #state: 'new' | 'open' | 'stopped' = 'new'
  #timer: Timer | undefined
  #timerAt = Infinity
  #expiring = false
  #unsubscribe: (() => void) | undefined

  constructor(components: OutboxComponents, init: OutboxInit, emitter: Emitter<OutboxEvents>) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    this.#rows = new OutboxRows(components.store)
    this.#logs = new OutboxLogs(components.store)
  }

  get events(): Events<OutboxEvents> {
    return this.#emitter
  }

  /** Messages that wait. */
  get size(): number {
    return this.#waiting.size
  }

  /** Finds what waits. Store, publisher and receipts must be started. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    const { clock, receipts } = this.#components
    const found = await findWaiting({ ...this.#components, rows: this.#rows }, this.#init.self)
    for (const { log, sequences } of found.done) await this.#logs.finish(log, sequences)
    for (const message of found.waiting) this.#add(message, clock.monotonic() + message.leftMs)
    this.#unsubscribe = receipts.events.on('received', ({ log, ranges }) => {
      if (log.publisher !== this.#init.self) return
      this.#inBackground(this.#received(this.#waiting.within(log, ranges)))
    })
    this.#state = 'open'
  }

  /** Resolves when nothing is written any more. What waits goes on waiting, on disk. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    this.#unsubscribe?.()
    this.#timer?.cancel()
    for (const abort of this.#entrusting) abort.abort()
    for (const { delivery } of this.#waiting.all()) delivery.reject(stopped())
    await Promise.allSettled(this.#underWay)
  }

  /** What waits, oldest first. */
  list(): WaitingMessage[] {
    const entries = this.#waiting.all().map((entry) => this.#status(entry))
    return entries.toSorted((a, b) => a.since.getTime() - b.since.getTime())
  }

  /**
   * Seals a message, and resolves when it is on this node's disk, with `custodians` when so many peers have a
   * synced copy. Rejects with ERR_TOPIC, ERR_OPTIONS, ERR_PAYLOAD_TOO_LARGE, ERR_HEADERS_TOO_LARGE, ERR_CUSTODIANS,
   * ERR_ABORTED, ERR_BUSY, and what publishing rejects with.
   */
  send(message: OutboundMessage): Promise<SentMessage> {
    return this.#track(this.#send(message))
  }

  async #send(message: OutboundMessage): Promise<SentMessage> {
    if (this.#state !== 'open') throw stopped()
    if (message.signal?.aborted === true) throw aborted(undefined)
    if (this.#waiting.size >= LIMITS.outboxMessages) {
      throw new SkeinError(
        'ERR_BUSY',
        `${LIMITS.outboxMessages} messages wait for their recipients already; see the outbox`
      )
    }
    assertSendable(message)
    const { clock, publisher, random } = this.#components
    const { contentType, headers, key, payload, to, topic } = message
    const ttlMs = message.ttlMs ?? LIMITS.inboxTtlMs
    const inner = Uint8Array.from(
      encodeInner({ suffix: `/${topic}`, payload, contentType, key, headers })
    )
    const sealed = sealInner(inner, { sender: this.#init.self, recipient: to, random, ttlMs })
    const outgoing = { ...sealed, topic: parseTopic(inboxChannel(to)) }
    const { id, time } = await publisher.publish(outgoing, 'stored')
    this.stats.sent++
    // One's own inbox: it is there.
    if (to === this.#init.self) return { id, to, time, delivered: Promise.resolve() }
    const since = clock.now()
    const row = { topic, bytes: payload.length, since, ttlMs, custodians: [] }
    const entry = this.#add({ id, ...placeOf(id), row }, clock.monotonic() + ttlMs)
    // The recipient may have been faster than this disk.
    if (this.#components.receipts.isReceived(entry.log, entry.sequence)) {
      await this.#received([entry])
    } else {
      await this.#record(entry, inner)
      if (message.custodians !== undefined) await this.#entrust(entry, message)
    }
    return { id, to, time, delivered: entry.delivery.promise }
  }

  async #record({ id, row }: Entry, inner: Uint8Array): Promise<void> {
    try {
      await this.#rows.add(id, row, inner)
    } catch (error) {
      const { code, details, message } = toSkeinError(error)
      // The record is on disk: the next start finds it.
      throw new SkeinError(code, message, {
        cause: error,
        details: { ...details, mayBeDelivered: true, id }
      })
    }
  }

  async #entrust(entry: Entry, message: OutboundMessage): Promise<void> {
    const { custodians: wanted = 0, signal, to } = message
    if (wanted === 0) return
    const record = await this.#recordOf(entry)
    // Received and gone already.
    if (record === undefined) return
    const kept = await this.#askCustodians({ record, recipient: to, wanted, signal })
    if (this.#waiting.has(entry.id) && kept.length > 0) {
      entry.row = { ...entry.row, custodians: kept }
      await this.#rows.update(entry.id, entry.row)
    }
    if (kept.length >= wanted || !this.#waiting.has(entry.id)) return
    if (signal?.aborted === true) throw aborted(entry.id)
    throw new SkeinError(
      'ERR_CUSTODIANS',
      `${kept.length} of the ${wanted} custodians asked for have a copy; the message waits here for its recipient, do not send it again`,
      { details: { wanted, have: kept.length, mayBeDelivered: true, id: entry.id } }
    )
  }

  /** Ends when the caller's signal aborts, and when this node stops. */
  async #askCustodians({ signal, ...entrusted }: Entrusted): Promise<PeerId[]> {
    const abort = new AbortController()
    const onAbort = (): void => abort.abort()
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true || this.#state !== 'open') abort.abort()
    this.#entrusting.add(abort)
    try {
      return await this.#components.offers.entrust({ ...entrusted, signal: abort.signal })
    } finally {
      this.#entrusting.delete(abort)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #recordOf({ log, sequence }: Entry): Promise<SealedRecord | undefined> {
    const [found] = await this.#components.store.readLog(log, sequence, { to: sequence })
    return found?.record
  }

  #add(found: Omit<FoundMessage, 'leftMs'>, deadline: number): Entry {
    const delivery = new Delivery()
    const { id, log, row, sequence } = found
    const entry: Entry = { id, log, sequence, row, deadline, delivery }
    this.#waiting.add(entry)
    if (this.#state === 'stopped') delivery.reject(stopped())
    else if (deadline < this.#timerAt) this.#arm(deadline)
    return entry
  }

  async #received(entries: readonly Entry[]): Promise<void> {
    this.stats.received += entries.length
    for (const entry of entries) entry.delivery.resolve()
    await this.#remove(entries)
  }

  async #remove(entries: readonly Entry[]): Promise<void> {
    const logs = new Map<string, { log: LogRef; sequences: number[] }>()
    for (const entry of entries) {
      const { log, sequence } = entry
      this.#waiting.delete(entry)
      const key = `${log.channel}/${log.session}`
      const finished = logs.get(key)
      if (finished === undefined) logs.set(key, { log, sequences: [sequence] })
      else finished.sequences.push(sequence)
    }
    await Promise.all(entries.map(({ id }) => this.#rows.delete(id)))
    for (const { log, sequences } of logs.values()) await this.#logs.finish(log, sequences)
  }

  // ---- expiry ----

  #arm(at: number): void {
    const { clock } = this.#components
    this.#timer?.cancel()
    this.#timerAt = at
    const ms = Math.min(Math.max(0, at - clock.monotonic()), LONGEST_TIMER_MS)
    this.#timer = clock.after(ms, () => this.#inBackground(this.#expire()))
  }

  async #expire(): Promise<void> {
    this.#timerAt = Infinity
    if (this.#expiring) return
    this.#expiring = true
    const now = this.#components.clock.monotonic()
    for (const entry of this.#waiting.all()) {
      if (this.#state !== 'open') return
      if (entry.deadline <= now) await this.#bury(entry)
    }
    this.#expiring = false
    const next = this.#waiting.earliest()
    if (this.#state === 'open' && next < this.#timerAt) this.#arm(next)
  }

  async #bury(entry: Entry): Promise<void> {
    const { clock, logger, publisher } = this.#components
    const status = this.#status(entry)
    try {
      const message = await this.#rows.message(entry.id)
      if (message !== undefined) await publisher.publish(deadLetter(message, status), 'stored')
      if (!this.#waiting.has(entry.id)) return
      await this.#remove([entry])
    } catch (error) {
      entry.deadline = clock.monotonic() + RETRY_MS
      logger.warn({ err: error, id: entry.id }, 'an expired message could not be put away yet')
      return
    }
    this.stats.expired++
    entry.delivery.reject(
      new SkeinError(
        'ERR_TIMEOUT',
        `no receipt came within ${entry.row.ttlMs} ms; whether it was received is unknown`,
        { details: { id: entry.id, to: status.to, mayBeDelivered: true } }
      )
    )
    this.#emitter.emit('expired', status)
  }

  #status({ id, log, row }: Entry): WaitingMessage {
    const to = log.channel.slice(1)
    return {
      id,
      to,
      toName: this.#init.nameOf(to),
      topic: row.topic,
      bytes: row.bytes,
      since: new Date(row.since),
      expiresAt: new Date(row.since + row.ttlMs),
      custodians: row.custodians
    }
  }

  /** `stop` waits for it. */
  #track<Result>(work: Promise<Result>): Promise<Result> {
    this.#underWay.add(work)
    return work.finally(() => this.#underWay.delete(work))
  }

  #inBackground(work: Promise<void>): void {
    this.#track(work).catch((error: unknown) => {
      // What is on disk is right: the next start begins from there.
      this.#components.logger.warn({ err: error }, 'the outbox could not be brought up to date')
    })
  }
}

function placeOf(id: string): { log: LogRef; sequence: number } {
  const { channel, publisher, sequence, session } = parseMessageId(id)
  return { log: { channel, publisher, session }, sequence }
}

function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
}

function aborted(id: string | undefined): SkeinError {
  const details = id === undefined ? { mayBeDelivered: false } : { id, mayBeDelivered: true }
  return new SkeinError('ERR_ABORTED', 'sending was aborted by its signal', { details })
}
