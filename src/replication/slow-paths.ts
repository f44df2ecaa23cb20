import { type Clock, type Timer, every } from '../core/clock.ts'
import type { Emitter, Events } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Transport } from '../mesh/contract.ts'

/** A synced write that takes longer is slow, ms: a disk that is well syncs in milliseconds, a tired one in tenths. */
const SLOW_WRITE_MS = 1_000
/** A slow disk is told of at most this often, ms. */
const SLOW_DISK_AGAIN_MS = 60_000
/** Between two looks, ms. */
const TICK_MS = 1_000
/** A wall clock that moved so far against the monotonic one within a look has jumped, ms. */
const JUMP_MS = 1_000

/** How long this node's own synced writes take; they are written one after the other. */
export class DiskWatch {
  readonly #clock: Clock
  #underWay = 0
  /** Monotonic ms of the last write that was done, or of the first after a pause. */
  #movedAt = 0
  #slowestMs = 0

  constructor(components: { readonly clock: Clock }) {
    this.#clock = components.clock
  }

  /** A write begins; what it answers belongs into `wrote`. */
  writing(): number {
    const now = this.#clock.monotonic()
    if (this.#underWay++ === 0) this.#movedAt = now
    return now
  }

  wrote(since: number): void {
    const now = this.#clock.monotonic()
    this.#underWay--
    this.#movedAt = now
    if (now - since > this.#slowestMs) this.#slowestMs = now - since
  }

  /** The slowest write since the last call, ms; one that is still waited for counts as long as nothing else moves. */
  take(): number {
    const stalledMs = this.#underWay === 0 ? 0 : this.#clock.monotonic() - this.#movedAt
    const slowestMs = Math.max(this.#slowestMs, stalledMs)
    this.#slowestMs = 0
    return slowestMs
  }
}

export interface SlowPathsComponents {
  /** The machine's own clock, not a steady one: its jumps are looked for. */
  readonly clock: Clock
  readonly transport: Pick<Transport, 'events'>
  readonly disk: DiskWatch
  readonly logger: Logger
}

export interface SlowPathEvents {
  'slow:neighbour': { peer: string; bufferedBytes: number }
  'slow:disk': { ms: number }
  'clock:jump': { ms: number }
}

/** Counters since start. */
export interface SlowPathStats {
  neighbours: number
  /** Looks, a second apart, that found a slow write; more than are told of. */
  disk: number
  clockJumps: number
}

/** Watches what a node cannot change by itself, and tells its operator. */
export class SlowPaths {
  readonly stats: SlowPathStats = { neighbours: 0, disk: 0, clockJumps: 0 }
  readonly #components: SlowPathsComponents
  readonly #emitter: Emitter<SlowPathEvents>
  #timer: Timer | undefined
  #unsubscribe: (() => void) | undefined
  #wallMs = 0
  #monotonicMs = 0
  #toldOfDiskAt = -Infinity

  constructor(components: SlowPathsComponents, emitter: Emitter<SlowPathEvents>) {
    this.#components = components
    this.#emitter = emitter
  }

  get events(): Events<SlowPathEvents> {
    return this.#emitter
  }

  start(): void {
    if (this.#timer !== undefined) return
    const { clock, transport } = this.#components
    this.#wallMs = clock.now()
    this.#monotonicMs = clock.monotonic()
    this.#unsubscribe = transport.events.on('link:behind', (behind) => this.#behind(behind))
    this.#timer = every(clock, TICK_MS, () => {
      this.#lookAtClock()
      this.#lookAtDisk()
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#unsubscribe?.()
  }

  #behind(behind: SlowPathEvents['slow:neighbour']): void {
    // The transport has logged it.
    this.stats.neighbours++
    this.#emitter.emit('slow:neighbour', behind)
  }

  #lookAtClock(): void {
    const { clock, logger } = this.#components
    const wallMs = clock.now()
    const monotonicMs = clock.monotonic()
    const ms = Math.round(wallMs - this.#wallMs - (monotonicMs - this.#monotonicMs))
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    if (Math.abs(ms) <= JUMP_MS) return
    this.stats.clockJumps++
    logger.warn(
      { ms },
      'the wall clock jumped: it was set, or the machine slept; ages follow it slowly'
    )
    this.#emitter.emit('clock:jump', { ms })
  }

  #lookAtDisk(): void {
    const { clock, disk, logger } = this.#components
    const ms = Math.round(disk.take())
    if (ms <= SLOW_WRITE_MS) return
    this.stats.disk++
    const now = clock.monotonic()
    if (now - this.#toldOfDiskAt < SLOW_DISK_AGAIN_MS) return
    this.#toldOfDiskAt = now
    logger.warn({ ms }, 'a synced write takes long: the disk is slow or busy, or this process was')
    this.#emitter.emit('slow:disk', { ms })
  }
}
