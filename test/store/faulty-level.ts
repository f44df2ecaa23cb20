import { AbstractLevel } from 'abstract-level'
import { MemoryLevel } from 'memory-level'
import type { Level, Operation } from '../../src/store/level.ts'
import type { Disk } from './store-fixtures.ts'

interface Write {
  readonly type: 'put' | 'del'
  readonly key: Buffer
  readonly value?: Buffer
}

/** A virtual disk: knows which writes were synced, can lose the others, and can fail. */
export class FaultyDisk implements Disk {
  #level = newLevel()
  /** Batches since the last sync, oldest first. */
  #unsynced: Write[][] = []
  /** What is on the disk for certain. */
  #synced = new Map<string, Buffer>()
  /** The error that the next writes fail with. */
  failure: Error | undefined
  /** The error that clearing of ranges fails with. */
  clearFailure: Error | undefined
  /** Batches wait for it. */
  hold: Promise<void> | undefined
  /** Batches that wait for it now. */
  held = 0
  freeBytes = 1e12
  probe: string | undefined
  /** Writes so far. */
  batches = 0
  syncs = 0

  components(): ReturnType<Disk['components']> {
    return Promise.resolve({
      openLevel: () => this.#open(),
      freeSpace: () => Promise.resolve({ freeBytes: this.freeBytes, totalBytes: 1e12 }),
      probeSpace: () => Promise.resolve(this.probe)
    })
  }

  remove(): Promise<void> {
    return Promise.resolve()
  }

  /** The database as it is, for a test to damage. */
  get level(): Level {
    return this.#level
  }

  /** Power is lost: of what was not synced only the first `kept` batches survive. */
  async losePower(kept = 0): Promise<void> {
    for (const batch of this.#unsynced.slice(0, kept)) this.#apply(batch)
    this.#unsynced = []
    this.#level = newLevel()
    await this.#level.open()
    for (const [key, value] of this.#synced)
      await this.#level.put(Buffer.from(key, 'latin1'), value)
  }

  get unsynced(): number {
    return this.#unsynced.length
  }

  async #open(): Promise<Level> {
    const level = this.#level
    await level.open()
    return new Proxy(level, {
      get: (target, name) => {
        if (name === 'batch')
          return (writes: Write[], options?: object) => this.#batch(writes, options)
        if (name === 'del') {
          return (key: Buffer, options?: object) => this.#batch([{ type: 'del', key }], options)
        }
        if (name === 'clear') return (range: { gte: Buffer; lt: Buffer }) => this.#clear(range)
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      }
    })
  }

  async #batch(writes: Write[], options: { sync?: boolean } = {}): Promise<void> {
    this.held++
    await this.hold
    this.held--
    if (this.failure !== undefined) throw this.failure
    this.batches++
    await this.#level.batch(writes as Operation[])
    this.#unsynced.push(writes)
    if (options.sync !== true) return
    this.syncs++
    for (const batch of this.#unsynced) this.#apply(batch)
    this.#unsynced = []
  }

  async #clear(range: { gte: Buffer; lt: Buffer }): Promise<void> {
    if (this.clearFailure !== undefined) throw this.clearFailure
    const keys = await this.#level.keys(range).all()
    await this.#batch(keys.map((key) => ({ type: 'del', key })))
  }

  #apply(batch: Write[]): void {
    for (const { type, key, value } of batch) {
      const name = key.toString('latin1')
      if (type === 'put' && value !== undefined) this.#synced.set(name, value)
      else this.#synced.delete(name)
    }
  }
}

/** An error as classic-level gives it: a code for everything, the rest in the text. */
export function ioError(): Error {
  return Object.assign(new Error('IO error: 000004.log: No space left on device'), {
    code: 'LEVEL_IO_ERROR'
  })
}

function newLevel(): Level {
  const level = new MemoryLevel<Buffer, Buffer>({
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    storeEncoding: 'buffer'
  })
  if (!(level instanceof AbstractLevel))
    throw new Error('two versions of abstract-level are installed')
  return level
}
