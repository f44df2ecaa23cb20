/** Entries that are gone at the front are cut off once they are so many, and more than those that are left. */
const CUT_AT = 256

/**
 * Entries by ascending offset: added at the end, taken away mostly at the front. A Map of few entries that come and go
 * is rebuilt every few messages, which costs more than the rest of a hand-over.
 */
export class InFlightWindow<Entry extends { readonly offset: number }> {
  #entries: (Entry | undefined)[] = []
  #offsets: number[] = []
  /** Where the first entry is that is still there. */
  #first = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The lowest offset that is there. */
  get firstOffset(): number | undefined {
    return this.#offsets[this.#first]
  }

  /** Takes an entry whose offset is above all before it. */
  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#offsets.push(entry.offset)
    this.#size++
  }

  get(offset: number): Entry | undefined {
    return this.#entries[this.#placeOf(offset)]
  }

  /** False for one that is not there. */
  delete(offset: number): boolean {
    const place = this.#placeOf(offset)
    if (this.#entries[place] === undefined) return false
    this.#size--
    if (this.#size === 0) {
      this.#entries.length = this.#offsets.length = this.#first = 0
      return true
    }
    this.#entries[place] = undefined
    while (this.#entries[this.#first] === undefined) this.#first++
    if (this.#first >= CUT_AT && this.#first > this.#entries.length / 2) this.#cut()
    return true
  }

  *values(): IterableIterator<Entry> {
    // What is taken away while this runs may move the places: they are looked up by offset then.
    for (let place = this.#first; place < this.#entries.length;) {
      const entry = this.#entries[place]
      const offset = this.#offsets[place] as number
      if (entry !== undefined) yield entry
      place = this.#offsets[place] === offset ? place + 1 : this.#after(offset)
    }
  }

  #cut(): void {
    this.#entries = this.#entries.slice(this.#first)
    this.#offsets = this.#offsets.slice(this.#first)
    this.#first = 0
  }

  #placeOf(offset: number): number {
    if (this.#offsets[this.#first] === offset) return this.#first
    const place = this.#after(offset - 1)
    return this.#offsets[place] === offset ? place : -1
  }

  /** The first place whose offset is above this one. */
  #after(offset: number): number {
    let low = this.#first
    let high = this.#offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#offsets[middle] as number) > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}
