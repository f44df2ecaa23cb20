/** A listener for one event of a map. */
export type Listener<Detail> = (detail: Detail) => void

/** The half of an emitter that its owner shows to others. */
export interface Events<Map extends object> {
  /** Calls `listener` at every `name` event; returns the function that takes it away again. */
  on<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): () => void
}

/**
 * Typed, synchronous events. One listener that throws does not keep the others from being called; its error
 * goes to `onError`, so that a fault in an observer never breaks the observed.
 */
export class Emitter<Map extends object> implements Events<Map> {
  readonly #listeners = new globalThis.Map<keyof Map, Set<Listener<never>>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  on<Name extends keyof Map>(name: Name, listener: Listener<Map[Name]>): () => void {
    let set = this.#listeners.get(name)
    if (set === undefined) {
      set = new Set()
      this.#listeners.set(name, set)
    }
    set.add(listener as Listener<never>)
    return () => set.delete(listener as Listener<never>)
  }

  emit<Name extends keyof Map>(name: Name, detail: Map[Name]): void {
    const set = this.#listeners.get(name)
    if (set === undefined) return
    for (const listener of set) {
      try {
        ;(listener as Listener<Map[Name]>)(detail)
      } catch (error) {
        this.#onError(error)
      }
    }
  }

  /** How many listeners `name` has. */
  count(name: keyof Map): number {
    return this.#listeners.get(name)?.size ?? 0
  }
}
