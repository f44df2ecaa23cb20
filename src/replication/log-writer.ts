import { SkeinError, toSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Transport } from '../mesh/contract.ts'
import type { LogRef, LogState, Store } from '../store/contract.ts'
import { BodyBuilder, type EncodableMessage, messageSize } from '../wire/body.ts'
import type { HybridClock } from '../wire/hybrid-clock.ts'
import type { PreviousSession, SealedRecord } from '../wire/record.ts'
import { sealRecord } from '../wire/sealed-record.ts'
import type { Signer } from '../wire/signature.ts'
import type { ParsedTopic } from '../wire/topic.ts'
import type { Confirm, PublisherStats, Receipt } from './publisher.ts'

/** A message on its way out. */
export interface Outgoing extends EncodableMessage {
  readonly topic: ParsedTopic
}

/** Who is told what became of a message. */
export interface Sink {
  readonly confirm: Confirm
  resolve(receipt: Receipt): void
  reject(error: SkeinError): void
}

/** What the writers of one publisher share: its window over all channels, its counters, its fate. */
export interface Flow {
  readonly stats: PublisherStats
  /** May another message go to a writer? */
  hasRoom(): boolean
  take(bytes: number): void
  give(bytes: number): void
  /** Counts bytes that wait behind the window (negative: no longer). Throws ERR_BUSY. */
  queue(bytes: number): void
  /** A record could not be stored. */
  failed(error: SkeinError): void
}

export interface LogWriterComponents {
  readonly store: Store
  readonly transport: Transport
  readonly hybridClock: HybridClock
  readonly signer: Signer
  readonly flow: Flow
}

export interface LogWriterInit extends LogRef {
  /** Messages at which a batch is closed. */
  readonly batchMessages: number
}

interface Waiting {
  readonly outgoing: Outgoing
  readonly bytes: number
  readonly sink: Sink
}

/** Writes one log: its messages in order, packed into records. */
export interface LogWriter {
  add(outgoing: Outgoing, sink: Sink): void
  /** A record of its own for `batch`. Throws ERR_PAYLOAD_TOO_LARGE, ERR_BUSY. */
  addRecord(batch: readonly Outgoing[], sink: Sink): void
  /** The window has room again. */
  admitWaiting(): void
  /** Resolves when everything accepted so far is stored or rejected. */
  drain(): Promise<void>
  /** Rejects whatever is not sealed yet; nothing is accepted afterwards. */
  close(error: SkeinError): void
}

export function createLogWriter(components: LogWriterComponents, init: LogWriterInit): LogWriter {
  return new ChannelLogWriter(components, init)
}

/** Bytes a builder begins with; it grows to a full batch only in channels that need one. */
const FIRST_CAPACITY = 1024

class ChannelLogWriter implements LogWriter {
  readonly #components: LogWriterComponents
  readonly #init: LogWriterInit
  readonly #builder = new BodyBuilder(FIRST_CAPACITY)
  /** Who waits for the messages in the builder. */
  #open: Sink[] = []
  #scheduled = false
  #sequence = 1
  #previous: Uint8Array | undefined
  readonly #before: PreviousSession | undefined
  /** Records handed to the store and not settled. */
  #inFlight = 0
  /** The log's first record is on disk: from then on records are sent while they are written. */
  #begun = false
  #unsent: SealedRecord[] = []
  readonly #waiting: Waiting[] = []
  #roomPending = false
  #closed: SkeinError | undefined
  #drained: (() => void)[] = []

  constructor(components: LogWriterComponents, init: LogWriterInit) {
    this.#components = components
    this.#init = init
    this.#before = lastSession(components.store.logs(init.channel), init)
  }

  add(outgoing: Outgoing, sink: Sink): void {
    if (this.#waiting.length > 0 || !this.#mayWrite()) {
      const bytes = messageSize(outgoing)
      this.#components.flow.queue(bytes)
      this.#waiting.push({ outgoing, bytes, sink })
      return
    }
    this.#append(outgoing, sink)
  }

  addRecord(batch: readonly Outgoing[], sink: Sink): void {
    const size = batch.reduce((sum, outgoing) => sum + messageSize(outgoing), 0)
    const limit = LIMITS.pushBytes - LIMITS.headBytes
    if (size > limit || batch.length > LIMITS.batchMessages) {
      throw new SkeinError(
        'ERR_PAYLOAD_TOO_LARGE',
        `a batch goes out as one record of at most ${limit} bytes and ${LIMITS.batchMessages} messages; this one has ${size} bytes and ${batch.length} messages: publish it in parts`,
        { details: { bytes: size, limit } }
      )
    }
    if (this.#waiting.length > 0 || !this.#mayWrite()) {
      throw new SkeinError(
        'ERR_BUSY',
        'the publisher has no room for a whole batch now; try again in a moment'
      )
    }
    this.#seal()
    for (const outgoing of batch) {
      this.#builder.add(outgoing)
      this.#open.push(sink)
    }
    this.#seal()
  }

  admitWaiting(): void {
    while (this.#waiting.length > 0 && this.#closed === undefined && this.#mayWrite()) {
      const { outgoing, bytes, sink } = this.#waiting.shift() as Waiting
      this.#components.flow.queue(-bytes)
      this.#append(outgoing, sink)
    }
  }

  async drain(): Promise<void> {
    while (this.#closed === undefined && !this.#isIdle()) {
      await new Promise<void>((resolve) => this.#drained.push(resolve))
    }
  }

  close(error: SkeinError): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    const notSent = new SkeinError(error.code, error.message, {
      cause: error,
      details: { ...error.details, mayBeDelivered: false }
    })
    const waiting = this.#waiting.splice(0)
    for (const { bytes } of waiting) this.#components.flow.queue(-bytes)
    this.#builder.finish()
    const rejected = [...this.#open.splice(0), ...waiting.map(({ sink }) => sink)]
    this.#components.flow.stats.failed += rejected.length
    for (const sink of rejected) sink.reject(notSent)
    this.#tellDrained()
  }

  #isIdle(): boolean {
    return this.#inFlight === 0 && this.#open.length === 0 && this.#waiting.length === 0
  }

  /** Looks at the window, and at the neighbours' buffers whenever a new batch would begin. */
  #mayWrite(): boolean {
    if (!this.#components.flow.hasRoom()) return false
    if (this.#open.length > 0) return true
    if (this.#roomPending) return false
    const room = this.#components.transport.room(this.#init.channel)
    if (room === undefined) return true
    this.#roomPending = true
    void room.then(() => {
      this.#roomPending = false
      this.admitWaiting()
    })
    return false
  }

  #append(outgoing: Outgoing, sink: Sink): void {
    if (this.#closed !== undefined) throw this.#closed
    const limit = LIMITS.batchBytes
    if (!this.#builder.add(outgoing, this.#open.length === 0 ? undefined : limit)) {
      this.#seal()
      this.#builder.add(outgoing)
    }
    this.#open.push(sink)
    if (this.#builder.size >= limit || this.#open.length >= this.#init.batchMessages) this.#seal()
    else this.#schedule()
  }

  /** With nothing in flight the batch goes out after the present task; else when a write settles. */
  #schedule(): void {
    if (this.#scheduled || this.#inFlight > 0) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#seal()
    })
  }

  #seal(): void {
    const sinks = this.#open
    if (sinks.length === 0) return
    this.#open = []
    const { channel, session } = this.#init
    const first = this.#sequence
    const record = sealRecord(
      {
        session,
        channel,
        first,
        count: sinks.length,
        previous: this.#previous,
        before: first === 1 ? this.#before : undefined,
        time: this.#components.hybridClock.tick(),
        body: this.#builder.finish()
      },
      this.#components.signer
    )
    this.#sequence += sinks.length
    this.#previous = record.digest
    this.#send(record)
    this.#store(record, sinks)
  }

  /** The first record of a log is written before it is sent: a crash before that leaves no trace of the log. */
  #send(record: SealedRecord): void {
    if (!this.#begun) {
      this.#unsent.push(record)
      return
    }
    this.#components.transport.broadcast(this.#init.channel, record)
  }

  #store(record: SealedRecord, sinks: Sink[]): void {
    const { flow, store } = this.#components
    const size = record.bytes.byteLength
    const receipts = new Receipts(this.#init, record)
    this.#inFlight++
    flow.take(size)
    if (this.#begun) receipts.settle(sinks, 'sent')
    store.append([{ record, ageMs: 0 }], { sync: true }).then(
      (outcomes) => {
        this.#inFlight--
        flow.give(size)
        if (outcomes[0] !== 'appended') {
          this.#fail(sinks, new SkeinError('ERR_INTERNAL', `own record refused: ${outcomes[0]}`))
          return
        }
        flow.stats.records++
        flow.stats.messages += sinks.length
        flow.stats.bytes += size
        this.#begin()
        receipts.settle(sinks, 'sent')
        receipts.settle(sinks, 'stored')
        this.#seal()
        this.#tellDrained()
      },
      (error: unknown) => {
        this.#inFlight--
        flow.give(size)
        this.#fail(sinks, toSkeinError(error))
      }
    )
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    for (const record of this.#unsent.splice(0)) {
      this.#components.transport.broadcast(this.#init.channel, record)
    }
  }

  #fail(sinks: readonly Sink[], error: SkeinError): void {
    const failure = new SkeinError(error.code, error.message, {
      cause: error,
      details: { ...error.details, mayBeDelivered: this.#begun }
    })
    this.#components.flow.stats.failed += sinks.length
    for (const sink of sinks) sink.reject(failure)
    this.#components.flow.failed(error)
    this.#tellDrained()
  }

  #tellDrained(): void {
    if (this.#closed === undefined && !this.#isIdle()) return
    for (const resolve of this.#drained.splice(0)) resolve()
  }
}

/** Tells the sinks of one record; each is told once, in the order of their messages. */
class Receipts {
  readonly #init: LogWriterInit
  readonly #record: SealedRecord
  readonly #told = new Set<Confirm>()

  constructor(init: LogWriterInit, record: SealedRecord) {
    this.#init = init
    this.#record = record
  }

  settle(sinks: readonly Sink[], confirm: Confirm): void {
    if (this.#told.has(confirm)) return
    this.#told.add(confirm)
    const { channel, publisher, session } = this.#init
    const { first, time } = this.#record.header
    const prefix = `${publisher}/${session}/`
    const date = new Date(time.ms)
    for (let index = 0; index < sinks.length; index++) {
      const sink = sinks[index] as Sink
      if (sink.confirm !== confirm) continue
      const sequence = first + index
      sink.resolve({ id: `${prefix}${sequence}/${channel}`, sequence, time: date })
    }
  }
}

/** Where this publisher's newest earlier session in the channel ended, as far as this disk knows. */
function lastSession(logs: readonly LogState[], own: LogRef): PreviousSession | undefined {
  let last: LogState | undefined
  for (const log of logs) {
    if (log.publisher !== own.publisher || log.session >= own.session) continue
    if (log.headDigest !== undefined && (last === undefined || log.session > last.session))
      last = log
  }
  if (last?.headDigest === undefined) return undefined
  return { session: last.session, sequence: last.head, digest: last.headDigest }
}
