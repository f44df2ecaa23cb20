import { dirname } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { KIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { OpenReport } from './contract.ts'
import type { Journal } from './journal.ts'
import { metaKey } from './keys.ts'
import { isCorruption, remedies } from './level.ts'
import type { Level } from './level.ts'
import { recoverMirror } from './recovery.ts'
import type { Recovered } from './recovery.ts'
import type { Retention } from './retention.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Version of the layout of keys and rows. A store with a greater one is not touched. */
const FORMAT_VERSION = 1

/** What is noted about a store outside its database. */
export interface StoreMark {
  readonly epoch: string
  readonly formatVersion: number
}

/** Where the mark stands. */
export interface StoreMarker {
  /** Names the place, for messages. */
  readonly path: string
  load(): Promise<StoreMark | undefined>
  save(mark: StoreMark): Promise<void>
}

export interface OpeningComponents {
  readonly openLevel: () => Promise<Level>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly marker?: StoreMarker
}

interface Parts {
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly retention: Retention
  readonly subscriptions: Subscriptions
}

/** A database that has been opened and read. */
export interface Opened extends Recovered {
  readonly clean: boolean
  readonly startedAt: number
}

const EPOCH = metaKey('epoch')
const FORMAT = metaKey('format')
const CLEAN = metaKey('clean')
const PROBE = metaKey('probe')
const PROBE_BYTES = 64 * KIB
const SYNC = { sync: true } as object

/** Opens the database, makes sure that it is the right one, and puts right what was cut off. */
export class Opening {
  readonly #components: OpeningComponents
  readonly #parts: Parts
  #epoch = ''

  constructor(components: OpeningComponents, parts: Parts) {
    this.#components = components
    this.#parts = parts
  }

  get epoch(): string {
    return this.#epoch
  }

  /** `next`: offsets that journals must go on above. */
  async open(
    use: (level: Level) => void,
    next: ReadonlyMap<string, number> = new Map()
  ): Promise<Opened> {
    const { clock, openLevel } = this.#components
    const startedAt = clock.monotonic()
    const level = await openLevel()
    use(level)
    try {
      await this.#identify(level)
      const clean = (await level.get(CLEAN)) !== undefined
      const least = await this.#parts.subscriptions.load()
      for (const [channel, offset] of next) {
        least.set(channel, Math.max(offset, least.get(channel) ?? 0))
      }
      const recovered = await recoverMirror(level, least)
      await this.#markInUse(level)
      return { ...recovered, clean, startedAt }
    } catch (error) {
      if (!isCorruption(error)) throw error
      throw new SkeinError(
        'ERR_STORE_CORRUPT',
        `the store cannot be read: its files are damaged; ${this.#remedies()}`,
        { cause: error }
      )
    }
  }

  /** Synced: a power loss that takes everything since would otherwise look like a clean stop. */
  async #markInUse(level: Level): Promise<void> {
    try {
      await level.del(CLEAN, SYNC)
    } catch (error) {
      if (isCorruption(error)) throw error
      throw new SkeinError(
        'ERR_STORE_WRITE',
        'the store cannot be written; free some space on its disk, or make it writable, and start again',
        { cause: error }
      )
    }
  }

  /** Writes what recovery found out, once the queue works. */
  async settle(opened: Opened): Promise<OpenReport> {
    const { journal, queue, retention } = this.#parts
    const { badKeys, changed, clean, damaged, mirror, startedAt, torn, trimming } = opened
    if (changed.length > 0 || badKeys.length > 0) {
      await queue.run(true, (commit) => {
        for (const key of badKeys) commit.delete(key)
        for (const slot of changed) commit.logs.add(slot)
        return true
      })
    }
    for (const channel of torn) {
      this.#components.logger.warn(
        { channel },
        'rows of the journal are missing: records come again'
      )
      await journal.mend(channel)
    }
    for (const slot of mirror.logs()) {
      if (slot.journaled >= slot.committed.head) continue
      await queue.run(false, (commit) => journal.follow(slot, commit))
    }
    for (const channel of trimming) await retention.finish(channel)
    const { records } = mirror.usage()
    const logs = [...mirror.logs()].length
    const durationMs = this.#components.clock.monotonic() - startedAt
    return { clean, logs, records, durationMs, damaged }
  }

  async markClean(): Promise<void> {
    await this.#parts.queue.run(true, (commit) => {
      commit.put(CLEAN, Buffer.of(1))
      return true
    })
  }

  /** Writes something of a record's size, synced. */
  async probe(): Promise<void> {
    await this.#parts.queue.run(true, (commit) => {
      commit.put(PROBE, Buffer.alloc(PROBE_BYTES))
      return true
    })
    await this.#parts.queue.run(false, (commit) => {
      commit.delete(PROBE)
      return true
    })
  }

  async #identify(level: Level): Promise<void> {
    const { marker, random } = this.#components
    const mark = await marker?.load()
    const format = (await level.get(FORMAT))?.toString()
    const epoch = (await level.get(EPOCH))?.toString()
    checkVersion(Math.max(mark?.formatVersion ?? 0, Number(format ?? 0)))
    if (mark !== undefined && mark.epoch !== epoch) throw this.#wrongStore(mark, epoch)
    if (epoch === undefined) await this.#create(level, Buffer.from(random.bytes(8)).toString('hex'))
    else this.#epoch = epoch
    if (mark === undefined)
      await marker?.save({ epoch: this.#epoch, formatVersion: FORMAT_VERSION })
  }

  #wrongStore(mark: StoreMark, epoch: string | undefined): SkeinError {
    const what = epoch === undefined ? 'is empty' : 'is another one'
    const path = this.#components.marker?.path ?? 'its mark'
    return new SkeinError(
      'ERR_STORE_CORRUPT',
      `the store ${what}, though ${path} says that there was one; ${this.#advice()}`,
      { details: { expected: mark.epoch, found: epoch ?? null } }
    )
  }

  async #create(level: Level, epoch: string): Promise<void> {
    const [any] = await level.keys({ limit: 1 }).all()
    if (any !== undefined) {
      throw new SkeinError(
        'ERR_STORE_CORRUPT',
        `the store holds records but has lost its identity; ${this.#advice()}`
      )
    }
    await level.batch(
      [
        { type: 'put', key: EPOCH, value: Buffer.from(epoch) },
        { type: 'put', key: FORMAT, value: Buffer.from(String(FORMAT_VERSION)) },
        { type: 'put', key: CLEAN, value: Buffer.of(1) }
      ],
      SYNC
    )
    this.#epoch = epoch
  }

  #advice(): string {
    return 'restore the data directory from a copy, or move it away to start empty'
  }

  #remedies(): string {
    const { marker } = this.#components
    return marker === undefined ? this.#advice() : remedies(dirname(marker.path))
  }
}

function checkVersion(version: number): void {
  if (version <= FORMAT_VERSION) return
  throw new SkeinError(
    'ERR_STORE_VERSION',
    `the store has format ${version}, this version of Skein reads up to ${FORMAT_VERSION}; start the newer ` +
      'version again, or use another data directory',
    { details: { found: version, known: FORMAT_VERSION } }
  )
}
