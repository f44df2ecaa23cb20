import type { Clock } from '../core/clock.ts'
import type { LogRef, SequenceRange, Store } from '../store/contract.ts'
import { missingIn } from '../wire/vector.ts'

/** A hole in a log: records above it are here, it is not. */
export interface Hole extends LogRef, SequenceRange {
  /** Monotonic ms at which it was first seen. */
  readonly since: number
}

/** Knows every hole in every log, and since when. Filling them is the work of others. */
export class Gaps {
  readonly #store: Pick<Store, 'events' | 'log' | 'logs'>
  readonly #clock: Clock
  /** By channel, then by log. */
  readonly #holes = new Map<string, Map<string, Hole[]>>()
  /** Missing ranges that are waited for no more, since start, by reason. */
  readonly givenUp = new Map<string, number>()
  #detected = 0
  #unsubscribe: Array<() => void> = []

  constructor(components: { store: Pick<Store, 'events' | 'log' | 'logs'>; clock: Clock }) {
    this.#store = components.store
    this.#clock = components.clock
  }

  /** Holes seen since start. */
  get detected(): number {
    return this.#detected
  }

  start(): void {
    for (const log of this.#store.logs()) {
      this.#update(log, missingIn(log))
    }
    const { events } = this.#store
    this.#unsubscribe = [
      events.on('gap', ({ log, missing }) => this.#update(log, missing)),
      events.on('given-up', ({ reason }) => {
        this.givenUp.set(reason, (this.givenUp.get(reason) ?? 0) + 1)
      })
    ]
  }

  stop(): void {
    for (const off of this.#unsubscribe) off()
  }

  /** The holes in a channel's logs, per log in ascending order. */
  in(channel: string): Hole[] {
    const logs = this.#holes.get(channel)
    if (logs === undefined) return []
    return [...logs.values()].flat()
  }

  /** How many holes there are now. */
  get size(): number {
    let size = 0
    for (const channel of this.#holes.keys()) size += this.in(channel).length
    return size
  }

  #holesOf({ channel, publisher, session }: LogRef): readonly Hole[] {
    return this.#holes.get(channel)?.get(`${publisher}/${session}`) ?? []
  }

  #update(log: LogRef, missing: readonly SequenceRange[]): void {
    const { channel, publisher, session } = log
    const before = this.#holesOf(log)
    const now = this.#clock.monotonic()
    const holes = missing.map(({ from, to }) => {
      // What is left of a hole that was partly filled is as old as the hole.
      const old = before.find((hole) => hole.from <= to && from <= hole.to)
      if (old === undefined) this.#detected++
      return { channel, publisher, session, from, to, since: old?.since ?? now }
    })
    this.#set(log, holes)
  }

  #set({ channel, publisher, session }: LogRef, holes: Hole[]): void {
    const logs = this.#holes.get(channel) ?? new Map<string, Hole[]>()
    if (holes.length === 0) logs.delete(`${publisher}/${session}`)
    else logs.set(`${publisher}/${session}`, holes)
    if (logs.size === 0) this.#holes.delete(channel)
    else this.#holes.set(channel, logs)
  }
}
