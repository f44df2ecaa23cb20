import { createHash } from 'node:crypto'
import { AgingMap } from '../core/aging-map.ts'
import { type Clock, type Timer, every } from '../core/clock.ts'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Store, ValueEntry } from '../store/contract.ts'
import { formatMessageId } from '../wire/message-id.ts'
import type { MessageFields } from '../wire/record.ts'
import type { ParsedTopic } from '../wire/topic.ts'
import type { Batch, Receipt } from './batch.ts'
import { type IdRow, decodeIdRow, encodeIdRow } from './idempotency-rows.ts'

export interface IdempotencyComponents {
  readonly store: Pick<Store, 'values' | 'condition'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface IdempotencyInit {
  /** PeerId of this node. */
  readonly publisher: string
}

/** A message that may carry an id. */
interface Identified extends Pick<MessageFields, 'id' | 'suffix' | 'payload'> {
  readonly topic: ParsedTopic
}

/** A row on disk, and how many of its ids are still remembered. */
interface Row {
  readonly key: string
  live: number
}

/** What one id stands for. */
interface Entry {
  /** SHA-256 as latin1: a string takes less memory than a view. */
  readonly fingerprint: string
  /** Monotonic ms. */
  at: number
  /** Under way. */
  pending: Promise<Receipt> | undefined
  /** Stored. Neither: it failed, and may be delivered all the same. */
  receipt: Receipt | undefined
  row: Row | undefined
}

/** A message to be published under an id that is free. */
interface Claim {
  /** Among the messages that are published together. */
  readonly place: number
  readonly fingerprint: string
}

/** The value space of the rows. */
const SPACE = 'ids'
/** Between two looks at what has expired, ms. */
const SWEEP_MS = 10_000
/** Rows deleted at once: they share a commit of the store. */
const DELETE_ROWS = 256

/**
 * Makes a second publish with the same id the first one. An id stands for one topic and payload within its channel
 * for LIMITS.idempotencyMs and LIMITS.idempotencyIds, whichever ends first, across restarts: what it stands for is
 * written in the commit of its record. Time is monotonic within one life and wall time between two; a wall clock
 * that went back meanwhile keeps ids longer, one that went forward forgets them earlier, and then deliveries drop
 * the second message.
 */
export class Idempotency {
  /** Publishes that turned out to be earlier ones. */
  duplicates = 0
  readonly #components: IdempotencyComponents
  readonly #publisher: string
  /** By channel and id, oldest first. */
  readonly #entries = new AgingMap<Entry>()
  /** Keys of rows of which nothing is remembered any more. */
  #garbage: string[] = []
  #rows = 0
  #loaded = false
  #loading: Promise<void> | undefined
  #timer: Timer | undefined
  #sweeping: Promise<void> = Promise.resolve()

  constructor(components: IdempotencyComponents, init: IdempotencyInit) {
    this.#components = components
    this.#publisher = init.publisher
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#entries.size
  }

  /** Reads what was remembered before the last stop. Where that fails, the next use of an id tries again. */
  async start(): Promise<void> {
    this.#timer ??= every(this.#components.clock, SWEEP_MS, () => this.#sweep())
    await this.#load()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    await this.#sweeping
  }

  /**
   * `publish`, or what became of the publish before it with the same id. Throws or rejects with ERR_ID_CONFLICT
   * where the id stands for something else.
   */
  once(message: Identified, publish: () => Promise<Receipt>): Promise<Receipt> {
    return this.each([message], async () => [await publish()]).then(
      (receipts) => receipts[0] as Receipt
    )
  }

  /**
   * The same for messages that are published together: `publish` gets those that are new. Those under way are
   * waited for first, so that what fails fails before anything is published.
   */
  each<Message extends Identified>(
    batch: readonly Message[],
    publish: (fresh: readonly Message[]) => Promise<Receipt[]>
  ): Promise<Receipt[]> {
    if (!this.#loaded) return this.#load().then(() => this.each(batch, publish))
    const prints = batch.map((message) => fingerprintOf(message))
    const pending = this.#pendingOf(batch, prints)
    if (pending.length > 0) {
      return Promise.all(pending).then(() => this.each(batch, publish))
    }
    const fresh: Message[] = []
    /** Of each message: what it is, or where it stands among the fresh ones. */
    const places: (Receipt | number)[] = []
    const claims = new Map<string, Claim>()
    for (const [index, message] of batch.entries()) {
      const key = keyOf(message)
      const earlier =
        key === undefined ? undefined : (this.#entries.get(key)?.receipt ?? claims.get(key)?.place)
      if (earlier !== undefined) {
        this.duplicates++
        places.push(earlier)
        continue
      }
      places.push(fresh.length)
      if (key !== undefined) {
        claims.set(key, { place: fresh.length, fingerprint: prints[index] ?? '' })
      }
      fresh.push(message)
    }
    if (fresh.length === 0) return Promise.resolve(places as Receipt[])
    return this.#claim(claims, () => publish(fresh)).then((receipts) =>
      places.map((place) => (typeof place === 'number' ? (receipts[place] as Receipt) : place))
    )
  }

  /** What is to be written with a record that holds messages with ids. */
  values(batch: Batch): readonly ValueEntry[] {
    const { log, ids, first, time } = batch
    const { clock } = this.#components
    const { channel, session } = log
    this.#rows++
    const row: Row = { key: `${session}/${this.#rows.toString(16).padStart(12, '0')}`, live: 0 }
    const messages: IdRow['messages'][number][] = []
    for (const { index, id } of ids ?? []) {
      const entry = this.#entries.get(keyIn(channel, id))
      if (entry === undefined) continue
      this.#leave(entry)
      entry.row = row
      row.live++
      const fingerprint = Buffer.from(entry.fingerprint, 'latin1')
      messages.push({ sequence: first + index, id, fingerprint })
    }
    if (messages.length === 0) return []
    const timeMs = time.getTime()
    const writtenAt = Math.max(0, Math.floor(clock.now()))
    const value = encodeIdRow({ channel, session, timeMs, writtenAt, messages })
    return [{ space: SPACE, key: row.key, value }]
  }

  /** What is under way under the ids of the batch. Throws ERR_ID_CONFLICT. */
  #pendingOf(
    batch: readonly Identified[],
    prints: readonly (string | undefined)[]
  ): Promise<Receipt>[] {
    this.#expire()
    const pending: Promise<Receipt>[] = []
    const here = new Map<string, string | undefined>()
    for (const [index, message] of batch.entries()) {
      const key = keyOf(message)
      if (key === undefined) continue
      const entry = this.#entries.get(key)
      const print = prints[index]
      const expected = here.has(key) ? here.get(key) : entry?.fingerprint
      if (expected !== undefined && expected !== print) throw conflict(message)
      here.set(key, print)
      if (entry?.pending !== undefined) pending.push(entry.pending)
    }
    return pending
  }

  /** Keeps the ids for what `publish` does, until its outcome is known. */
  #claim(
    claims: ReadonlyMap<string, Claim>,
    publish: () => Promise<Receipt[]>
  ): Promise<Receipt[]> {
    const entries: [string, Entry, number][] = []
    const at = this.#components.clock.monotonic()
    // Before `publish`, which may seal the record at once, and asks for what to write with it.
    for (const [key, { place, fingerprint }] of claims) {
      const row = this.#entries.get(key)?.row
      const entry = { fingerprint, at, pending: undefined, receipt: undefined, row }
      this.#entries.set(key, entry)
      entries.push([key, entry, place])
    }
    const free = (error: unknown): void => {
      const mayBeDelivered = isSkeinError(error) && error.details['mayBeDelivered'] === true
      for (const [key, entry] of entries) {
        entry.pending = undefined
        // What may be delivered keeps its id: only the same message may be published under it.
        if (mayBeDelivered || this.#entries.get(key) !== entry) continue
        this.#entries.delete(key)
        this.#leave(entry)
      }
    }
    let published: Promise<Receipt[]>
    try {
      published = publish()
    } catch (error) {
      free(error)
      throw error
    }
    const settled = published.then(
      (receipts) => {
        for (const [, entry, place] of entries) {
          entry.pending = undefined
          entry.receipt = receipts[place]
        }
        return receipts
      },
      (error: unknown) => {
        free(error)
        throw error
      }
    )
    for (const [, entry, place] of entries) {
      entry.pending = settled.then((receipts) => receipts[place] as Receipt)
      // Whoever waits for it has a promise of its own.
      entry.pending.catch(() => undefined)
    }
    return settled
  }

  /** Forgets what is too old or too much, up to the first that is under way. */
  #expire(): void {
    const before = this.#components.clock.monotonic() - LIMITS.idempotencyMs
    for (;;) {
      const [key, entry] = this.#entries.oldest() ?? []
      if (key === undefined || entry === undefined || entry.pending !== undefined) return
      if (entry.at > before && this.#entries.size <= LIMITS.idempotencyIds) return
      this.#entries.delete(key)
      this.#leave(entry)
    }
  }

  #leave(entry: Entry): void {
    const { row } = entry
    if (row === undefined) return
    entry.row = undefined
    if (--row.live === 0) this.#garbage.push(row.key)
  }

  #sweep(): Promise<void> {
    this.#expire()
    this.#sweeping = this.#sweeping.then(() => this.#collect())
    return this.#sweeping
  }

  async #collect(): Promise<void> {
    const { logger, store } = this.#components
    while (this.#garbage.length > 0) {
      const { condition } = store
      if (condition !== 'open' && condition !== 'full') return
      const keys = this.#garbage.splice(0, DELETE_ROWS)
      try {
        const space = store.values(SPACE)
        await Promise.all(keys.map((key) => space.delete(key)))
      } catch (error) {
        if (!isSkeinError(error)) throw error
        logger.warn(
          { err: error },
          'expired idempotency ids could not be deleted; it is tried again'
        )
        this.#garbage.push(...keys)
        return
      }
    }
  }

  #load(): Promise<void> {
    this.#loading ??= this.#read().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #read(): Promise<void> {
    if (this.#loaded) return
    const { clock, logger, store } = this.#components
    const rows = await store.values(SPACE).entries()
    const now = clock.now()
    const monotonic = clock.monotonic()
    // By key: sessions and the numbers within them go up.
    for (const [key, value] of rows.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      try {
        const row = decodeIdRow(value)
        // Written in the future: the clock was set back since.
        this.#restore(key, row, monotonic - Math.max(0, now - row.writtenAt))
      } catch (error) {
        if (!isSkeinError(error, 'ERR_RECORD')) throw error
        logger.warn({ err: error, key }, 'a row of idempotency ids is damaged and is deleted')
        this.#garbage.push(key)
      }
    }
    this.#loaded = true
    this.#expire()
  }

  #restore(key: string, { channel, session, timeMs, messages }: IdRow, at: number): void {
    const row: Row = { key, live: 0 }
    for (const { id, fingerprint, sequence } of messages) {
      const name = keyIn(channel, id)
      // Of a message that was published twice after a failure the first is the one that is delivered.
      if (this.#entries.has(name)) continue
      row.live++
      const receipt = new KnownReceipt(
        { channel, publisher: this.#publisher, session, sequence },
        timeMs
      )
      this.#entries.set(name, {
        fingerprint: Buffer.from(fingerprint).toString('latin1'),
        at,
        pending: undefined,
        receipt,
        row
      })
    }
    if (row.live === 0) this.#garbage.push(key)
  }
}

/** Of a message of an earlier life. */
class KnownReceipt implements Receipt {
  readonly #message: Parameters<typeof formatMessageId>[0]
  readonly #timeMs: number

  constructor(message: Parameters<typeof formatMessageId>[0], timeMs: number) {
    this.#message = message
    this.#timeMs = timeMs
  }

  get id(): string {
    return formatMessageId(this.#message)
  }

  get session(): string {
    return this.#message.session
  }

  get sequence(): number {
    return this.#message.sequence
  }

  get time(): Date {
    return new Date(this.#timeMs)
  }

  /** As the plain object that it stands for. */
  toJSON(): { id: string; sequence: number; time: Date } {
    return { id: this.id, sequence: this.sequence, time: this.time }
  }
}

/** NUL stands in no channel. */
function keyIn(channel: string, id: string): string {
  return `${channel}\0${id}`
}

function keyOf({ id, topic }: Identified): string | undefined {
  return id === undefined ? undefined : keyIn(topic.channel, id)
}

/** Topic and payload: a retry may well come with another trace header. */
function fingerprintOf({ id, payload, suffix }: Identified): string | undefined {
  if (id === undefined) return undefined
  const hash = createHash('sha256').update(suffix).update('\0').update(payload)
  return hash.digest().toString('latin1')
}

function conflict({ id = '', topic }: Identified): SkeinError {
  return new SkeinError(
    'ERR_ID_CONFLICT',
    `the id '${id.slice(0, 80)}' was used in '${topic.channel}' for another topic or payload a short while ago; give every message an id of its own, and the same one only to repeat it`,
    { details: { id } }
  )
}
