import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { LogEntry, LogRef, SequenceRange } from './contract.ts'
import type { Health } from './health.ts'
import type { Level } from './level.ts'
import { readRows, readRowsBefore, seekRow } from './log-reader.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import type { Quarantine } from './quarantine.ts'

export interface LogReadingComponents {
  readonly health: Health
  readonly logger: Logger
  readonly queue: CommitQueue
  readonly quarantine: () => Quarantine
  readonly mirror: () => Mirror
  readonly level: () => Level
  readonly isOpen: () => boolean
}

/** Reads records of logs. What is found damaged on the way is taken out of what is held. */
export class LogReading {
  readonly #components: LogReadingComponents

  constructor(components: LogReadingComponents) {
    this.#components = components
  }

  /** A read that meets an I/O error ends the store: what it holds cannot be relied on. */
  async guard<Result>(read: () => Promise<Result>): Promise<Result> {
    const { health, isOpen } = this.#components
    try {
      return await read()
    } catch (error) {
      if (error instanceof SkeinError) throw error
      if (!isOpen()) throw health.refusal()
      throw await health.fail(error)
    }
  }

  async from(
    ref: LogRef,
    from: number,
    options: { to?: number; maxBytes?: number }
  ): Promise<LogEntry[]> {
    const slot = this.#components.mirror().log(ref)
    if (slot === undefined) return []
    await this.#written(slot, { from, to: from })
    const range = {
      from: Math.max(from, slot.committed.floor),
      to: options.to ?? Number.MAX_SAFE_INTEGER,
      maxBytes: options.maxBytes ?? LIMITS.readBytes
    }
    const { rows } = await this.#read(slot, range)
    return rows.map(({ bornAt, head, record }) => ({ bornAt, head, record }))
  }

  async before(ref: LogRef, before: number, maxBytes: number): Promise<LogEntry[]> {
    const slot = this.#components.mirror().log(ref)
    if (slot === undefined) return []
    await this.#written(slot, { from: 0, to: before - 1 })
    const rows = await this.guard(() =>
      readRowsBefore(this.#components.level(), slot, { before, maxBytes })
    )
    return rows.map(({ bornAt, head, record }) => ({ bornAt, head, record }))
  }

  async seek(ref: LogRef, ms: number, from: number): Promise<number | undefined> {
    const slot = this.#components.mirror().log(ref)
    if (slot === undefined) return undefined
    await this.#written(slot, { from: 0, to: Infinity })
    return this.guard(() => seekRow(this.#components.level(), slot, { from, ms }))
  }

  /** Looks at records that seem damaged. */
  async check(slot: LogSlot, range: SequenceRange): Promise<void> {
    const { logger } = this.#components
    try {
      await this.#settled()
      await this.#read(slot, { ...range, maxBytes: LIMITS.commitBytes })
    } catch (error) {
      logger.warn({ err: error }, 'a record that seems damaged could not be checked')
    }
  }

  /** Reads and checks on, from a sequence; says what to go on from. */
  async scrub(
    slot: LogSlot,
    from: number,
    maxBytes: number
  ): Promise<{ bytes: number; next: number }> {
    const range = { from, to: Number.MAX_SAFE_INTEGER, maxBytes }
    const { bytes, covered } = await this.#read(slot, range)
    return { bytes, next: covered + 1 }
  }

  async #read(
    slot: LogSlot,
    range: SequenceRange & { readonly maxBytes: number }
  ): ReturnType<typeof readRows> {
    const read = await this.guard(() => readRows(this.#components.level(), slot, range))
    this.#components.quarantine().take(slot, read)
    return read
  }

  /**
   * Resolves when what was accepted of the range until now is on disk: `log` shows it as held already, so a read
   * that went without it would say that it is not there.
   */
  async #written(slot: LogSlot, range: SequenceRange): Promise<void> {
    if (slot.unwritten(range).length > 0) await this.#settled()
  }

  /** Resolves when everything that was accepted until now is written. */
  #settled(): Promise<void> {
    return this.#components.queue.run(false, () => true)
  }
}
