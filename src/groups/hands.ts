import { SLOTS } from './slots.ts'

/** A message that may be handed over. */
export interface Work<Held> {
  /** The message's id. */
  readonly id: string
  readonly log: string
  readonly sequence: number
  readonly slot: number
  readonly key: string | undefined
  readonly held: Held
}

/** A message that is with a consumer, or waits to be handed over again. */
export interface Hand<Held> extends Work<Held> {
  attempt: number
  /** Monotonic ms at which the hand-over counts as failed; undefined while it waits for its next one. */
  deadline: number | undefined
  /** Monotonic ms before which it is not handed over again. */
  dueAt: number
}

interface Line<Held> {
  readonly waiting: Work<Held>[]
}

/**
 * What one member has in hand: one message of a key at a time, those behind it in their order. Knows nothing of time
 * but what it is told.
 */
export class Hands<Held> {
  readonly #hands = new Map<string, Hand<Held>>()
  readonly #lines = new Map<string, Line<Held>>()
  /** Whose turn has come, and who has not been handed over yet. */
  readonly #ready = new Map<string, Work<Held>>()
  /** Ids of all that wait in lines. */
  readonly #waiting = new Set<string>()
  /** Messages with consumers, by slot. */
  readonly #busy = new Uint32Array(SLOTS)
  #retrying = 0
  /** Those of them that were never handed over. */
  #postponed = 0

  /** Handed over and not acknowledged, those that wait for their next hand-over included. */
  get size(): number {
    return this.#hands.size - this.#postponed
  }

  /** Read, and not handed over yet. */
  get waiting(): number {
    return this.#waiting.size + this.#ready.size + this.#postponed
  }

  isBusy(slot: number): boolean {
    return (this.#busy[slot] ?? 0) > 0
  }

  values(): IterableIterator<Hand<Held>> {
    return this.#hands.values()
  }

  get(id: string): Hand<Held> | undefined {
    return this.#hands.get(id)
  }

  /** Is the message here already, in whatever state? */
  has(id: string): boolean {
    return this.#hands.has(id) || this.#waiting.has(id) || this.#ready.has(id)
  }

  /** Takes a message in: it is ready at once, or waits for the one of its key before it. */
  add(work: Work<Held>): void {
    const { id, key } = work
    const line = key === undefined ? undefined : this.#lines.get(key)
    if (line !== undefined) {
      line.waiting.push(work)
      this.#waiting.add(id)
      return
    }
    if (key !== undefined) this.#lines.set(key, { waiting: [] })
    this.#ready.set(id, work)
  }

  /** The next message to hand over for the first time. The caller hands it over or says that it is finished. */
  ready(): Work<Held> | undefined {
    for (const work of this.#ready.values()) return work
    return undefined
  }

  /** It is with a consumer until `deadline`, monotonic ms. */
  handOver(work: Work<Held>, deadline: number): Hand<Held> {
    this.#ready.delete(work.id)
    const hand = { ...work, attempt: 1, deadline, dueAt: 0 }
    this.#hands.set(work.id, hand)
    this.#count(work.slot, 1)
    return hand
  }

  /** One that is ready is not to be handed over before `dueAt`, monotonic ms. */
  postpone(work: Work<Held>, dueAt: number): void {
    this.#ready.delete(work.id)
    this.#hands.set(work.id, { ...work, attempt: 0, deadline: undefined, dueAt })
    this.#retrying++
    this.#postponed++
  }

  /** The next message whose time has come to be handed over again; it is with a consumer until `deadline` then. */
  again(now: number, deadline: number): Hand<Held> | undefined {
    if (this.#retrying === 0) return undefined
    for (const hand of this.#hands.values()) {
      if (hand.deadline !== undefined || hand.dueAt > now) continue
      this.#retrying--
      if (hand.attempt === 0) this.#postponed--
      hand.attempt++
      hand.deadline = deadline
      this.#count(hand.slot, 1)
      return hand
    }
    return undefined
  }

  /** Not done: it is to be handed over again from `dueAt` on, as the same attempt unless this one `counts`. */
  putBack(hand: Hand<Held>, dueAt: number, counts = true): void {
    if (hand.deadline === undefined) return
    hand.deadline = undefined
    if (!counts && --hand.attempt === 0) this.#postponed++
    hand.dueAt = dueAt
    this.#retrying++
    this.#count(hand.slot, -1)
  }

  /** Done with it: the next of its key is ready. False for a message that is not here. */
  finish(id: string): boolean {
    const hand = this.#hands.get(id)
    const work = hand ?? this.#ready.get(id)
    if (work === undefined) return false
    this.#hands.delete(id)
    this.#ready.delete(id)
    if (hand !== undefined) {
      if (hand.attempt === 0) this.#postponed--
      if (hand.deadline === undefined) this.#retrying--
      else this.#count(hand.slot, -1)
    }
    if (work.key !== undefined) this.#nextOf(work.key)
    return true
  }

  /** The slots are somebody else's: what is not with a consumer is forgotten. */
  drop(slots: ReadonlySet<number>): void {
    for (const [key, { waiting }] of this.#lines) {
      // One slot has all of a key.
      if (waiting[0] === undefined || !slots.has(waiting[0].slot)) continue
      for (const { id } of waiting) this.#waiting.delete(id)
      this.#lines.get(key)?.waiting.splice(0)
    }
    for (const work of this.#ready.values()) if (slots.has(work.slot)) this.finish(work.id)
    for (const hand of this.#hands.values()) {
      if (hand.deadline === undefined && slots.has(hand.slot)) this.finish(hand.id)
    }
  }

  #nextOf(key: string): void {
    const line = this.#lines.get(key)
    const next = line?.waiting.shift()
    if (line === undefined || next === undefined) {
      this.#lines.delete(key)
      return
    }
    this.#waiting.delete(next.id)
    this.#ready.set(next.id, next)
  }

  #count(slot: number, by: number): void {
    this.#busy[slot] = (this.#busy[slot] ?? 0) + by
  }
}
