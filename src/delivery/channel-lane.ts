import type { Clock } from '../core/clock.ts'
import type { CursorState, Store } from '../store/contract.ts'
import { type Candidate, ChannelReader } from './channel-reader.ts'
import type { Gap } from './contract.ts'
import type { Failure } from './dead-letter.ts'
import type { Decoder } from './decoder.ts'
import type { Duplicates } from './duplicates.ts'
import type { Feed } from './feed.ts'
import { covers, type InFlight, Ledger } from './ledger.ts'
import type { DeliveredMessage, Hand } from './message.ts'
import { type Admission, ReadyWindow } from './ready-window.ts'
import { SideReader } from './side-reader.ts'
import type { Where } from './where.ts'

export interface ChannelLaneComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly clock: Clock
}

export interface ChannelLaneInit {
  readonly channel: string
  readonly matches: (topic: string) => boolean
  /** What else a message must be; undefined where that is nothing. */
  readonly passes: Where | undefined
  /** Name of the durable subscription; undefined for an ephemeral one. */
  readonly durable: string | undefined
  readonly cursor: CursorState
  /** What was born before, by the local clock, is not handed over, but for what follows in a log of which something was. */
  readonly notBefore: number
  readonly duplicates: Duplicates
  /** May one more message be in flight? */
  readonly hasRoom: () => boolean
  /** How many may be. */
  readonly window: number
  /** Hand-overs that a message gets; Infinity: no limit. */
  readonly maxDeliveries: number
  /** False: in the order of the journal, whatever the priorities. */
  readonly byPriority: boolean
  /** Makes the message of a candidate. */
  readonly message: (candidate: Candidate, hand: Hand) => DeliveredMessage
  readonly onReadable: (lane: ChannelLane) => void
  readonly onGap: (gap: Gap) => void
  readonly onExpired: () => void
  readonly onDuplicate: () => void
  /** Writes the dead letter of a message whose hand-overs are used up. */
  readonly bury: (message: DeliveredMessage, attempts: number, failure: Failure) => Promise<void>
  /**
   * Parks a message until `dueAt` (wall clock, ms), with so many hand-overs behind it. Resolves when it is on disk;
   * undefined where no more may wait.
   */
  readonly park: (
    candidate: Candidate,
    dueAt: number,
    attempts: number
  ) => Promise<void> | undefined
  /** A message is in flight no more. */
  readonly onBuried: () => void
  readonly onError: (error: unknown) => void
}

/** A dead letter that could not be written is tried again after this time, ms. */
const BURY_AGAIN_MS = 1000

/** What waits so long for its next hand-over does not wait in flight, and survives a restart, ms. */
const PARK_MS = 1000

/** One channel of one subscription: where it reads, what it handed over, what it passed over. */
export class ChannelLane {
  readonly channel: string
  readonly reader: ChannelReader
  /** Only of a durable subscription. */
  readonly ledger: Ledger<DeliveredMessage> | undefined
  /** Only of an ephemeral subscription. */
  readonly side: SideReader | undefined
  readonly #clock: Clock
  readonly #init: ChannelLaneInit
  /** Read, but not handed over yet. */
  readonly #window: ReadyWindow
  /** Acknowledged from the beginning: what an ephemeral `from: 'last'` does not want. */
  readonly #done: CursorState['acknowledged']
  /** Messages in the ledger that wait for their next hand-over. */
  #retrying = 0

  /** Dead letters that are being written. */
  readonly #burials = new Set<Promise<void>>()
  #closed = false

  readonly #store: Store
  /** Per log, up to which sequence its messages were looked at: below, ranges given up have been told. */
  readonly #lookedAt = new Map<string, number>()
  #lookedInto: Candidate['entry'] | undefined
  /** By session, the first sequence that was born late enough. */
  readonly #begun = new Map<string, number>()
  /** Ranges given up that were told: when that was done, or when they were passed. */
  readonly #told = new Set<string>()

  constructor(components: ChannelLaneComponents, init: ChannelLaneInit) {
    this.channel = init.channel
    this.#store = components.store
    this.#clock = components.clock
    this.#init = init
    this.#done = init.cursor.acknowledged
    const readable = (): void => init.onReadable(this)
    this.reader = new ChannelReader(components, {
      channel: init.channel,
      from: init.cursor.offset,
      matches: init.matches,
      passes: init.passes,
      onReadable: readable,
      onLongWay: () => this.#clock.soon(readable),
      onLost: ({ from, to, entry }) => init.onGap(lostGap(init.channel, { from, to }, entry)),
      onError: init.onError
    })
    this.#window = new ReadyWindow(this.reader, {
      byPriority: init.byPriority,
      admit: (candidate, upTo) =>
        this.ledger === undefined
          ? this.#admitEphemeral(candidate)
          : this.#admitDurable(this.ledger, candidate, upTo)
    })
    const { matches, onError, passes } = init
    if (init.durable === undefined) {
      this.side = new SideReader(components, { matches, passes, onReadable: readable, onError })
    } else {
      this.ledger = new Ledger<DeliveredMessage>(components.store, {
        name: init.durable,
        channel: init.channel,
        cursor: init.cursor,
        window: init.window,
        maxDeliveries: init.maxDeliveries,
        readTo: () => this.#window.unadmitted,
        onSaved: readable,
        onError
      })
    }
  }

  /** Journal offset below which everything was handed over, waits in the ledger for that, or does not match. */
  get position(): number {
    return this.ledger === undefined ? this.#window.position : this.#window.unadmitted
  }

  /** The next message to hand over now. */
  next(): DeliveredMessage | undefined {
    const { ledger } = this
    if (ledger === undefined) return this.#nextEphemeral()
    const retry = this.#nextRetry(ledger)
    if (retry !== undefined) return retry
    return this.#init.hasRoom() && !ledger.isFull ? this.#nextDurable(ledger) : undefined
  }

  /**
   * Hands a message over again after `delayMs`, or puts it away where its hand-overs are used up. Resolves when its
   * next attempt, or its dead letter, is written.
   */
  async retry(entry: InFlight<DeliveredMessage>, delayMs: number, failure: Failure): Promise<void> {
    const { ledger } = this
    if (ledger === undefined) return
    if (entry.deadline !== undefined) this.#retrying++
    const counts = failure.counts !== false
    if (counts && entry.attempt >= this.#init.maxDeliveries) {
      ledger.exhaust(entry)
      await this.#bury(entry, failure)
      return
    }
    if (delayMs >= PARK_MS) {
      const { candidate } = entry.held
      const parked = this.#init.park(
        candidate,
        this.#clock.now() + delayMs,
        entry.attempt - (counts ? 0 : 1)
      )
      if (parked !== undefined) {
        ledger.exhaust(entry)
        await this.#leave(ledger, entry, parked)
        return
      }
    }
    const dueAt = this.#clock.monotonic() + delayMs
    if (counts) await ledger.retry(entry, dueAt)
    else ledger.giveBack(entry, dueAt)
    this.#wakeAt(dueAt)
  }

  /** Timers of the platform may be early, by what the event loop was late when they were set. */
  #wakeAt(dueAt: number): void {
    const ms = dueAt - this.#clock.monotonic()
    if (ms <= 0) this.#init.onReadable(this)
    else if (!this.#closed) this.#clock.after(Math.ceil(ms), () => this.#wakeAt(dueAt))
  }

  /** Starts a message's time for acknowledgement. */
  handed(entry: InFlight<DeliveredMessage>, ackTimeoutMs: number): void {
    entry.deadline = this.#clock.monotonic() + ackTimeoutMs
  }

  acknowledge(offset: number): Promise<void> {
    const { ledger } = this
    if (ledger === undefined) return Promise.resolve()
    const entry = ledger.get(offset)
    // Too late: it is on its way to the dead letters.
    if (entry?.dueAt === Infinity) return Promise.resolve()
    return this.#finish(ledger, offset, entry)
  }

  /** Resolves when nothing is written any more, and what is in flight is given back. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#burials)
    await this.ledger?.close()
  }

  #finish(
    ledger: Ledger<DeliveredMessage>,
    offset: number,
    entry: InFlight<DeliveredMessage> | undefined
  ): Promise<void> {
    if (entry !== undefined && entry.deadline === undefined) this.#retrying--
    const written = ledger.acknowledge(offset)
    this.#init.onReadable(this)
    return written
  }

  /** The message keeps the cursor until its dead letter is on disk: a crash in between writes a second one. */
  #bury(entry: InFlight<DeliveredMessage>, failure: Failure): Promise<void> {
    const burial = this.#writeDeadLetter(entry, failure)
    this.#burials.add(burial)
    const over = (): void => void this.#burials.delete(burial)
    burial.then(over, over)
    return burial
  }

  /** The message keeps the cursor until its copy is on disk; whoever parks it tries again. */
  #leave(
    ledger: Ledger<DeliveredMessage>,
    entry: InFlight<DeliveredMessage>,
    parked: Promise<void>
  ): Promise<void> {
    const leaving = parked.then(async () => {
      await this.#finish(ledger, entry.offset, entry)
      this.#init.onBuried()
    })
    this.#burials.add(leaving)
    const over = (): void => void this.#burials.delete(leaving)
    leaving.then(over, over)
    return leaving
  }

  async #writeDeadLetter(entry: InFlight<DeliveredMessage>, failure: Failure): Promise<void> {
    const { ledger } = this
    if (ledger === undefined) return
    try {
      await this.#init.bury(entry.held, entry.attempt, failure)
    } catch (error) {
      this.#clock.after(BURY_AGAIN_MS, () => {
        if (!this.#closed) this.#bury(entry, failure).catch(this.#init.onError)
      })
      throw error
    }
    await this.#finish(ledger, entry.offset, entry)
    this.#init.onBuried()
  }

  #nextEphemeral(): DeliveredMessage | undefined {
    for (let side = this.side?.next(); side !== undefined; side = this.side?.next()) {
      if (this.#isPassed(side)) continue
      const candidate = { ...side, offset: this.#window.position - 1 }
      return this.#init.message(candidate, { attempt: 1, late: false })
    }
    for (;;) {
      const ready = this.#window.take()
      if (ready === undefined) return undefined
      const { candidate, isAdmitted } = ready
      const covered = this.#window.covered
      if (isAdmitted) {
        if (this.#isExpired(candidate)) continue
        return this.#init.message(candidate, { attempt: 1, late: ready.late, covered })
      }
      const admission = this.#admitEphemeral(candidate)
      if (admission.kind !== 'waits') continue
      return this.#init.message(candidate, { attempt: 1, late: admission.late, covered })
    }
  }

  #admitEphemeral(candidate: Candidate): Admission {
    const verdict = this.side?.judge(candidate) ?? 'hand-over'
    if (verdict === 'done' || this.#isDone(candidate.offset) || this.#isPassed(candidate))
      return { kind: 'passed' }
    return { kind: 'waits', late: verdict === 'late' || candidate.entry.late }
  }

  #nextRetry(ledger: Ledger<DeliveredMessage>): DeliveredMessage | undefined {
    if (this.#retrying === 0) return undefined
    const now = this.#clock.monotonic()
    for (const entry of ledger.entries()) {
      if (entry.deadline !== undefined || !entry.saved || entry.dueAt > now) continue
      this.#retrying--
      return entry.held.again(entry.attempt)
    }
    return undefined
  }

  #nextDurable(ledger: Ledger<DeliveredMessage>): DeliveredMessage | undefined {
    for (;;) {
      const ready = this.#window.take()
      if (ready === undefined) return undefined
      const { candidate } = ready
      if (ready.isAdmitted) {
        const message = this.#handOver(ledger, candidate)
        if (message === undefined) continue
        return message
      }
      const permit = ledger.permit(candidate.offset)
      if (permit.kind === 'done' || this.#isPassed(candidate)) continue
      if (permit.kind === 'wait') {
        this.#window.putBack(ready)
        return undefined
      }
      if (permit.kind === 'dead') {
        this.#buryUnseen(ledger, candidate, permit.attempts)
        if (!this.#init.hasRoom()) return undefined
        continue
      }
      const { attempt } = permit
      if (this.#isEarly(candidate)) {
        if (this.#postpone(ledger, candidate, attempt - 1)) continue
        this.#window.putBack(ready)
        return undefined
      }
      const { covered } = this.#window
      const message = this.#init.message(candidate, {
        attempt,
        late: candidate.entry.late,
        covered
      })
      if (ledger.add(candidate.offset, message, attempt).ready) return message
      // Its attempt is being written; what follows shares the write.
      this.#retrying++
      if (!this.#init.hasRoom()) return undefined
    }
  }

  /** What may have been handed over in an earlier life, or is postponed, has its own ways: nothing overtakes it. */
  #admitDurable(ledger: Ledger<DeliveredMessage>, candidate: Candidate, upTo: number): Admission {
    if (ledger.isFull) return { kind: 'blocks' }
    const permit = ledger.permit(candidate.offset, upTo)
    if (permit.kind === 'done') return { kind: 'passed' }
    if (permit.kind === 'wait' && permit.on === 'disk') return { kind: 'later' }
    if (permit.kind !== 'go' || permit.attempt > 1 || this.#isEarly(candidate))
      return { kind: 'blocks' }
    if (this.#isPassed(candidate)) return { kind: 'passed' }
    const { late } = candidate.entry
    ledger.wait(candidate.offset, this.#init.message(candidate, { attempt: 1, late }))
    return { kind: 'waits', late }
  }
  /** The first hand-over of one that was overtaken; undefined where it expired meanwhile. */
  #handOver(ledger: Ledger<DeliveredMessage>, candidate: Candidate): DeliveredMessage | undefined {
    const { late } = candidate.entry
    const { covered } = this.#window
    const message = this.#init.message(candidate, { attempt: 1, late, covered })
    ledger.begin(candidate.offset, message)
    if (!this.#isExpired(candidate)) return message
    ledger.acknowledge(candidate.offset).catch(this.#init.onError)
    return undefined
  }

  #isEarly({ message: { deliverAt } }: Candidate): boolean {
    return deliverAt !== undefined && deliverAt > this.#clock.now()
  }

  /** False where no more may wait. */
  #postpone(ledger: Ledger<DeliveredMessage>, candidate: Candidate, attempts: number): boolean {
    const { deliverAt } = candidate.message
    if (deliverAt === undefined || !this.#init.hasRoom()) return false
    const parked = this.#init.park(candidate, deliverAt, attempts)
    if (parked === undefined) return false
    const message = this.#init.message(candidate, { attempt: attempts, late: candidate.entry.late })
    this.#retrying++
    const entry = ledger.hold(candidate.offset, message, attempts)
    this.#leave(ledger, entry, parked).catch(this.#init.onError)
    return true
  }

  /** Its consumer, or the node, ended each time that it had the message. */
  #buryUnseen(ledger: Ledger<DeliveredMessage>, candidate: Candidate, attempt: number): void {
    const { late } = candidate.entry
    const message = this.#init.message(candidate, { attempt, late })
    this.#retrying++
    const entry = ledger.hold(candidate.offset, message, attempt)
    this.#bury(entry, { reason: 'consumer ended' }).catch(this.#init.onError)
  }

  #isDone(offset: number): boolean {
    // One range a topic, where it began at the last message of each: a search, not a walk.
    return this.#done.length > 0 && covers(this.#done, offset)
  }

  /** Is a message not to be handed over, whoever reads it? */
  #isPassed(candidate: Candidate): boolean {
    this.#tellVoids(candidate)
    const { entry, message } = candidate
    if (entry.bornAt < this.#init.notBefore && !this.#hasBegun(entry)) return true
    if (this.#isExpired(candidate)) return true
    if (message.id === undefined || entry.header === undefined) return false
    const { first, publisher, session, time } = entry.header
    const id = `${session}/${first + candidate.index}`
    // Ids are those of one publisher in one channel.
    const scope = `${publisher}/${this.channel}`
    if (!this.#init.duplicates.isDuplicate(scope, message.id, id, time.ms)) return false
    this.#init.onDuplicate()
    return true
  }

  /** A range of a log was given up: true where its listeners have not been told of it yet. */
  passedOver({ from, publisher, session, to }: Gap): boolean {
    const key = `${publisher}/${session}/${from}-${to}`
    if (this.#told.has(key)) return false
    this.#told.add(key)
    return true
  }

  /** Ranges of a log that were given up are told where they are passed, also when that is much later. */
  #tellVoids({ entry, index }: Candidate): void {
    if (entry === this.#lookedInto) return
    this.#lookedInto = entry
    const { header } = entry
    if (header === undefined) return
    const { channel, first, publisher, session } = header
    if (entry.bornAt >= this.#init.notBefore && this.#init.notBefore > 0)
      this.#begin(session, first)
    const log = { channel, publisher, session }
    const state = this.#store.log(log)
    if (state === undefined || state.voids.length === 0) return
    const key = `${publisher}/${session}`
    const since = this.#lookedAt.get(key)
    if (since !== undefined && since >= first) return
    this.#lookedAt.set(key, first + index)
    for (const { from, to } of state.voids) {
      if (to >= first || (since === undefined ? to !== first - 1 : from <= since)) continue
      const isSkipped = state.skipped.some((range) => range.from <= from && to <= range.to)
      const gap: Gap = { ...log, from, to, reason: isSkipped ? 'skipped' : 'trimmed' }
      if (this.passedOver(gap)) this.#init.onGap(gap)
    }
  }

  #begin(session: string, first: number): void {
    if (!this.#begun.has(session)) this.#begun.set(session, first)
  }

  /** Ages can be wrong, and then they are for a while; the order of a log is not. */
  #hasBegun({ header }: Candidate['entry']): boolean {
    return header !== undefined && header.first > (this.#begun.get(header.session) ?? Infinity)
  }

  #isExpired({ entry, message }: Candidate): boolean {
    if (message.ttlMs === undefined || this.#clock.now() < entry.bornAt + message.ttlMs)
      return false
    this.#init.onExpired()
    return true
  }
}

/** Offsets that retention or damage took; whose they were is known only while the header is there. */
function lostGap(
  channel: string,
  range: { from: number; to: number },
  entry: Candidate['entry'] | undefined
): Gap {
  const header = entry?.header
  if (entry === undefined || header === undefined) {
    return { channel, publisher: '', session: '', ...range, reason: 'trimmed' }
  }
  const { publisher, session, first } = header
  return {
    channel,
    publisher,
    session,
    from: first + (range.from - entry.offset),
    to: first + (range.to - entry.offset),
    reason: 'damaged'
  }
}
