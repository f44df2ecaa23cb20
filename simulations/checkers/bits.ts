/** A set of small numbers: one bit each, so that a thousand subscribers of a million messages fit in memory. */
export class Bits {
  #words = new Uint32Array(4)

  has(number: number): boolean {
    return ((this.#words[number >>> 5] ?? 0) & (1 << (number & 31))) !== 0
  }

  /** False when it was there already. */
  add(number: number): boolean {
    const place = number >>> 5
    if (place >= this.#words.length) {
      const words = new Uint32Array(Math.max(place + 1, this.#words.length * 2))
      words.set(this.#words)
      this.#words = words
    }
    const word = this.#words[place] ?? 0
    const bit = 1 << (number & 31)
    this.#words[place] = word | bit
    return (word & bit) === 0
  }
}
