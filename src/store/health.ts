import { every } from '../core/clock.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { GIB, MIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { StoreCondition } from './contract.ts'
import { errorCodes, isCorruption } from './level.ts'

/** Size of a file system and what is free of it, bytes. */
export interface Space {
  readonly freeBytes: number
  readonly totalBytes: number
}

export interface HealthComponents {
  readonly clock: Clock
  readonly logger: Logger
  /** Undefined where the file system does not tell. */
  readonly freeSpace?: (() => Promise<Space | undefined>) | undefined
  /** Tries to write `bytes` bytes beside the store; the system's error code when that fails. */
  readonly probeSpace?: ((bytes: number) => Promise<string | undefined>) | undefined
  changed(condition: StoreCondition, reason: string): void
}

/** Free space is asked for this often, ms: a disk fills at some 100 MiB in that time. */
const CHECK_MS = 1_000
/** And after so many bytes written: well below the least reserve. */
const CHECK_BYTES = 8 * MIB
/** A failed write with less than this free is one for lack of space. LevelDB preallocates nothing. */
const NO_SPACE_BYTES = 1 * MIB
/** What a probe writes. */
const PROBE_BYTES = 1 * MIB

const LACK_OF_SPACE = ['ENOSPC', 'EDQUOT']

/** Default reserve of a file system: min(1 GiB, max(16 MiB, 5 %)). */
function defaultReserve(totalBytes: number): number {
  return Math.min(GIB, Math.max(16 * MIB, Math.floor(totalBytes * 0.05)))
}

/** Whether the store works, and what is left of the disk. */
export class Health {
  readonly #components: HealthComponents
  readonly #reserve: number | undefined
  #condition: StoreCondition = 'closed'
  #space: Space | undefined
  #reason = 'the store has not been started'
  #written = 0
  #timer: Timer | undefined
  #checking: Promise<void> | undefined

  /** `reserveBytes`: default as in `defaultReserve`. */
  constructor(components: HealthComponents, reserveBytes: number | undefined) {
    this.#components = components
    this.#reserve = reserveBytes
  }

  get condition(): StoreCondition {
    return this.#condition
  }

  get freeBytes(): number | undefined {
    return this.#space?.freeBytes
  }

  get reserveBytes(): number {
    return this.#reserve ?? (this.#space === undefined ? 0 : defaultReserve(this.#space.totalBytes))
  }

  set(condition: StoreCondition, reason: string): void {
    if (this.#condition === condition) return
    this.#condition = condition
    this.#reason = reason
    this.#components.changed(condition, reason)
  }

  async start(): Promise<void> {
    await this.check()
    if (this.#components.freeSpace === undefined) return
    this.#timer ??= every(this.#components.clock, CHECK_MS, () => this.check())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Counts what was written, and looks at the disk when it is much. */
  wrote(bytes: number): void {
    this.#written += bytes
    if (this.#written >= CHECK_BYTES) void this.check()
  }

  /** Looks how much is free, and changes between `open` and `full`. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined
    })
    return this.#checking
  }

  async #check(): Promise<void> {
    this.#written = 0
    // A file system that cannot be asked will refuse the next write, which is what decides.
    const space = await this.#components.freeSpace?.().catch(() => undefined)
    if (space !== undefined) this.#space = space
    if (this.#condition !== 'open' && this.#condition !== 'full') return
    if (this.#space !== undefined && this.#space.freeBytes < this.reserveBytes) {
      this.set('full', this.#shortage())
    } else this.set('open', 'there is enough free space')
  }

  #shortage(): string {
    const free = Math.floor((this.#space?.freeBytes ?? 0) / MIB)
    return `${free} MiB are free, less than the reserve of ${Math.ceil(this.reserveBytes / MIB)} MiB`
  }

  assertWritable(): void {
    switch (this.#condition) {
      case 'open':
        return
      case 'full':
        throw new SkeinError(
          'ERR_STORE_FULL',
          `nothing can be published: ${this.#reason}; free some space, or lower the reserve or the retention`,
          { details: { freeBytes: this.freeBytes ?? null, reserveBytes: this.reserveBytes } }
        )
      case 'failed':
        throw new SkeinError(
          'ERR_STORE_WRITE',
          `the store is recovering from a failed write (${this.#reason}); try again in a moment`
        )
      case 'broken':
        throw new SkeinError(
          'ERR_STORE_FAILED',
          `the store has met an I/O error (${this.#reason}); check the disk and restart the node`
        )
      case 'closed':
        throw stopped()
    }
  }

  /** Why nothing is written now. */
  refusal(): SkeinError {
    try {
      this.assertWritable()
    } catch (error) {
      if (error instanceof SkeinError) return error
      throw error
    }
    return stopped()
  }

  /** Decides what a failed read or write means; what waits for the store is rejected with the result. */
  async fail(error: unknown): Promise<SkeinError> {
    if (this.#condition === 'broken' || this.#condition === 'failed') return this.refusal()
    const { logger } = this.#components
    if (await this.#isLackOfSpace(error)) {
      this.set('failed', 'the disk is full')
      logger.error({ err: error }, 'the store could not write for lack of space')
      return new SkeinError(
        'ERR_STORE_WRITE',
        'a write failed because the disk is full; free some space, the node goes on by itself',
        { cause: error, details: { freeBytes: this.freeBytes ?? null } }
      )
    }
    const reason = isCorruption(error)
      ? 'the files of the store are damaged: stop the node and repair them'
      : 'an I/O error that is not lack of space'
    this.set('broken', reason)
    logger.error({ err: error }, 'the store failed and takes nothing any more')
    return new SkeinError(
      'ERR_STORE_FAILED',
      `the store failed: ${reason}; check the disk and restart the node`,
      { cause: error }
    )
  }

  /** Was the write refused for lack of space, by code, or by what the file system says now? */
  async #isLackOfSpace(error: unknown): Promise<boolean> {
    const codes = errorCodes(error)
    if (codes.some((code) => LACK_OF_SPACE.includes(code))) return true
    // The database passes on the system's text only, and a text is nothing to decide by.
    if (!codes.includes('LEVEL_IO_ERROR')) return false
    const space = await this.#components.freeSpace?.().catch(() => undefined)
    if (space !== undefined && space.freeBytes < NO_SPACE_BYTES) return true
    const probed = await this.#components.probeSpace?.(PROBE_BYTES)
    return probed !== undefined && LACK_OF_SPACE.includes(probed)
  }
}

export function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the store has been stopped; nothing is written any more')
}
