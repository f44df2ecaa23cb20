import type { Clock } from '../core/clock.ts'
import { SkeinError, toSkeinError } from '../core/errors.ts'
import { type Emitter, type Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { Transport } from '../mesh/contract.ts'
import type { RetentionPolicy, Store, ValueEntry } from '../store/contract.ts'
import type { HybridClock } from '../wire/hybrid-clock.ts'
import { newSession } from '../wire/session.ts'
import type { Signer } from '../wire/signature.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import type { Batch, Confirm, PublisherStats, Receipt } from './batch.ts'
import { Idempotency } from './idempotency.ts'
import { type LogWriter, type Outgoing, createLogWriter } from './log-writer.ts'
import { Replicas } from './replicas.ts'
import { DiskWatch } from './slow-paths.ts'

export interface PublisherComponents {
  readonly store: Store
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly hybridClock: HybridClock
  readonly signer: Signer
}

export interface PublisherInit {
  /** PeerId of the signer, as text. */
  readonly publisher: string
  /** Messages at which a batch of this channel is closed. */
  readonly batchMessages: (channel: string) => number
  /** What a channel keeps, and whether it refuses more when it is full. Default: nothing is refused. */
  readonly retention?: (
    channel: string
  ) => Pick<RetentionPolicy, 'maxBytes' | 'maxMessages' | 'onFull'>
}

export interface PublisherEvents {
  /** The publisher opened a new session: at start, after a failed write, after a greater one was learnt of. */
  session: { session: string; reason: 'start' | 'recovered' | 'superseded' }
}

/** First delay between attempts to recover the store after a failed write, ms; doubles up to the last. */
const RECOVERY_DELAY_MS = 250
const RECOVERY_DELAY_MAX_MS = 5_000
/** A second greater session of this node within so long is another live node's, ms. */
const SUPERSEDE_MS = 60_000

/**
 * Seals messages into records of this node's own logs, stores them and hands them to the transport.
 *
 * Messages published while a record is sealed and written form the next record: an idle publisher sends at
 * once, a busy one pays signature, sync and encryption once per batch. After a failed write nothing is
 * published until the store has recovered, and then in a new session, so that a sequence number is never
 * used twice.
 */
export class Publisher {
  readonly stats: PublisherStats = { messages: 0, records: 0, bytes: 0, failed: 0 }
  /** How long writes take. */
  readonly disk: DiskWatch
  readonly ids: Idempotency
  readonly replicas: Replicas
  readonly #components: PublisherComponents
  readonly #init: PublisherInit
  readonly #emitter: Emitter<PublisherEvents>
  readonly #writers = new Map<string, LogWriter>()
  #session: string | undefined
  #state: 'new' | 'open' | 'recovering' | 'stopped' = 'new'
  /** Bytes handed to writers and not yet stored. */
  #pendingBytes = 0
  /** Bytes waiting behind the window. */
  #waitingBytes = 0
  #unsubscribe: (() => void) | undefined
  /** Monotonic ms of the last time a greater own session was learnt of. */
  #supersededAt = -Infinity

  constructor(
    components: PublisherComponents,
    init: PublisherInit,
    emitter: Emitter<PublisherEvents>
  ) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    this.disk = new DiskWatch(components)
    this.ids = new Idempotency(components, init)
    this.replicas = new Replicas(components)
  }

  get events(): Events<PublisherEvents> {
    return this.#emitter
  }

  /** The current session; ERR_STOPPED before start. */
  get session(): string {
    if (this.#session === undefined) throw stopped()
    return this.#session
  }

  /** Payload bytes accepted and not yet stored or rejected. */
  get backlogBytes(): number {
    return this.#pendingBytes + this.#waitingBytes
  }

  /** Publishes as soon as it is called; resolves when ids of earlier lives are known, too. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'open'
    this.#resumeTime()
    this.#openSession('start')
    // Whoever's write it was that failed: the store comes back through here.
    this.#unsubscribe = this.#components.store.events.on('condition', ({ condition, reason }) => {
      if (condition === 'failed') this.#writeFailed(new SkeinError('ERR_STORE_WRITE', reason))
    })
    await this.ids.start()
  }

  /** What is said now is later than what was said before, though the clock was set back meanwhile: last values are. */
  #resumeTime(): void {
    const { hybridClock, store } = this.#components
    for (const { publisher, timeMs } of store.logs()) {
      if (publisher === this.#init.publisher) hybridClock.resume(timeMs)
    }
  }

  /**
   * Resolves when the message is confirmed. Rejects with ERR_STORE_FULL, ERR_STORE_WRITE, ERR_STORE_FAILED,
   * ERR_CHANNEL_FULL, ERR_BUSY, ERR_ID_CONFLICT, ERR_REPLICAS or ERR_STOPPED; `details.mayBeDelivered` is true
   * where others may already have it. A message with an id is 'sent' when it is stored: what the id stands for is
   * not known before.
   */
  publish(outgoing: Outgoing, confirm: Confirm): Promise<Receipt> {
    try {
      if (outgoing.id !== undefined || typeof confirm === 'object') {
        return this.#publishCarefully(outgoing, confirm)
      }
      this.#assertOpen()
      return this.#writer(outgoing.topic.channel).add(outgoing, confirm)
    } catch (error) {
      this.stats.failed++
      return Promise.reject(toSkeinError(error))
    }
  }

  /** All messages in one record, or none. They must share one channel and fit one record. */
  publishBatch(batch: readonly Outgoing[], confirm: Confirm): Promise<Receipt[]> {
    const first = batch[0]
    if (first === undefined) return Promise.resolve([])
    const { channel } = first.topic
    const stored = (fresh: readonly Outgoing[], until: 'stored' | 'sent'): Promise<Receipt[]> => {
      this.#assertOpen()
      return this.#writer(channel).addRecord(fresh, until)
    }
    const identified = (): Promise<Receipt[]> =>
      this.ids.each(batch, (fresh) => stored(fresh, 'stored'))
    const hasIds = batch.some(({ id }) => id !== undefined)
    try {
      this.#assertRunning()
      if (typeof confirm !== 'object') return hasIds ? identified() : stored(batch, confirm)
      return this.replicas.confirm(channel, confirm, () =>
        hasIds ? identified() : stored(batch, 'stored')
      )
    } catch (error) {
      this.stats.failed += batch.length
      return Promise.reject(toSkeinError(error))
    }
  }

  /** A record that says something about this node's own log; subscribers do not see it. Resolves when stored. */
  async publishControl(channel: string, body: Uint8Array): Promise<Receipt> {
    this.#assertOpen()
    return this.#writer(channel).addControl(body)
  }

  /** With an id, or synced copies to wait for. */
  async #publishCarefully(outgoing: Outgoing, confirm: Confirm): Promise<Receipt> {
    this.#assertRunning()
    const { channel } = outgoing.topic
    const stored = async (): Promise<Receipt> => {
      try {
        this.#assertOpen()
        return await this.#writer(channel).add(outgoing, 'stored')
      } catch (error) {
        this.stats.failed++
        throw toSkeinError(error)
      }
    }
    const once = (): Promise<Receipt> =>
      outgoing.id === undefined ? stored() : this.ids.once(outgoing, stored)
    if (typeof confirm !== 'object') return once()
    const receipts = await this.replicas.confirm(channel, confirm, async () => [await once()])
    return receipts[0] as Receipt
  }

  /**
   * Opens a session above `other`, which was seen to be this publisher's and greater than its own, as after a
   * restored backup. False where that happened a moment ago already: then two nodes live under one identity, and
   * going above each other would never end.
   */
  supersede(other: string): boolean {
    if (this.#state !== 'open' || (this.#session !== undefined && other <= this.#session))
      return true
    const now = this.#components.clock.monotonic()
    const isAgain = now - this.#supersededAt < SUPERSEDE_MS
    this.#supersededAt = now
    if (isAgain) return false
    this.#components.logger.warn(
      { session: this.#session, other },
      'peers hold a later session of this node, as after a restored backup: opening a new session above it'
    )
    this.#dropWriters(new SkeinError('ERR_STORE_WRITE', 'the session was replaced; publish again'))
    this.#openSession('superseded', other)
    return true
  }

  /** Waits until everything accepted is stored or rejected. */
  async drain(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer.drain()))
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    if (this.#state === 'open') await this.drain()
    this.#state = 'stopped'
    this.#unsubscribe?.()
    this.#dropWriters(stopped())
    this.replicas.stop()
    await this.ids.stop()
  }

  #assertRunning(): void {
    if (this.#state === 'new' || this.#state === 'stopped') throw stopped()
  }

  #assertOpen(): void {
    this.#assertRunning()
    this.#components.store.assertWritable()
    if (this.#state === 'recovering') {
      throw new SkeinError(
        'ERR_STORE_WRITE',
        'the store is recovering from a failed write, nothing was published; try again in a moment',
        { details: { mayBeDelivered: false } }
      )
    }
  }

  #writer(channel: string): LogWriter {
    let writer = this.#writers.get(channel)
    if (writer === undefined) {
      const policy = this.#init.retention?.(channel)
      writer = createLogWriter(
        { ...this.#components, flow: this.#flow },
        {
          channel,
          publisher: this.#init.publisher,
          session: this.session,
          batchMessages: this.#init.batchMessages(channel),
          quota: policy?.onFull === 'reject' ? policy : undefined
        }
      )
      this.#writers.set(channel, writer)
      if (scopeOf(channel) === 'mesh') this.#components.transport.advertise(channel)
    }
    return writer
  }

  /** What the writers of all channels share. */
  readonly #flow = {
    stats: this.stats,
    hasRoom: (): boolean => this.#pendingBytes < LIMITS.publishWindowBytes,
    take: (bytes: number): void => {
      this.#pendingBytes += bytes
    },
    give: (bytes: number): void => {
      const wasFull = !this.#flow.hasRoom()
      this.#pendingBytes -= bytes
      if (!wasFull || !this.#flow.hasRoom()) return
      for (const writer of this.#writers.values()) writer.admitWaiting()
    },
    queue: (bytes: number): void => {
      if (bytes > 0 && this.#waitingBytes + bytes > LIMITS.publishQueueBytes) {
        throw new SkeinError(
          'ERR_BUSY',
          `more than ${LIMITS.publishQueueBytes} bytes wait to be published; await publish() before the next one`
        )
      }
      this.#waitingBytes += bytes
    },
    failed: (error: SkeinError): void => this.#writeFailed(error),
    writing: (): number => this.disk.writing(),
    wrote: (since: number): void => this.disk.wrote(since),
    values: (batch: Batch): readonly ValueEntry[] => this.ids.values(batch)
  }

  #openSession(reason: PublisherEvents['session']['reason'], above?: string): void {
    const { clock, random, store } = this.#components
    const stored = store.latestSession(this.#init.publisher)
    const greatest = [stored, this.#session, above].reduce(
      (a, b) => (a === undefined || (b !== undefined && b > a) ? b : a),
      undefined
    )
    this.#session = newSession(clock.now(), random, greatest)
    this.#emitter.emit('session', { session: this.#session, reason })
  }

  #dropWriters(error: SkeinError): void {
    const writers = [...this.#writers.values()]
    this.#writers.clear()
    for (const writer of writers) writer.close(error)
  }

  #writeFailed(error: SkeinError): void {
    if (this.#state !== 'open') return
    this.#state = 'recovering'
    this.#dropWriters(error)
    if (error.code === 'ERR_STORE_WRITE') void this.#recover()
  }

  async #recover(): Promise<void> {
    const { clock, logger, store } = this.#components
    for (let delayMs = RECOVERY_DELAY_MS; this.#state === 'recovering';) {
      await new Promise<void>((resolve) => clock.after(delayMs, resolve))
      delayMs = Math.min(delayMs * 2, RECOVERY_DELAY_MAX_MS)
      if (this.#state !== 'recovering') return
      try {
        await store.recover()
      } catch (error) {
        logger.warn({ err: error }, 'the store has not recovered yet')
        if (store.condition === 'broken') return
        continue
      }
      this.#state = 'open'
      this.#openSession('recovered')
      logger.info(
        { session: this.#session },
        'the store has recovered: publishing in a new session'
      )
    }
  }
}

function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
}
