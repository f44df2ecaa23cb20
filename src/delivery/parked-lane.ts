import { type Clock, type Timer, delay } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { DecodedMessage } from '../wire/body.ts'
import type { RecordHeader } from '../wire/record.ts'
import type { Candidate } from './channel-reader.ts'
import type { Failure } from './dead-letter.ts'
import type { NackOptions } from './contract.ts'
import { nackFailure } from './giving-back.ts'
import { DeliveredMessage, type MessageOwner } from './message.ts'
import { encodeParked, type ParkedRow, type ParkedRows } from './parked-rows.ts'

export interface ParkedLaneComponents {
  readonly rows: ParkedRows
  readonly clock: Clock
}

export interface ParkedLaneInit {
  readonly epoch: string
  /** Hand-overs that a message gets; Infinity: no limit. */
  readonly maxDeliveries: number
  readonly ackTimeoutMs: number
  /** May so many more messages be in flight? */
  readonly hasRoom: (more: number) => boolean
  /** Writes the dead letter of a message whose hand-overs are used up. */
  readonly bury: (message: DeliveredMessage, attempts: number, failure: Failure) => Promise<void>
  /** There may be something to hand over, here or in another lane. */
  readonly onReadable: () => void
  readonly onAcknowledged: () => void
  readonly onExpired: () => void
  readonly onError: (error: unknown) => void
}

interface Parked {
  readonly key: string
  row: ParkedRow
  /** It was handed over in an earlier life: its last attempt is made alone. */
  readonly isOld: boolean
  /** Why its last hand-over failed; undefined where an earlier life knew. */
  failure: Failure | undefined
  /** Monotonic ms. */
  deadline: number
  message: DeliveredMessage | undefined
}

/** Timers of the platform end at 24.8 days; and a machine may sleep. */
const LONGEST_TIMER_MS = 3_600_000
/** What could not be read or written is tried again after this time, ms. */
const AGAIN_MS = 1000
/** Messages read and counted at once. */
const AHEAD = 16

/**
 * The messages of a durable subscription that are not where its cursor is: each has a row and a copy of its own, and
 * counts its own hand-overs. A message leaves when it is acknowledged, a dead letter, or expired.
 */
export class ParkedLane implements MessageOwner {
  readonly epoch: string
  readonly #rows: ParkedRows
  readonly #clock: Clock
  readonly #init: ParkedLaneInit
  readonly #most: number
  /** By key: all there are. */
  readonly #all = new Map<string, Parked>()
  /** Not in flight, the one that is due next first. */
  readonly #waiting: Parked[] = []
  /** Counted, to be handed over now. */
  readonly #ready: Parked[] = []
  readonly #inFlight = new Map<Candidate, Parked>()
  /** What is read or written. */
  readonly #work = new Set<Promise<void>>()
  #preparing = 0
  /** On their way to the disk. */
  #parking = 0
  /** Of the copies on disk. */
  #bytes = 0
  /** The one that is in flight alone. */
  #alone: Parked | undefined
  #timer: Timer | undefined
  #timerAt = Infinity
  #closed = false

  constructor({ clock, rows }: ParkedLaneComponents, init: ParkedLaneInit) {
    this.#rows = rows
    this.#clock = clock
    this.#init = init
    this.epoch = init.epoch
    this.#most = Math.max(2, init.maxDeliveries)
  }

  /** Handed over and not acknowledged, or about to be handed over. */
  get inFlight(): number {
    return this.#inFlight.size + this.#ready.length + this.#preparing
  }

  /** Messages that are not due, or have no room yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Messages that are parked. */
  get size(): number {
    return this.#all.size
  }

  async load(): Promise<void> {
    for (const [key, row] of await this.#rows.entries()) this.add(key, row)
  }

  /** A row that is on disk. */
  add(key: string, row: ParkedRow, isOld = row.attempts > 0): void {
    if (this.#all.has(key) || this.#closed) return
    const parked = { key, row, isOld, failure: undefined, deadline: Infinity, message: undefined }
    this.#all.set(key, parked)
    this.#bytes += row.bytes
    this.#wait(parked)
  }

  /**
   * Takes a message out of its channel until `dueAt` (wall clock, ms). Resolves when it is on disk; undefined where
   * LIMITS.parkedMessages or LIMITS.parkedBytes wait already.
   */
  park(
    { entry, index, message, offset }: Candidate,
    dueAt: number,
    attempts: number
  ): Promise<void> | undefined {
    const { header } = entry
    if (header === undefined || this.#closed) return undefined
    const copy = encodeParked(message)
    const isFull =
      this.#all.size + this.#parking >= LIMITS.parkedMessages ||
      this.#bytes + copy.length > LIMITS.parkedBytes
    if (isFull) return undefined
    const { channel, first, publisher, session, time } = header
    const row: ParkedRow = {
      publisher,
      session,
      sequence: first + index,
      channel,
      timeMs: time.ms,
      bornAt: entry.bornAt,
      late: entry.late,
      bytes: copy.length,
      dueAt,
      attempts
    }
    const key = `${offset}/${channel}`
    // A crash came between its copy and the cursor.
    if (this.#all.has(key)) return Promise.resolve()
    return this.#track(this.#write(key, row, copy))
  }

  /** Until it succeeds, or the subscription is closed, whose next life begins with the message again. */
  async #write(key: string, row: ParkedRow, copy: Uint8Array): Promise<void> {
    this.#parking++
    try {
      for (;;) {
        if (this.#closed) throw new SkeinError('ERR_STOPPED', 'the subscription was stopped')
        try {
          await this.#rows.add(key, row, copy)
          break
        } catch (error) {
          this.#init.onError(error)
          await delay(this.#clock, AGAIN_MS)
        }
      }
    } finally {
      this.#parking--
    }
    this.add(key, row, false)
  }

  /** The next message to hand over now. */
  next(): DeliveredMessage | undefined {
    this.#prepare()
    const parked = this.#ready.shift()
    if (parked?.message === undefined) return undefined
    parked.deadline = this.#clock.monotonic() + this.#init.ackTimeoutMs
    this.#inFlight.set(parked.message.candidate, parked)
    return parked.message
  }

  owns(message: DeliveredMessage): boolean {
    return this.#inFlight.size > 0 && this.#inFlight.has(message.candidate)
  }

  find(id: string): DeliveredMessage | undefined {
    for (const { message } of this.#inFlight.values()) if (message?.id === id) return message
    return undefined
  }

  tick(): void {
    const now = this.#clock.monotonic()
    for (const { deadline, message } of this.#inFlight.values()) {
      if (deadline > now || message === undefined) continue
      this.giveBack(message, 0, { reason: 'ack timeout' }).catch(this.#init.onError)
    }
  }

  async acknowledge(message: DeliveredMessage): Promise<void> {
    const parked = this.#land(message)
    if (parked === undefined) return
    this.#init.onAcknowledged()
    await this.#track(this.#forget(parked))
  }

  retry(message: DeliveredMessage, options: NackOptions): Promise<void> {
    return this.giveBack(message, options.delayMs ?? 0, nackFailure(options))
  }

  /** Hands it over again after `delayMs`, or puts it away where its hand-overs are used up; resolves when written. */
  async giveBack(message: DeliveredMessage, delayMs: number, failure: Failure): Promise<void> {
    const parked = this.#land(message)
    if (parked === undefined) return
    const counts = failure.counts !== false
    if (counts) parked.failure = failure
    const attempts = parked.row.attempts - (counts ? 0 : 1)
    parked.row = { ...parked.row, dueAt: this.#clock.now() + delayMs, attempts }
    if (attempts >= this.#init.maxDeliveries) {
      await this.#track(this.#bury(parked, message))
      return
    }
    await this.#track(this.#rows.update(parked.key, parked.row))
    this.#wait(parked)
  }

  /** Resolves when nothing is written any more. What was counted and not handed over is not counted. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await Promise.allSettled(this.#work)
    const unseen = this.#ready.splice(0)
    await Promise.all(
      unseen.map(({ key, row }) => this.#rows.update(key, { ...row, attempts: row.attempts - 1 }))
    )
  }

  /** It is not in flight any more. */
  #land({ candidate }: DeliveredMessage): Parked | undefined {
    const parked = this.#inFlight.get(candidate)
    if (parked === undefined || this.#closed) return undefined
    this.#inFlight.delete(candidate)
    if (this.#alone === parked) this.#alone = undefined
    this.#init.onReadable()
    return parked
  }

  #wait(parked: Parked): void {
    if (this.#closed) return
    parked.message = undefined
    let at = this.#waiting.length
    while (at > 0 && isBefore(parked.row, (this.#waiting[at - 1] as Parked).row)) at--
    this.#waiting.splice(at, 0, parked)
    if (parked.row.dueAt <= this.#clock.now()) this.#init.onReadable()
    else if (at === 0) this.#arm(parked.row.dueAt)
  }

  #arm(dueAt: number): void {
    if (dueAt >= this.#timerAt || this.#closed) return
    this.#timer?.cancel()
    this.#timerAt = dueAt
    const ms = Math.min(Math.max(1, Math.ceil(dueAt - this.#clock.now())), LONGEST_TIMER_MS)
    this.#timer = this.#clock.after(ms, () => {
      this.#timerAt = Infinity
      this.#init.onReadable()
    })
  }

  /** Counts what is due, and reads it. */
  #prepare(): void {
    const now = this.#clock.now()
    while (this.#waiting.length > 0 && this.#alone === undefined) {
      const parked = this.#waiting[0] as Parked
      if (parked.row.dueAt > now) {
        this.#arm(parked.row.dueAt)
        return
      }
      if (this.#preparing >= AHEAD || !this.#init.hasRoom(1)) return
      if (parked.isOld && parked.row.attempts + 1 >= this.#most) {
        if (this.inFlight > 0) return
        this.#alone = parked
      }
      this.#waiting.shift()
      this.#preparing++
      this.#track(this.#readOut(parked)).catch(this.#init.onError)
    }
  }

  async #readOut(parked: Parked): Promise<void> {
    try {
      const found = await this.#rows.message(parked.key)
      if (found === undefined) await this.#drop(parked)
      else if (this.#isExpired(parked, found)) {
        this.#init.onExpired()
        await this.#drop(parked)
      } else await this.#count(parked, found)
    } catch (error) {
      parked.row = { ...parked.row, dueAt: this.#clock.now() + AGAIN_MS }
      if (this.#alone === parked) this.#alone = undefined
      this.#wait(parked)
      throw error
    } finally {
      this.#preparing--
      this.#init.onReadable()
    }
  }

  async #count(parked: Parked, found: DecodedMessage): Promise<void> {
    const { attempts, late } = parked.row
    const candidate = candidateOf(parked.row, found)
    const used = parked.failure === undefined ? this.#most : this.#init.maxDeliveries
    if (attempts >= used) {
      const message = new DeliveredMessage(this, candidate, { attempt: attempts, late })
      await this.#bury(parked, message)
      return
    }
    const row = { ...parked.row, attempts: attempts + 1 }
    await this.#rows.update(parked.key, row)
    parked.row = row
    parked.message = new DeliveredMessage(this, candidate, { attempt: row.attempts, late })
    this.#ready.push(parked)
  }

  async #bury(parked: Parked, message: DeliveredMessage): Promise<void> {
    const { failure = { reason: 'consumer ended' }, row } = parked
    try {
      await this.#init.bury(message, row.attempts, failure)
    } catch (error) {
      parked.failure = failure
      parked.row = { ...row, dueAt: this.#clock.now() + AGAIN_MS }
      this.#wait(parked)
      throw error
    }
    await this.#drop(parked)
  }

  async #drop(parked: Parked): Promise<void> {
    if (this.#alone === parked) this.#alone = undefined
    await this.#forget(parked)
  }

  async #forget(parked: Parked): Promise<void> {
    if (this.#all.delete(parked.key)) this.#bytes -= parked.row.bytes
    await this.#rows.delete(parked.key)
    // What found no room here may be parked now.
    this.#init.onReadable()
  }

  #isExpired({ row }: Parked, { ttlMs }: DecodedMessage): boolean {
    return ttlMs !== undefined && this.#clock.now() >= row.bornAt + ttlMs
  }

  /** `close` waits for it. */
  #track(work: Promise<void>): Promise<void> {
    this.#work.add(work)
    const over = (): void => void this.#work.delete(work)
    work.then(over, over)
    return work
  }
}

function isBefore(a: ParkedRow, b: ParkedRow): boolean {
  if (a.dueAt !== b.dueAt) return a.dueAt < b.dueAt
  return a.timeMs === b.timeMs ? a.sequence < b.sequence : a.timeMs < b.timeMs
}

const NOTHING = new Uint8Array(0)

/** A parked message where a reader would have found it. Its record is not at hand any more: only what tells whose it is. */
function candidateOf(row: ParkedRow, message: DecodedMessage): Candidate {
  const { bornAt, channel, late, publisher, sequence, session, timeMs } = row
  const header: RecordHeader = {
    publisherKey: NOTHING,
    publisher,
    session,
    channel,
    first: sequence,
    count: 1,
    previous: undefined,
    before: undefined,
    time: { ms: timeMs, counter: 0 },
    bodyLength: 0,
    bodyHash: NOTHING,
    compression: 0,
    flags: 0
  }
  // A cursor behind offset -1 covers nothing: what stands in the journal is not passed over because of it.
  const entry = { channel, offset: -1, count: 1, record: undefined, header, bornAt, late }
  return { entry, message, index: 0, offset: -1 }
}
