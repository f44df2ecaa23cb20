import type { CursorState, SequenceRange, Store } from '../store/contract.ts'
import { LIMITS } from '../core/limits.ts'
import { InFlightWindow } from './in-flight-window.ts'

/** A message that was handed over and is not acknowledged, or waits to be handed over again. */
export interface InFlight<Held> {
  readonly offset: number
  held: Held
  /** 0: it waits for its first hand-over, and later ones overtake it. */
  attempt: number
  /** Monotonic ms at which the hand-over counts as failed; undefined while it waits for its next one. */
  deadline: number | undefined
  /** Monotonic ms before which it is not handed over again; Infinity: never, it is on its way to the dead letters. */
  dueAt: number
  /** Its present attempt number is on disk. */
  saved: boolean
}

export interface LedgerInit {
  readonly name: string
  readonly channel: string
  readonly cursor: CursorState
  /** How many offsets a reservation covers. */
  readonly window: number
  /** Hand-overs that a message gets; Infinity: no limit. */
  readonly maxDeliveries: number
  /** Everything below this offset was read. */
  readonly readTo: () => number
  /** Something that waited for the disk may go on. */
  readonly onSaved: () => void
  readonly onError: (error: unknown) => void
}

/** May an offset be handed over now? */
export type Permit =
  /** Yes, as this attempt. */
  | { readonly kind: 'go'; readonly attempt: number }
  /** It was acknowledged before. */
  | { readonly kind: 'done' }
  /** Not yet: something is being written, or one of the two must go alone. `onSaved` or an acknowledgement tells. */
  | { readonly kind: 'wait'; readonly on: 'disk' | 'others' }
  /** No more: it was handed over so often in earlier lives. */
  | { readonly kind: 'dead'; readonly attempts: number }

/**
 * What a durable subscription did with one channel's messages.
 *
 * Before the first hand-over of a message a reservation above its offset is written, for many messages at once.
 * After a stop without a last word, everything below the reservation and not acknowledged may have been handed
 * over: such messages are offered one at a time, each with its exact attempt written first, so that a message
 * that crashes its consumer is counted and does not condemn its neighbours. For the same reason the last attempt
 * of a message that an earlier life gave back is made alone.
 */
export class Ledger<Held> {
  readonly #store: Pick<Store, 'saveCursor'>
  readonly #init: LedgerInit
  /** Handed over or waiting for that; ascending. */
  readonly #inFlight = new InFlightWindow<InFlight<Held>>()
  /** Acknowledged above the cursor before this life. */
  readonly #before: readonly SequenceRange[]
  /** Exact attempts so far of messages that are not in flight yet in this life. */
  readonly #attempts: Map<number, number>
  /** Below this offset a message of an earlier life may have been handed over. */
  readonly #suspectEnd: number
  /** While something below this offset is in flight, it is alone. */
  #aloneEnd: number
  /**
   * With so many hand-overs in earlier lives a message gets no more. Two at least: what was given back with the rest
   * of a window may never have been looked at.
   */
  readonly #most: number
  #reserved: number
  #reservedOnDisk: number
  #offset: number
  #dirty = false
  /** Their present attempt numbers are to be written, by whichever write succeeds. */
  readonly #unsaved = new Set<InFlight<Held>>()
  /** Of those in flight, so many wait for their first hand-over. */
  #waiting = 0
  #current: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined
  #closed = false

  constructor(store: Pick<Store, 'saveCursor'>, init: LedgerInit) {
    this.#store = store
    this.#init = init
    const { cursor } = init
    this.#offset = cursor.offset
    this.#before = cursor.acknowledged
    this.#attempts = new Map(cursor.attempts)
    this.#suspectEnd = this.#aloneEnd = cursor.handed
    this.#most = Math.max(2, init.maxDeliveries)
    this.#reserved = this.#reservedOnDisk = cursor.handed
  }

  /** Messages handed over. */
  get size(): number {
    return this.#inFlight.size - this.#waiting
  }

  /** Messages that wait for their first hand-over while later ones overtake them. */
  get waiting(): number {
    return this.#waiting
  }

  /** Another one that waits, and a cursor would not take the ranges between them any more. */
  get isFull(): boolean {
    return this.#inFlight.size >= LIMITS.cursorRanges
  }

  entries(): IterableIterator<InFlight<Held>> {
    return this.#inFlight.values()
  }

  get(offset: number): InFlight<Held> | undefined {
    return this.#inFlight.get(offset)
  }

  /**
   * Asks for a message that was just read. Reservations are written ahead as a side effect, beyond `upTo` at least,
   * which is asked for next.
   */
  permit(offset: number, upTo = offset): Permit {
    if (covers(this.#before, offset)) return { kind: 'done' }
    const attempts = this.#attempts.get(offset)
    if (attempts !== undefined && attempts >= this.#most) return { kind: 'dead', attempts }
    if (offset < this.#suspectEnd || (attempts !== undefined && attempts + 1 >= this.#most)) {
      // Alone, and only once the attempt is on disk.
      if (this.#inFlight.size > 0) return { kind: 'wait', on: 'others' }
      this.#aloneEnd = Math.max(this.#aloneEnd, offset + 1)
      return { kind: 'go', attempt: (attempts ?? 1) + 1 }
    }
    if (this.#firstInFlight() < this.#aloneEnd) return { kind: 'wait', on: 'others' }
    this.#reserve(upTo)
    if (offset >= this.#reservedOnDisk) return { kind: 'wait', on: 'disk' }
    return { kind: 'go', attempt: (attempts ?? 0) + 1 }
  }

  /** Counts a message as in flight. `ready` is false where its attempt has to be written first. */
  add(offset: number, held: Held, attempt: number): { entry: InFlight<Held>; ready: boolean } {
    const ready = attempt === 1
    const entry = { offset, held, attempt, deadline: undefined, dueAt: 0, saved: ready }
    if (this.#attempts.size > 0) this.#attempts.delete(offset)
    this.#inFlight.add(entry)
    if (!ready) this.#writeAttempt(entry).catch(this.#init.onError)
    return { entry, ready }
  }

  /** Counts a message as in flight that is 'dead': it keeps the cursor until its dead letter is written. */
  hold(offset: number, held: Held, attempt: number): InFlight<Held> {
    const entry = { offset, held, attempt, deadline: undefined, dueAt: Infinity, saved: false }
    this.#attempts.delete(offset)
    this.#inFlight.add(entry)
    return entry
  }

  /** Lets later ones overtake a message that has not been handed over: it keeps the cursor. */
  wait(offset: number, held: Held): void {
    this.#inFlight.add({ offset, held, attempt: 0, deadline: undefined, dueAt: 0, saved: false })
    this.#waiting++
  }

  /** The first hand-over of one that waited. */
  begin(offset: number, held: Held): void {
    const entry = this.#inFlight.get(offset)
    if (entry === undefined) return
    entry.held = held
    entry.attempt = 1
    entry.saved = true
    this.#waiting--
  }

  /** Done with it. Resolves when that is written; at once for one that is not in flight. */
  acknowledge(offset: number): Promise<void> {
    if (!this.#inFlight.delete(offset)) return this.#next ?? this.#current
    return this.#save()
  }

  /** To be handed over again from `dueAt` (monotonic ms) on, as the next attempt. Resolves when written. */
  retry(entry: InFlight<Held>, dueAt: number): Promise<void> {
    entry.attempt++
    entry.deadline = undefined
    entry.dueAt = dueAt
    entry.saved = false
    return this.#writeAttempt(entry)
  }

  /** To be handed over from `dueAt` (monotonic ms) on, as the same attempt: nobody has seen it. */
  giveBack(entry: InFlight<Held>, dueAt: number): void {
    entry.deadline = undefined
    entry.dueAt = dueAt
  }

  /** Not to be handed over again; as with `hold`, it keeps the cursor. */
  exhaust(entry: InFlight<Held>): void {
    this.#unsaved.delete(entry)
    entry.deadline = undefined
    entry.dueAt = Infinity
    entry.saved = false
  }

  /** To be called now and then: moves the cursor over what did not match, and repeats a write that failed. */
  touch(): void {
    const stuck = this.#dirty && this.#next === undefined
    if (stuck || this.#lowest() > this.#offset) {
      this.#save().then(this.#init.onSaved, this.#init.onError)
    }
  }

  /** A last word: what is in flight was handed over exactly so often, nothing else was. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#reserved = 0
    await this.#save()
  }

  async #writeAttempt(entry: InFlight<Held>): Promise<void> {
    this.#unsaved.add(entry)
    await this.#save()
    this.#init.onSaved()
  }

  #reserve(offset: number): void {
    const { window } = this.#init
    if (offset + window / 2 < this.#reserved) return
    this.#reserved = offset + 2 * window
    this.#save().then(this.#init.onSaved, this.#init.onError)
  }

  #firstInFlight(): number {
    return this.#inFlight.firstOffset ?? Infinity
  }

  #lowest(): number {
    return Math.min(this.#firstInFlight(), Math.max(this.#offset, this.#init.readTo()))
  }

  /** One write at a time; whoever asks while one is under way shares the next. */
  #save(): Promise<void> {
    this.#dirty = true
    this.#next ??= this.#current.then(
      () => this.#write(),
      () => this.#write()
    )
    return this.#next
  }

  async #write(): Promise<void> {
    this.#current = this.#next ?? this.#current
    this.#next = undefined
    this.#dirty = false
    const { name, channel } = this.#init
    const state = this.#state()
    const attempts = [...this.#unsaved]
    this.#offset = state.offset
    try {
      await this.#store.saveCursor(name, channel, state)
    } catch (error) {
      this.#dirty = true
      throw error
    }
    this.#reservedOnDisk = Math.max(this.#reservedOnDisk, state.handed)
    for (const entry of attempts) {
      this.#unsaved.delete(entry)
      entry.saved = true
    }
  }

  #state(): CursorState {
    const readTo = Math.max(this.#offset, this.#init.readTo())
    const offset = this.#lowest()
    const acknowledged: SequenceRange[] = []
    const attempts: [number, number][] = []
    let next = offset
    for (const entry of this.#inFlight.values()) {
      if (entry.offset > next) acknowledged.push({ from: next, to: entry.offset - 1 })
      next = entry.offset + 1
      const made = this.#closed ? handOvers(entry) : entry.attempt
      if (made > 1 || (this.#closed && made > 0)) attempts.push([entry.offset, made])
    }
    if (readTo > next) acknowledged.push({ from: next, to: readTo - 1 })
    for (const range of this.#before) {
      if (range.to >= readTo) {
        acknowledged.push({ from: Math.max(range.from, readTo), to: range.to })
      }
    }
    for (const [at, count] of this.#attempts) if (at >= readTo) attempts.push([at, count])
    // Below the last word's offset nothing is in doubt; suspects not reached yet stay suspects.
    const handed = this.#closed ? Math.max(offset, this.#unreachedSuspects(readTo)) : this.#reserved
    return { offset, acknowledged, handed, attempts }
  }

  #unreachedSuspects(readTo: number): number {
    return readTo < this.#suspectEnd ? this.#suspectEnd : 0
  }
}

/** How often a message was handed over: what waits for its next attempt has not had it. */
function handOvers({ attempt, deadline, dueAt }: InFlight<unknown>): number {
  return deadline === undefined && dueAt !== Infinity ? attempt - 1 : attempt
}

/** Is `offset` in one of the ascending `ranges`? */
export function covers(ranges: readonly SequenceRange[], offset: number): boolean {
  let low = 0
  let high = ranges.length - 1
  while (low <= high) {
    const middle = (low + high) >>> 1
    const range = ranges[middle] as SequenceRange
    if (offset < range.from) high = middle - 1
    else if (offset > range.to) low = middle + 1
    else return true
  }
  return false
}
