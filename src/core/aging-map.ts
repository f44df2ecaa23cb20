/**
 * A map that knows its oldest entry, in constant time on average. A plain Map does not: it keeps the places of what
 * was deleted for a while, and who asks for its first entry walks over all of them every time.
 */
export class AgingMap<Value> {
  readonly #entries = new Map<string, Value>()
  /** Goes on where it stopped: what it has passed is gone, or stands behind it anew. */
  #walk = this.#entries.entries()
  #oldest: readonly [string, Value] | undefined

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Value | undefined {
    return this.#entries.get(key)
  }

  has(key: string): boolean {
    return this.#entries.has(key)
  }

  /** The entry is the newest then, also where the key was there. */
  set(key: string, value: Value): void {
    this.delete(key)
    this.#entries.set(key, value)
  }

  delete(key: string): boolean {
    if (this.#oldest?.[0] === key) this.#oldest = undefined
    return this.#entries.delete(key)
  }

  oldest(): readonly [string, Value] | undefined {
    if (this.#oldest !== undefined || this.#entries.size === 0) return this.#oldest
    let next = this.#walk.next()
    if (next.done === true) {
      this.#walk = this.#entries.entries()
      next = this.#walk.next()
    }
    this.#oldest = next.value
    return this.#oldest
  }
}
