/** Entries of a leaf before it is split in two. */
const LEAF = 128

interface Leaf {
  readonly keys: string[]
  readonly values: Buffer[]
  /** Views opened up to this number may look at it. */
  readonly born: number
}

/** A table as it was when the view was opened; it costs copies of what is written meanwhile, so it is to be closed. */
export interface TableView {
  readonly leaves: readonly Leaf[]
  readonly number: number
}

/** Where a walk stands: an entry of a leaf. */
export interface Place {
  leaf: number
  entry: number
}

/**
 * Keys in order with their values: leaves of sorted keys. Keys are strings of bytes (latin1), which compare as bytes
 * do, and faster than Buffers. A view keeps what it sees: leaves that it may look at are copied before they change.
 */
export class SortedTable {
  #leaves: Leaf[] = []
  #leavesBorn = 0
  #views = 0
  readonly #open = new Set<number>()
  #lastOpen = 0
  #size = 0
  #bytes = 0

  get size(): number {
    return this.#size
  }

  /** Of all keys and values. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): Buffer | undefined {
    const leaf = this.#leaves[leafOf(this.#leaves, key)]
    if (leaf === undefined) return undefined
    const at = lowerBound(leaf.keys, key)
    return leaf.keys[at] === key ? leaf.values[at] : undefined
  }

  /** What was there before. */
  set(key: string, value: Buffer): Buffer | undefined {
    if (this.#leaves.length === 0) {
      this.#ownLeaves().push({ keys: [], values: [], born: this.#views })
    }
    const place = leafOf(this.#leaves, key)
    const leaf = this.#own(place)
    const at = lowerBound(leaf.keys, key)
    this.#bytes += value.length
    if (leaf.keys[at] === key) {
      const before = leaf.values[at] as Buffer
      leaf.values[at] = value
      this.#bytes -= before.length
      return before
    }
    this.#bytes += key.length
    this.#size++
    if (at === leaf.keys.length) {
      leaf.keys.push(key)
      leaf.values.push(value)
    } else {
      leaf.keys.splice(at, 0, key)
      leaf.values.splice(at, 0, value)
    }
    if (leaf.keys.length > LEAF) this.#split(place, at)
    return undefined
  }

  /** What was there before. */
  delete(key: string): Buffer | undefined {
    const place = leafOf(this.#leaves, key)
    const found = this.#leaves[place]
    if (found === undefined) return undefined
    const at = lowerBound(found.keys, key)
    if (found.keys[at] !== key) return undefined
    const before = found.values[at] as Buffer
    const leaf = this.#own(place)
    leaf.keys.splice(at, 1)
    leaf.values.splice(at, 1)
    if (leaf.keys.length === 0) this.#ownLeaves().splice(place, 1)
    this.#size--
    this.#bytes -= key.length + before.length
    return before
  }

  view(): TableView {
    const number = ++this.#views
    this.#open.add(number)
    this.#lastOpen = number
    return { leaves: this.#leaves, number }
  }

  close({ number }: TableView): void {
    if (!this.#open.delete(number) || number !== this.#lastOpen) return
    this.#lastOpen = 0
    for (const open of this.#open) this.#lastOpen = Math.max(this.#lastOpen, open)
  }

  /** Whoever had a view is gone. */
  closeAll(): void {
    this.#open.clear()
    this.#lastOpen = 0
  }

  /** Keys of a range, `to` not included. */
  *keys(from: string, to: string): Generator<string> {
    const { leaf, entry } = placeOf({ leaves: this.#leaves }, from)
    for (let at = leaf; at < this.#leaves.length; at++) {
      const { keys } = this.#leaves[at] as Leaf
      for (let place = at === leaf ? entry : 0; place < keys.length; place++) {
        const key = keys[place] as string
        if (key >= to) return
        yield key
      }
    }
  }

  /** Appends fill leaves up; anything else splits them in the middle. */
  #split(place: number, at: number): void {
    const leaf = this.#leaves[place] as Leaf
    const last = place === this.#leaves.length - 1 && at === leaf.keys.length - 1
    const cut = last ? leaf.keys.length - 1 : leaf.keys.length >> 1
    const right = {
      keys: leaf.keys.splice(cut),
      values: leaf.values.splice(cut),
      born: this.#views
    }
    this.#ownLeaves().splice(place + 1, 0, right)
  }

  #own(place: number): Leaf {
    const leaf = this.#leaves[place] as Leaf
    if (leaf.born >= this.#lastOpen) return leaf
    const copy = { keys: leaf.keys.slice(), values: leaf.values.slice(), born: this.#views }
    this.#ownLeaves()[place] = copy
    return copy
  }

  #ownLeaves(): Leaf[] {
    if (this.#leavesBorn < this.#lastOpen) {
      this.#leaves = this.#leaves.slice()
      this.#leavesBorn = this.#views
    }
    return this.#leaves
  }
}

/** The first entry at or behind `key`; past the end where there is none. */
export function placeOf({ leaves }: Pick<TableView, 'leaves'>, key: string): Place {
  const leaf = leafOf(leaves, key)
  const found = leaves[leaf]
  if (found === undefined) return { leaf: 0, entry: 0 }
  const entry = lowerBound(found.keys, key)
  return entry === found.keys.length ? { leaf: leaf + 1, entry: 0 } : { leaf, entry }
}

/** The leaf that has the key, or would have it; 0 where there is none at all. */
function leafOf(leaves: readonly Leaf[], key: string): number {
  let low = 0
  let high = leaves.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (((leaves[middle] as Leaf).keys[0] as string) <= key) low = middle
    else high = middle
  }
  return low
}

/** Place of the first key that is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}
