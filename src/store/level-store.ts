import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import type { Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import { Appender } from './appender.ts'
import { CommitNews } from './commit-news.ts'
import { CommitQueue } from './commit-queue.ts'
import type * as contract from './contract.ts'
import type { CursorState, LogEntry, LogRef, LogState, Registration, Store } from './contract.ts'
import { Health, stopped } from './health.ts'
import type { Space } from './health.ts'
import { Journal } from './journal.ts'
import { metaKey } from './keys.ts'
import type { Level } from './level.ts'
import { LogEdits } from './log-edits.ts'
import { LogReading } from './log-reading.ts'
import { Mirror } from './mirror.ts'
import { Opening } from './opening.ts'
import type { StoreMarker } from './opening.ts'
import { Quarantine } from './quarantine.ts'
import { Retention } from './retention.ts'
import { Scrubber } from './scrubber.ts'
import { Subscriptions } from './subscriptions.ts'
import { createValueSpace } from './values.ts'

export interface StoreComponents {
  /** Opens the database; called again after `recover` has closed it. Keys and values are Buffers by default. */
  readonly openLevel: () => Promise<Level>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Undefined, or resolving to undefined, where there is no file system. */
  readonly freeSpace?: () => Promise<Space | undefined>
  /** Tries to write so many bytes beside the store; resolves to the system's error code when that fails. */
  readonly probeSpace?: (bytes: number) => Promise<string | undefined>
  /** Where the store's epoch is noted outside the database, so that an emptied one is not taken for new. */
  readonly marker?: StoreMarker
}

export interface StoreInit {
  /** What each channel keeps, so that what is too old is refused from the beginning. */
  readonly retention?: (channel: string) => contract.RetentionPolicy
  /** Free bytes to keep: user records are refused below. Default min(1 GiB, max(16 MiB, 5 % of the disk)). */
  readonly reserveBytes?: number
}

/** A store over an abstract-level database. Opens nothing until `start`. */
export function createStore(components: StoreComponents, init: StoreInit = {}): Store {
  return new LevelStore(components, init)
}

/** Written for its sync alone. */
const FLUSH = metaKey('flush')

class LevelStore implements Store {
  readonly #logger: Logger
  readonly #emitter: Emitter<contract.StoreEvents>
  readonly #health: Health
  readonly #queue: CommitQueue
  readonly #journal: Journal
  readonly #appender: Appender
  readonly #subscriptions: Subscriptions
  readonly #quarantine: Quarantine
  readonly #retention: Retention
  readonly #edits: LogEdits
  readonly #news: CommitNews
  readonly #reads: LogReading
  readonly #scrubber: Scrubber
  readonly #opening: Opening
  #mirror = new Mirror()
  #level: Level | undefined
  #report: contract.OpenReport = { clean: true, logs: 0, records: 0, durationMs: 0, damaged: [] }
  #started = false
  #recovering: Promise<void> | undefined

  constructor(components: StoreComponents, init: StoreInit) {
    const { clock, freeSpace, logger, probeSpace } = components
    this.#logger = logger
    this.#emitter = new Emitter((error) => {
      logger.error({ err: error }, 'a listener of the store has thrown')
    })
    const changed = (condition: contract.StoreCondition, reason: string): void =>
      this.#emitter.emit('condition', { condition, reason })
    const asked = { changed, clock, freeSpace, logger, probeSpace }
    this.#health = new Health(asked, init.reserveBytes)
    const level = (): Level => this.#open()
    const mirror = (): Mirror => this.#mirror
    this.#news = new CommitNews({ emitter: this.#emitter, health: this.#health, mirror })
    const queue = new CommitQueue({
      level,
      complete: (commit) => this.#news.complete(commit),
      written: (commit) => this.#news.tell(commit),
      failed: (error) => this.#health.fail(error)
    })
    this.#queue = queue
    const journal = new Journal({
      level,
      mirror,
      queue,
      damaged: (slot, found) => this.#quarantine.take(slot, found)
    })
    this.#journal = journal
    const subscriptions = new Subscriptions({ level, queue })
    this.#subscriptions = subscriptions
    this.#quarantine = new Quarantine({
      queue,
      journal,
      subscriptions,
      reported: (log, range) => this.#damaged(log, range)
    })
    this.#reads = new LogReading({
      health: this.#health,
      isOpen: () => this.#level !== undefined,
      level,
      logger,
      mirror,
      quarantine: () => this.#quarantine,
      queue
    })
    const parts = { clock, journal, level, mirror, queue }
    const retention = new Retention({
      ...parts,
      policy: (channel) => init.retention?.(channel),
      giveUp: (slot, range) => this.#edits.giveUp(slot.ref, range, 'expired')
    })
    this.#retention = retention
    this.#edits = new LogEdits({
      ...parts,
      retention,
      givenUp: (log, range, reason) => this.#emitter.emit('given-up', { log, range, reason })
    })
    this.#appender = new Appender({
      ...parts,
      maxAgeMs: (channel) => retention.maxAgeMs(channel),
      suspect: (slot, range) => void this.#reads.check(slot, range),
      forked: (log, sequence) => this.#emitter.emit('fork', { log, sequence })
    })
    this.#scrubber = new Scrubber({
      mirror,
      check: (slot, from, maxBytes) => this.#reads.scrub(slot, from, maxBytes)
    })
    this.#opening = new Opening(components, { journal, queue, retention, subscriptions })
  }

  get epoch(): string {
    return this.#opening.epoch
  }

  get events(): Events<contract.StoreEvents> {
    return this.#emitter
  }

  get condition(): contract.StoreCondition {
    return this.#health.condition
  }

  get report(): contract.OpenReport {
    return this.#report
  }

  async start(): Promise<void> {
    if (this.#started) return
    this.#started = true
    try {
      await this.#load()
      this.#health.set('open', 'the store is open')
      await this.#health.start()
    } catch (error) {
      this.#started = false
      this.#health.set('closed', 'the store could not be opened')
      await this.#close()
      throw error
    }
  }

  async stop(): Promise<void> {
    if (!this.#started) return
    this.#started = false
    await this.#recovering?.catch(() => undefined)
    await this.#queue.idle()
    await this.#retention.idle()
    if (this.#queue.refusal === undefined) await this.#opening.markClean().catch(() => undefined)
    this.#queue.close(stopped())
    await this.#queue.idle()
    this.#health.stop()
    this.#health.set('closed', 'the store has been stopped')
    await this.#close()
  }

  async append(
    items: readonly contract.AppendItem[],
    { sync }: { sync: boolean }
  ): Promise<contract.AppendOutcome[]> {
    this.#assertOpen()
    return this.#appender.append(items, sync)
  }

  assertWritable(): void {
    this.#health.assertWritable()
  }

  recover(): Promise<void> {
    if (this.condition !== 'failed') {
      return this.condition === 'broken' || this.condition === 'closed'
        ? Promise.reject(this.#health.refusal())
        : Promise.resolve()
    }
    this.#recovering ??= this.#recover().finally(() => {
      this.#recovering = undefined
    })
    return this.#recovering
  }

  async #recover(): Promise<void> {
    const before = new Map([...this.#mirror.journals()].map(([name, { next }]) => [name, next]))
    try {
      await this.#queue.idle()
      await this.#close()
      // The queue stays closed until then: what it would say is written, of the mirror as it was, is not.
      await this.#load(before)
      await this.#opening.probe()
    } catch (error) {
      const cause = error instanceof SkeinError ? error : undefined
      if (cause?.code === 'ERR_STORE_FAILED') throw cause
      const refusal = new SkeinError(
        'ERR_STORE_WRITE',
        'the store could not be written yet; free some space on its disk, it is tried again',
        { cause: error }
      )
      this.#queue.close(refusal)
      throw refusal
    }
    this.#health.set('open', 'the store has recovered')
    await this.#health.check()
    await this.#tellWhatSurvived(before)
  }

  /** A write that failed can have reached the disk all the same. */
  async #tellWhatSurvived(before: ReadonlyMap<string, number>): Promise<void> {
    for (const [channel, { next }] of this.#mirror.journals()) {
      for await (const page of this.#journal.pages(channel, before.get(channel) ?? 0, next)) {
        const entries = page.filter(({ record }) => record !== undefined)
        if (entries.length > 0) this.#emitter.emit('journal', { channel, entries })
      }
    }
  }

  channels(): readonly string[] {
    return this.#mirror.channels()
  }

  log(ref: LogRef): LogState | undefined {
    return this.#mirror.log(ref)?.planned
  }

  logs(channel?: string): readonly LogState[] {
    return Array.from(this.#mirror.logs(channel), ({ planned }) => planned)
  }

  readLog(
    ref: LogRef,
    from: number,
    options: { to?: number; maxBytes?: number } = {}
  ): Promise<LogEntry[]> {
    return this.#reads.from(ref, from, options)
  }

  readLogBefore(
    ref: LogRef,
    before: number,
    { maxBytes = LIMITS.readBytes }: { maxBytes?: number } = {}
  ): Promise<LogEntry[]> {
    return this.#reads.before(ref, before, maxBytes)
  }

  seekLog(ref: LogRef, ms: number, from = 0): Promise<number | undefined> {
    return this.#reads.seek(ref, ms, from)
  }

  async flush(): Promise<void> {
    this.#assertOpen()
    await this.#queue.run(true, (commit) => {
      commit.put(FLUSH, Buffer.alloc(0))
      return true
    })
  }

  async prepend(
    ref: LogRef,
    items: readonly contract.AppendItem[]
  ): Promise<'prepended' | 'broken-chain'> {
    this.#assertOpen()
    return this.#edits.prepend(ref, items)
  }

  async raiseFloor(ref: LogRef, floor: number): Promise<void> {
    this.#assertOpen()
    await this.#edits.raiseFloor(ref, floor)
  }

  async giveUp(
    ref: LogRef,
    range: contract.SequenceRange,
    reason: contract.GiveUpReason
  ): Promise<void> {
    this.#assertOpen()
    await this.#edits.giveUp(ref, range, reason)
  }

  latestSession(publisher: string): string | undefined {
    return this.#mirror.latestSession(publisher)
  }

  journal(channel: string): contract.JournalState {
    const { first, next } = this.#mirror.journal(channel)
    return { first, next }
  }

  readJournal(
    channel: string,
    offset: number,
    options: { maxBytes?: number } = {}
  ): Promise<contract.JournalEntry[]> {
    return this.#reads.guard(() =>
      this.#journal.read(channel, offset, options.maxBytes ?? LIMITS.readBytes)
    )
  }

  seekJournal(channel: string, ms: number): Promise<number> {
    return this.#reads.guard(() => this.#journal.seek(channel, ms))
  }

  lastOffsets(channel: string, matches: (topic: string) => boolean): Promise<number[]> {
    return this.#reads.guard(() => this.#journal.lastOffsets(channel, matches))
  }

  registrations(): readonly Registration[] {
    return this.#subscriptions.all()
  }

  async register(
    registration: Registration,
    cursors: ReadonlyMap<string, CursorState>
  ): Promise<void> {
    this.#assertOpen()
    await this.#subscriptions.register(registration, cursors)
  }

  async unregister(name: string): Promise<void> {
    this.#assertOpen()
    await this.#subscriptions.unregister(name)
  }

  cursors(name: string): Promise<Map<string, CursorState>> {
    return this.#reads.guard(() => this.#subscriptions.cursors(name))
  }

  async saveCursor(name: string, channel: string, cursor: CursorState): Promise<void> {
    this.#assertOpen()
    await this.#subscriptions.saveCursor(name, channel, cursor)
  }

  async trim(
    channel: string,
    policy: contract.RetentionPolicy,
    received?: contract.Received
  ): Promise<contract.TrimReport> {
    this.#assertOpen()
    const report = await this.#retention.trim(channel, policy, received)
    if (report.records > 0) {
      const { first } = this.#mirror.journal(channel)
      this.#emitter.emit('trimmed', { channel, report, first })
    }
    return report
  }

  async scrub(maxBytes: number): Promise<number> {
    this.#assertOpen()
    return this.#scrubber.next(maxBytes)
  }

  values(space: string): contract.ValueSpace {
    return createValueSpace({ queue: this.#queue, level: () => this.#open() }, space)
  }

  channelUsage(channel: string): { bytes: number; messages: number } {
    const { first, next } = this.#mirror.journal(channel)
    return { bytes: this.#mirror.usage(channel).bytes, messages: next - first }
  }

  usage(): { bytes: number; records: number; freeBytes: number | undefined; reserveBytes: number } {
    const { freeBytes, reserveBytes } = this.#health
    return { ...this.#mirror.usage(), freeBytes, reserveBytes }
  }

  async #load(next?: ReadonlyMap<string, number>): Promise<void> {
    const opened = await this.#opening.open((level) => {
      this.#level = level
    }, next)
    this.#mirror = opened.mirror
    this.#news.reset()
    this.#queue.open()
    this.#report = await this.#opening.settle(opened)
    for (const { from, to, ...log } of this.#report.damaged) this.#damaged(log, { from, to })
  }

  async #close(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    await level?.close()
  }

  #open(): Level {
    if (this.#level === undefined) throw this.#health.refusal()
    return this.#level
  }

  #assertOpen(): void {
    if (this.condition === 'open' || this.condition === 'full') return
    throw this.#health.refusal()
  }

  #damaged(log: LogRef, range: contract.SequenceRange): void {
    this.#logger.warn({ log, range }, 'records are damaged or missing')
    this.#emitter.emit('damaged', { log, range })
  }
}
