import { SkeinError, toSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Transport } from '../mesh/contract.ts'
import type { LogRef, LogState, RetentionPolicy, Store, ValueEntry } from '../store/contract.ts'
import { BodyBuilder, type EncodableMessage, messageSize } from '../wire/body.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import type { HybridClock } from '../wire/hybrid-clock.ts'
import { FLAGS, type PreviousSession, type SealedRecord } from '../wire/record.ts'
import { sealRecord } from '../wire/sealed-record.ts'
import type { Signer } from '../wire/signature.ts'
import type { ParsedTopic } from '../wire/topic.ts'
import { Batch, type Confirm, type PublisherStats, type Receipt } from './batch.ts'

/** A message on its way out. */
export interface Outgoing extends EncodableMessage {
  readonly topic: ParsedTopic
}

/** What the writers of one publisher share: its window over all channels, its counters, its fate. */
interface Flow {
  readonly stats: PublisherStats
  /** May another message go to a writer? */
  hasRoom(): boolean
  take(bytes: number): void
  give(bytes: number): void
  /** Counts bytes that wait behind the window (negative: no longer). Throws ERR_BUSY. */
  queue(bytes: number): void
  /** A record could not be stored. */
  failed(error: SkeinError): void
  /** A record goes to the disk; answers the monotonic time, ms, which `wrote` wants back. */
  writing(): number
  /** The disk is done with it, well or badly. */
  wrote(since: number): void
  /** What goes to disk in the commit of a record whose messages have ids. */
  values(batch: Batch): readonly ValueEntry[]
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
  /** What the channel may hold; undefined where it is trimmed rather than closed. */
  readonly quota?: Pick<RetentionPolicy, 'maxBytes' | 'maxMessages'> | undefined
}

/** What waits for room. */
interface Waiting {
  readonly bytes: number
  /** False where there is no room yet. */
  readonly admit: () => boolean
  readonly reject: (error: SkeinError) => void
}

/** Writes one log: its messages in order, packed into records. */
export interface LogWriter {
  /** Throws ERR_BUSY, ERR_CHANNEL_FULL and what `messageSize` throws; rejects where the record cannot be stored. */
  add(outgoing: Outgoing, confirm: Confirm): Promise<Receipt>
  /** A record of its own for `batch`. Throws ERR_PAYLOAD_TOO_LARGE, ERR_BUSY, ERR_CHANNEL_FULL. */
  addRecord(batch: readonly Outgoing[], confirm: Confirm): Promise<Receipt[]>
  /** A control record, behind what was added before. */
  addControl(body: Uint8Array): Promise<Receipt>
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
  /** Of the messages in the builder. */
  #open: Batch
  #scheduled = false
  #sequence = 1
  #previous: Uint8Array | undefined
  readonly #before: PreviousSession | undefined
  /** Do neighbours get the records as they are written? */
  readonly #isSent: boolean
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
    this.#open = new Batch(init, this.#sequence)
    this.#isSent = scopeOf(init.channel) === 'mesh'
  }

  add(outgoing: Outgoing, confirm: Confirm): Promise<Receipt> {
    if (this.#init.quota !== undefined) this.#assertNotFull(this.#init.quota)
    const receipt = this.#waiting.length === 0 ? this.#append(outgoing, confirm) : undefined
    if (receipt !== undefined) return receipt
    return this.#wait(messageSize(outgoing), () => this.#append(outgoing, confirm))
  }

  addRecord(batch: readonly Outgoing[], confirm: Confirm): Promise<Receipt[]> {
    if (this.#init.quota !== undefined) this.#assertNotFull(this.#init.quota)
    const size = batch.reduce((sum, outgoing) => sum + messageSize(outgoing), 0)
    const limit = LIMITS.pushBytes - LIMITS.headBytes
    if (size > limit || batch.length > LIMITS.batchMessages) {
      throw new SkeinError(
        'ERR_PAYLOAD_TOO_LARGE',
        `a batch goes out as one record of at most ${limit} bytes and ${LIMITS.batchMessages} messages; this one has ${size} bytes and ${batch.length} messages: publish it in parts`,
        { details: { bytes: size, limit } }
      )
    }
    const receipts = this.#waiting.length === 0 ? this.#appendRecord(batch, confirm) : undefined
    return receipts ?? this.#wait(size, () => this.#appendRecord(batch, confirm))
  }

  addControl(body: Uint8Array): Promise<Receipt> {
    if (this.#closed !== undefined) throw this.#closed
    this.#seal()
    const receipt = this.#open.add('stored')
    this.#write(body, FLAGS.control)
    return receipt
  }

  admitWaiting(): void {
    let admitted = 0
    for (const { admit, bytes } of this.#waiting) {
      if (this.#closed !== undefined || !admit()) break
      this.#components.flow.queue(-bytes)
      admitted++
    }
    this.#waiting.splice(0, admitted)
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
    this.#components.flow.stats.failed += this.#open.count + waiting.length
    this.#open.failed(notSent)
    for (const { reject } of waiting) reject(notSent)
    this.#tellDrained()
  }

  #assertNotFull({ maxBytes, maxMessages }: NonNullable<LogWriterInit['quota']>): void {
    const { channel } = this.#init
    const { bytes, messages } = this.#components.store.channelUsage(channel)
    if (bytes < maxBytes && messages < maxMessages) return
    throw new SkeinError(
      'ERR_CHANNEL_FULL',
      `channel '${channel}' holds ${messages} messages in ${bytes} bytes, which is its limit, and refuses more rather than trim; wait until something expires, or raise its limits`,
      { details: { channel, bytes, messages } }
    )
  }

  #isIdle(): boolean {
    return this.#inFlight === 0 && this.#open.count === 0 && this.#waiting.length === 0
  }

  /** Waits behind what waits already, until `append` finds room. */
  #wait<Result>(bytes: number, append: () => Promise<Result> | undefined): Promise<Result> {
    this.#components.flow.queue(bytes)
    return new Promise((resolve, reject) => {
      const admit = (): boolean => {
        const result = append()
        if (result !== undefined) resolve(result)
        return result !== undefined
      }
      this.#waiting.push({ bytes, admit, reject })
    })
  }

  /** Looks at the window, and at the neighbours' buffers whenever a new batch would begin. */
  #mayWrite(): boolean {
    if (!this.#components.flow.hasRoom()) return false
    if (this.#open.count > 0 || !this.#isSent) return true
    // Records of a log that has not begun are kept until it has, out of the neighbours' sight: one is enough.
    if (this.#roomPending || (!this.#begun && this.#inFlight > 0)) return false
    const room = this.#components.transport.room(this.#init.channel)
    if (room === undefined) return true
    this.#roomPending = true
    void room.then(() => {
      this.#roomPending = false
      this.admitWaiting()
    })
    return false
  }

  /** Undefined where the message has to wait for room: in the window, or at a neighbour when it begins a batch. */
  #append(outgoing: Outgoing, confirm: Confirm): Promise<Receipt> | undefined {
    if (this.#closed !== undefined) throw this.#closed
    if (!this.#mayWrite()) return undefined
    const limit = LIMITS.batchBytes
    if (!this.#builder.add(outgoing, this.#open.count === 0 ? undefined : limit)) {
      this.#seal()
      if (!this.#mayWrite()) return undefined
      this.#builder.add(outgoing)
    }
    const batch = this.#open
    const receipt = batch.add(confirm)
    if (outgoing.id !== undefined) batch.identify(outgoing.id)
    if (this.#builder.size >= limit || batch.count >= this.#init.batchMessages) this.#seal()
    else this.#schedule()
    return receipt
  }

  #appendRecord(batch: readonly Outgoing[], confirm: Confirm): Promise<Receipt[]> | undefined {
    if (this.#closed !== undefined) throw this.#closed
    this.#seal()
    if (!this.#mayWrite()) return undefined
    const receipts = batch.map((outgoing) => {
      this.#builder.add(outgoing)
      const receipt = this.#open.add(confirm)
      if (outgoing.id !== undefined) this.#open.identify(outgoing.id)
      return receipt
    })
    this.#seal()
    return Promise.all(receipts)
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
    if (this.#open.count === 0 || this.#closed !== undefined) return
    this.#write(this.#builder.finish(), 0)
  }

  /** Seals the open batch around `body`, sends it and has it stored. */
  #write(body: Uint8Array, flags: number): void {
    const batch = this.#open
    const { channel, session } = this.#init
    const first = this.#sequence
    const record = sealRecord(
      {
        session,
        channel,
        first,
        count: batch.count,
        previous: this.#previous,
        before: first === 1 ? this.#before : undefined,
        time: this.#components.hybridClock.tick(),
        flags,
        body
      },
      this.#components.signer
    )
    batch.time = new Date(record.header.time.ms)
    this.#sequence += batch.count
    this.#open = new Batch(this.#init, this.#sequence)
    this.#previous = record.digest
    this.#send(record)
    this.#store(record, batch)
  }

  /** The first record of a log is written before it is sent: a crash before that leaves no trace of the log. */
  #send(record: SealedRecord): void {
    if (!this.#isSent) return
    if (!this.#begun) {
      this.#unsent.push(record)
      return
    }
    this.#components.transport.broadcast(this.#init.channel, record)
  }

  #store(record: SealedRecord, batch: Batch): void {
    const { flow, store } = this.#components
    const size = record.bytes.byteLength
    this.#inFlight++
    flow.take(size)
    if (this.#begun && this.#isSent) batch.sent()
    const item =
      batch.ids === undefined
        ? { record, ageMs: 0 }
        : { record, ageMs: 0, values: flow.values(batch) }
    const since = flow.writing()
    store.append([item], { sync: true }).then(
      (outcomes) => {
        this.#inFlight--
        flow.wrote(since)
        flow.give(size)
        if (outcomes[0] !== 'appended') {
          this.#fail(batch, new SkeinError('ERR_INTERNAL', `own record refused: ${outcomes[0]}`))
          return
        }
        flow.stats.records++
        flow.stats.messages += batch.count
        flow.stats.bytes += size
        this.#begin()
        batch.stored()
        this.#seal()
        this.#tellDrained()
      },
      (error: unknown) => {
        this.#inFlight--
        flow.wrote(since)
        flow.give(size)
        this.#fail(batch, toSkeinError(error))
      }
    )
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    for (const record of this.#unsent.splice(0)) {
      this.#components.transport.broadcast(this.#init.channel, record)
    }
    this.admitWaiting()
  }

  #fail(batch: Batch, error: SkeinError): void {
    const failure = new SkeinError(error.code, error.message, {
      cause: error,
      // A write that failed can have reached the disk all the same, and is delivered from there then.
      details: { ...error.details, mayBeDelivered: this.#begun || error.code !== 'ERR_INTERNAL' }
    })
    this.#components.flow.stats.failed += batch.count
    batch.failed(failure)
    this.#components.flow.failed(error)
    this.#tellDrained()
  }

  #tellDrained(): void {
    if (this.#closed === undefined && !this.#isIdle()) return
    for (const resolve of this.#drained.splice(0)) resolve()
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
