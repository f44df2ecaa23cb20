/**
 * A bounded map that forgets what was not used lately. Two generations instead of a list of uses: a hit costs
 * one look-up, and what is neither set nor hit while `size` others are is gone. Holds at most 2 x `size`.
 */
export class RecentCache<Key, Value> {
  readonly #size: number
  #young = new Map<Key, Value>()
  #old = new Map<Key, Value>()

  constructor(size: number) {
    this.#size = size
  }

  get(key: Key): Value | undefined {
    const value = this.#young.get(key)
    if (value !== undefined) return value
    const aged = this.#old.get(key)
    if (aged !== undefined) this.set(key, aged)
    return aged
  }

  set(key: Key, value: Value): void {
    if (this.#young.size >= this.#size) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }

  has(key: Key): boolean {
    return this.#young.has(key) || this.#old.has(key)
  }

  delete(key: Key): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }

  /** Entries held, those in both generations counted twice. */
  get size(): number {
    return this.#young.size + this.#old.size
  }
}
