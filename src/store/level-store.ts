import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import type { Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import { missingIn } from '../wire/vector.ts'
import { Appender } from './appender.ts'
import { CommitQueue } from './commit-queue.ts'
import type { Commit } from './commit-queue.ts'
import type * as contract from './contract.ts'
import type { CursorState, LogEntry, LogRef, LogState, Registration, Store } from './contract.ts'
import { Health, stopped } from './health.ts'
import type { Space } from './health.ts'
import { Journal } from './journal.ts'
import { metaKey } from './keys.ts'
import type { Level } from './level.ts'
import { LogEdits } from './log-edits.ts'
import { readRows, readRowsBefore, seekRow } from './log-reader.ts'
import { Mirror } from './mirror.ts'
import type { LogSlot } from './mirror.ts'
import { Opening } from './opening.ts'
import type { StoreMarker } from './opening.ts'
import { Quarantine } from './quarantine.ts'
import { Retention } from './retention.ts'
import { encodeHeadRow } from './rows.ts'
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
    this.#health = new Health(
      {
        clock,
        logger,
        freeSpace,
        probeSpace,
        changed: (condition, reason) => this.#changed(condition, reason)
      },
      init.reserveBytes
    )
    this.#queue = new CommitQueue({
      level: () => this.#open(),
      complete: (commit) => this.#complete(commit),
      written: (commit) => this.#written(commit),
      failed: (error) => this.#health.fail(error)
    })
    const level = (): Level => this.#open()
    const mirror = (): Mirror => this.#mirror
    const queue = this.#queue
    this.#journal = new Journal({
      level,
      mirror,
      queue,
      damaged: (slot, found) => this.#quarantine.take(slot, found)
    })
    const journal = this.#journal
    this.#subscriptions = new Subscriptions({ level, queue })
    this.#quarantine = new Quarantine({
      queue,
      journal,
      subscriptions: this.#subscriptions,
      reported: (log, range) => this.#damaged(log, range)
    })
    this.#retention = new Retention({
      clock,
      journal,
      level,
      mirror,
      queue,
      policy: (channel) => init.retention?.(channel),
      giveUp: (slot, range) => this.#edits.giveUp(slot.ref, range, 'expired')
    })
    this.#edits = new LogEdits({
      clock,
      journal,
      level,
      mirror,
      queue,
      retention: this.#retention,
      givenUp: (log, range, reason) => this.#emitter.emit('given-up', { log, range, reason })
    })
    this.#appender = new Appender({
      clock,
      journal,
      level,
      mirror,
      queue,
      maxAgeMs: (channel) => this.#retention.maxAgeMs(channel),
      suspect: (slot, range) => void this.#check(slot, range),
      forked: (log, sequence) => this.#emitter.emit('fork', { log, sequence })
    })
    this.#scrubber = new Scrubber({
      mirror,
      check: (slot, from, maxBytes) => this.#scrub(slot, from, maxBytes)
    })
    this.#opening = new Opening(components, {
      journal,
      queue,
      retention: this.#retention,
      subscriptions: this.#subscriptions
    })
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
      this.#queue.open()
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

  async readLog(
    ref: LogRef,
    from: number,
    options: { to?: number; maxBytes?: number } = {}
  ): Promise<readonly LogEntry[]> {
    const slot = this.#mirror.log(ref)
    if (slot === undefined) return []
    // Resolves when what was accepted until now is written.
    if (from > slot.writtenTo) await this.#queue.run(false, () => true)
    const read = await this.#reading(() =>
      readRows(this.#open(), slot, {
        from: Math.max(from, slot.committed.floor),
        to: Math.min(options.to ?? Number.MAX_SAFE_INTEGER, slot.writtenTo),
        maxBytes: options.maxBytes ?? LIMITS.readBytes
      })
    )
    this.#quarantine.take(slot, read)
    return read.rows
  }

  async readLogBefore(
    ref: LogRef,
    before: number,
    options: { maxBytes?: number } = {}
  ): Promise<readonly LogEntry[]> {
    const slot = this.#mirror.log(ref)
    if (slot === undefined) return []
    const maxBytes = options.maxBytes ?? LIMITS.readBytes
    return this.#reading(() => readRowsBefore(this.#open(), slot, { before, maxBytes }))
  }

  async seekLog(ref: LogRef, ms: number): Promise<number | undefined> {
    const slot = this.#mirror.log(ref)
    return slot === undefined ? undefined : this.#reading(() => seekRow(this.#open(), slot, ms))
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
    return this.#reading(() =>
      this.#journal.read(channel, offset, options.maxBytes ?? LIMITS.readBytes)
    )
  }

  seekJournal(channel: string, ms: number): Promise<number> {
    return this.#reading(() => this.#journal.seek(channel, ms))
  }

  lastOffsets(channel: string, matches: (topic: string) => boolean): Promise<number[]> {
    return this.#reading(() => this.#journal.lastOffsets(channel, matches))
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
    return this.#reading(() => this.#subscriptions.cursors(name))
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
    for (const slot of this.#mirror.logs()) slot.reported = holesOf(slot)
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

  /** A read that meets an I/O error ends the store: what it holds cannot be relied on. */
  async #reading<Result>(read: () => Promise<Result>): Promise<Result> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof SkeinError) throw error
      if (this.#level === undefined) throw this.#health.refusal()
      throw await this.#health.fail(error)
    }
  }

  async #check(slot: LogSlot, range: contract.SequenceRange): Promise<void> {
    await this.#queue.idle()
    if (this.#level === undefined) return
    await this.#reading(async () => {
      const read = await readRows(this.#open(), slot, { ...range, maxBytes: LIMITS.commitBytes })
      this.#quarantine.take(slot, read)
    }).catch((error: unknown) => {
      this.#logger.warn({ err: error }, 'a record that seems damaged could not be checked')
    })
  }

  async #scrub(
    slot: LogSlot,
    from: number,
    maxBytes: number
  ): Promise<{ bytes: number; next: number }> {
    const to = slot.writtenTo
    const read = await this.#reading(() => readRows(this.#open(), slot, { from, to, maxBytes }))
    this.#quarantine.take(slot, read)
    return { bytes: read.bytes, next: read.covered + 1 }
  }

  #complete(commit: Commit): void {
    for (const slot of commit.logs) {
      const { committed, journaled, owed } = slot
      const journalEnd = this.#mirror.journal(committed.channel).tail
      commit.put(slot.headKey, encodeHeadRow({ log: committed, journaled, journalEnd, owed }))
    }
  }

  #written(commit: Commit): void {
    this.#health.wrote(commit.bytes)
    for (const [channel, entries] of commit.entries) {
      const journal = this.#mirror.journal(channel)
      journal.next = journal.tail
      this.#emitter.emit('journal', { channel, entries })
    }
    for (const after of commit.written) after()
    const logs = [...Array.from(commit.logs, ({ ref }) => ref), ...commit.gone]
    if (logs.length > 0) this.#emitter.emit('changed', { logs })
    for (const slot of commit.logs) {
      const named = holesOf(slot)
      if (named === slot.reported) continue
      slot.reported = named
      this.#emitter.emit('gap', { log: slot.ref, missing: missingIn(slot.committed) })
    }
  }

  #damaged(log: LogRef, range: contract.SequenceRange): void {
    this.#logger.warn({ log, range }, 'records are damaged or missing')
    this.#emitter.emit('damaged', { log, range })
  }

  #changed(condition: contract.StoreCondition, reason: string): void {
    this.#emitter.emit('condition', { condition, reason })
  }
}

function holesOf({ committed }: LogSlot): string {
  return missingIn(committed)
    .map(({ from, to }) => `${from}-${to}`)
    .join()
}
