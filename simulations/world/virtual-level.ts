import { AbstractIterator, AbstractLevel } from 'abstract-level'
import type { AbstractChainedBatch, AbstractIteratorOptions } from 'abstract-level'
import { placeOf, type Place, type SortedTable, type TableView } from './sorted-table.ts'

/** One write, as the database above hands it over. */
export interface LevelWrite {
  readonly type: 'put' | 'del'
  readonly key: Buffer
  readonly value?: Buffer
}

/** What a database is kept on. */
export interface LevelMedium {
  readonly table: SortedTable
  /** Resolves when a read is through; undefined when it takes no time. */
  read(): Promise<void> | undefined
  /** All of the writes, or none. */
  write(writes: readonly LevelWrite[], sync: boolean): Promise<void>
}

interface RangeOptions {
  readonly gt?: Buffer
  readonly gte?: Buffer
  readonly lt?: Buffer
  readonly lte?: Buffer
  readonly reverse?: boolean
  readonly limit?: number
}

type Format = string | Buffer | Uint8Array

/** The database under a simulated node's store: a table in memory, read and written at the pace of a virtual disk. */
export class VirtualLevel extends AbstractLevel<Format, Buffer, Buffer> {
  readonly medium: LevelMedium

  constructor(medium: LevelMedium) {
    super(
      {
        seek: false,
        has: true,
        getSync: true,
        permanence: true,
        createIfMissing: false,
        errorIfExists: false,
        encodings: { buffer: true }
      } as object,
      { keyEncoding: 'buffer', valueEncoding: 'buffer' } as object
    )
    this.medium = medium
  }

  override batch(): AbstractChainedBatch<this, Buffer, Buffer>
  override batch(writes: readonly object[], options?: object): Promise<void>
  /** What the general way does to each write, which the store hands over as buffers, costs more than the write. */
  override batch(
    writes?: readonly object[],
    options: { sync?: boolean } = {}
  ): AbstractChainedBatch<this, Buffer, Buffer> | Promise<void> {
    if (writes === undefined) return super.batch()
    return this.status === 'open'
      ? this._batch(writes as readonly LevelWrite[], options)
      : super.batch(writes as [], options as object)
  }

  async _get(key: Buffer): Promise<Buffer | undefined> {
    const wait = this.medium.read()
    if (wait !== undefined) await wait
    return this.medium.table.get(nameOf(key))
  }

  _getSync(key: Buffer): Buffer | undefined {
    return this.medium.table.get(nameOf(key))
  }

  async _getMany(keys: readonly Buffer[]): Promise<(Buffer | undefined)[]> {
    const wait = this.medium.read()
    if (wait !== undefined) await wait
    return keys.map((key) => this.medium.table.get(nameOf(key)))
  }

  async _has(key: Buffer): Promise<boolean> {
    return (await this._get(key)) !== undefined
  }

  async _hasMany(keys: readonly Buffer[]): Promise<boolean[]> {
    return (await this._getMany(keys)).map((value) => value !== undefined)
  }

  _put(key: Buffer, value: Buffer, options: { sync?: boolean }): Promise<void> {
    return this.medium.write([{ type: 'put', key, value }], options.sync === true)
  }

  _del(key: Buffer, options: { sync?: boolean }): Promise<void> {
    return this.medium.write([{ type: 'del', key }], options.sync === true)
  }

  _batch(writes: readonly LevelWrite[], options: { sync?: boolean }): Promise<void> {
    return this.medium.write(writes, options.sync === true)
  }

  async _clear(options: RangeOptions): Promise<void> {
    const { table } = this.medium
    const view = table.view()
    const walk = new Walk(view, options)
    const writes: LevelWrite[] = []
    const limit = options.limit === undefined || options.limit < 0 ? Infinity : options.limit
    while (writes.length < limit && walk.valid) {
      writes.push({ type: 'del', key: bytesOf(walk.key) })
      walk.next()
    }
    table.close(view)
    if (writes.length > 0) await this.medium.write(writes, false)
  }

  _iterator(options: RangeOptions): VirtualIterator {
    return new VirtualIterator(this, options)
  }
}

class VirtualIterator extends AbstractIterator<VirtualLevel, Buffer, Buffer> {
  readonly #medium: LevelMedium
  readonly #view: TableView
  readonly #walk: Walk

  constructor(db: VirtualLevel, options: RangeOptions) {
    super(db, options as AbstractIteratorOptions<Buffer, Buffer>)
    this.#medium = db.medium
    this.#view = db.medium.table.view()
    this.#walk = new Walk(this.#view, options)
  }

  async _next(): Promise<[Buffer, Buffer] | undefined> {
    const wait = this.#medium.read()
    if (wait !== undefined) await wait
    return this.#take(1)[0]
  }

  async _nextv(size: number): Promise<[Buffer, Buffer][]> {
    const wait = this.#medium.read()
    if (wait !== undefined) await wait
    return this.#take(size)
  }

  async _all(): Promise<[Buffer, Buffer][]> {
    const wait = this.#medium.read()
    if (wait !== undefined) await wait
    return this.#take(this.limit - this.count)
  }

  async _close(): Promise<void> {
    this.#medium.table.close(this.#view)
  }

  #take(most: number): [Buffer, Buffer][] {
    const entries: [Buffer, Buffer][] = []
    const walk = this.#walk
    while (entries.length < most && walk.valid) {
      entries.push([bytesOf(walk.key), walk.value])
      walk.next()
    }
    return entries
  }
}

/** Goes over a range, in either direction. */
class Walk {
  readonly #view: TableView
  readonly #reverse: boolean
  readonly #from: string
  readonly #to: string | undefined
  #place: Place

  constructor(view: TableView, { gt, gte, lt, lte, reverse }: RangeOptions) {
    this.#view = view
    this.#reverse = reverse === true
    // The key behind another one is that with a zero at its end.
    this.#from = gt !== undefined ? `${nameOf(gt)}\0` : gte === undefined ? '' : nameOf(gte)
    this.#to = lt !== undefined ? nameOf(lt) : lte === undefined ? undefined : `${nameOf(lte)}\0`
    this.#place = this.#reverse ? this.#end() : placeOf(view, this.#from)
  }

  get valid(): boolean {
    const key = this.#view.leaves[this.#place.leaf]?.keys[this.#place.entry]
    if (key === undefined) return false
    return this.#reverse ? key >= this.#from : this.#to === undefined || key < this.#to
  }

  get key(): string {
    return this.#view.leaves[this.#place.leaf]?.keys[this.#place.entry] as string
  }

  get value(): Buffer {
    return this.#view.leaves[this.#place.leaf]?.values[this.#place.entry] as Buffer
  }

  next(): void {
    const place = this.#place
    if (this.#reverse) {
      place.entry--
      if (place.entry >= 0) return
      place.leaf--
      place.entry = (this.#view.leaves[place.leaf]?.keys.length ?? 0) - 1
      return
    }
    place.entry++
    if (place.entry < (this.#view.leaves[place.leaf]?.keys.length ?? 0)) return
    place.leaf++
    place.entry = 0
  }

  /** The last entry of the range. */
  #end(): Place {
    const { leaves } = this.#view
    const place =
      this.#to === undefined ? { leaf: leaves.length, entry: 0 } : placeOf(this.#view, this.#to)
    if (place.entry > 0) return { leaf: place.leaf, entry: place.entry - 1 }
    const leaf = place.leaf - 1
    return { leaf, entry: (leaves[leaf]?.keys.length ?? 0) - 1 }
  }
}

/** A key as it stands in the table. */
export function nameOf(key: Buffer): string {
  return key.toString('latin1')
}

function bytesOf(name: string): Buffer {
  return Buffer.from(name, 'latin1')
}
