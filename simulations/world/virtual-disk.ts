import type { Clock } from '../../src/core/clock.ts'
import { GIB, MIB } from '../../src/core/limits.ts'
import type { Random } from '../../src/core/random.ts'
import type { Space } from '../../src/store/health.ts'
import { SPACE } from '../../src/store/keys.ts'
import type { Level } from '../../src/store/level.ts'
import type { VirtualDisk } from './contract.ts'
import { SortedTable } from './sorted-table.ts'
import { type LevelMedium, type LevelWrite, nameOf, VirtualLevel } from './virtual-level.ts'

export interface VirtualDiskComponents {
  readonly random: Random
}

export interface VirtualDiskInit {
  /** Default 1 TiB. */
  readonly sizeBytes?: number | undefined
}

/** A database writes its table out, synced, when the log has grown to this size. */
const LOG_BYTES = 16 * MIB
/** A value that holds more memory than this beside its own is copied. */
const WASTE_BYTES = 64 * 1024

/** An empty disk. */
export function createVirtualDisk(
  components: VirtualDiskComponents,
  init: VirtualDiskInit = {}
): VirtualDisk {
  return new Disk(components, init)
}

/** What to put back where a write is lost; undefined: there was nothing. */
interface Undo {
  readonly key: string
  readonly before: Buffer | undefined
}

class Disk implements VirtualDisk, LevelMedium {
  readonly table = new SortedTable()
  readonly #random: Random
  readonly #sizeBytes: number
  #clock: Clock | undefined
  /** Batches that were not synced, oldest first. */
  #unsynced: (readonly Undo[])[] = []
  #unsyncedBytes = 0
  /** Batches that are on their way to the disk. */
  readonly #underWay = new Set<readonly LevelWrite[]>()
  #full = false
  #failing = false
  #latencyMs = 0
  #writtenAt = 0

  constructor({ random }: VirtualDiskComponents, { sizeBytes = 1024 * GIB }: VirtualDiskInit) {
    this.#random = random
    this.#sizeBytes = sizeBytes
  }

  // Properties, since they are handed over on their own.
  readonly openLevel = async (): Promise<Level> => {
    const level = new VirtualLevel(this)
    await level.open()
    return level
  }

  readonly freeSpace = (): Promise<Space> => {
    const freeBytes = this.#full ? 0 : Math.max(0, this.#sizeBytes - this.table.bytes)
    return Promise.resolve({ freeBytes, totalBytes: this.#sizeBytes })
  }

  readonly probeSpace = (bytes: number): Promise<string | undefined> =>
    Promise.resolve(this.#hasRoom(bytes) ? undefined : 'ENOSPC')

  attach(clock: Clock): void {
    this.#clock = clock
    this.#writtenAt = 0
  }

  crash(unsynced: 'keep' | 'lose' | 'torn'): void {
    for (const writes of this.#underWay) {
      // It may have reached the disk, and nobody knows.
      if (unsynced !== 'lose' && this.#random.int(2) === 1) this.#apply(writes, false)
    }
    this.#underWay.clear()
    const batches = this.#unsynced
    const kept = { keep: batches.length, lose: 0, torn: this.#random.int(batches.length + 1) }
    for (const batch of batches.slice(kept[unsynced]).reverse()) this.#undo(batch)
    // What the processor's cache has kept of a dead process, the system writes in the end.
    if (unsynced !== 'keep') this.#synced()
    this.table.closeAll()
  }

  setFull(full: boolean): void {
    this.#full = full
  }

  setFailing(failing: boolean): void {
    this.#failing = failing
  }

  setLatency(ms: number): void {
    this.#latencyMs = ms
  }

  corrupt(bits: number): void {
    const [from, to] = [String.fromCharCode(SPACE.record), String.fromCharCode(SPACE.record + 1)]
    const keys = [...this.table.keys(from, to)]
    if (keys.length === 0) return
    for (let bit = 0; bit < bits; bit++) {
      const key = keys[this.#random.int(keys.length)] as string
      // Others hold the same bytes.
      const value = Buffer.from(this.table.get(key) as Buffer)
      const at = this.#random.int(value.length * 8)
      value[at >> 3] = (value[at >> 3] as number) ^ (1 << (at & 7))
      this.table.set(key, value)
    }
  }

  read(): Promise<void> | undefined {
    const [clock, ms] = [this.#clock, this.#latencyMs]
    if (ms === 0 || clock === undefined) return undefined
    return new Promise((resolve) => clock.after(ms, resolve))
  }

  async write(writes: readonly LevelWrite[], sync: boolean): Promise<void> {
    const [clock, ms] = [this.#clock, this.#latencyMs]
    if (clock !== undefined) {
      const now = clock.monotonic()
      // One at a time, in their order, also where the disk has just become faster.
      this.#writtenAt = Math.max(this.#writtenAt, now + ms)
      const wait = this.#writtenAt - now
      if (wait > 0) {
        this.#underWay.add(writes)
        await new Promise<void>((resolve) => clock.after(wait, resolve))
        this.#underWay.delete(writes)
      }
    }
    if (this.#failing) throw ioError('Input/output error')
    const size = writes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    if (!this.#hasRoom(size)) throw ioError('No space left on device')
    this.#apply(writes, sync)
  }

  /** Files may be deleted on a disk that is too small, and where nothing is free at all nothing can be noted. */
  #hasRoom(bytes: number): boolean {
    if (this.#full) return false
    return bytes === 0 || this.table.bytes + bytes <= this.#sizeBytes
  }

  #apply(writes: readonly LevelWrite[], sync: boolean): void {
    const undo: Undo[] = []
    for (const { key, value } of writes) {
      const name = nameOf(key)
      const before =
        value === undefined ? this.table.delete(name) : this.table.set(name, lean(value))
      if (sync) continue
      undo.push({ key: name, before })
      this.#unsyncedBytes += name.length + (value?.length ?? 0)
    }
    if (sync || this.#unsyncedBytes > LOG_BYTES) this.#synced()
    else this.#unsynced.push(undo)
  }

  #synced(): void {
    this.#unsynced = []
    this.#unsyncedBytes = 0
  }

  #undo(batch: readonly Undo[]): void {
    for (const { before, key } of batch.toReversed()) {
      if (before === undefined) this.table.delete(key)
      else this.table.set(key, before)
    }
  }
}

/** A small piece of a large buffer would keep all of it. */
function lean(value: Buffer): Buffer {
  return value.buffer.byteLength - value.length > WASTE_BYTES ? Buffer.from(value) : value
}

/** As classic-level gives it: one code for everything, the rest in the text. */
function ioError(what: string): Error {
  return Object.assign(new Error(`IO error: 000004.log: ${what}`), { code: 'LEVEL_IO_ERROR' })
}
