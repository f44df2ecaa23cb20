import type { PeerId } from '../mesh/contract.ts'
import type { LogRef } from '../store/contract.ts'
import type { HeldRange } from '../wire/vector.ts'

/** A log of which something is missing here that someone may have. */
export interface Want {
  readonly log: LogRef
  /** Monotonic ms at which it may be asked for. */
  dueAt: number
  /** Neighbours who say that they have something of it, and what. */
  readonly sources: Map<PeerId, HeldRange>
  /** Neighbours that failed to give it, until when they are not asked again: monotonic ms. */
  readonly avoided: Map<PeerId, number>
  /** Who is being asked now. */
  active: PeerId | undefined
}

/** The logs of which something is missing, in an order that is fair to channels and logs. */
export class Wants {
  /** The channel that is next in turn stands first, in it the log that is. */
  readonly #channels = new Map<string, Map<string, Want>>()

  get size(): number {
    let size = 0
    for (const wants of this.#channels.values()) size += wants.size
    return size
  }

  hasAny(channel: string): boolean {
    return this.#channels.has(channel)
  }

  get(log: LogRef): Want | undefined {
    return this.#channels.get(log.channel)?.get(keyOf(log))
  }

  /** Something of the log is missing, and may be asked for at `dueAt`. */
  note({ channel, publisher, session }: LogRef, dueAt: number): Want {
    let wants = this.#channels.get(channel)
    if (wants === undefined) this.#channels.set(channel, (wants = new Map()))
    const log = { channel, publisher, session }
    const key = keyOf(log)
    const known = wants.get(key)
    if (known !== undefined) {
      known.dueAt = Math.min(known.dueAt, dueAt)
      return known
    }
    const want: Want = { log, dueAt, sources: new Map(), avoided: new Map(), active: undefined }
    wants.set(key, want)
    return want
  }

  /** A neighbour says what it has of the log. */
  offer(log: LogRef, offer: { dueAt: number; peer: PeerId; theirs: HeldRange }): void {
    const { dueAt, peer, theirs } = offer
    const want = this.note(log, dueAt)
    // It may have been asked for a hole before it had anything to say of it.
    if (!want.sources.has(peer)) want.avoided.delete(peer)
    want.sources.set(peer, theirs)
  }

  drop({ log }: Want): void {
    const wants = this.#channels.get(log.channel)
    wants?.delete(keyOf(log))
    if (wants?.size === 0) this.#channels.delete(log.channel)
  }

  /** Its turn is over: others of its channel come first, and other channels. */
  requeue(want: Want): void {
    const { channel } = want.log
    const wants = this.#channels.get(channel)
    if (wants?.delete(keyOf(want.log)) !== true) return
    wants.set(keyOf(want.log), want)
    this.#channels.delete(channel)
    this.#channels.set(channel, wants)
  }

  /** Those that may be asked for, next in turn first: one of each channel, then the second of each, and so on. */
  *due(now: number): Generator<Want> {
    let turns = [...this.#channels.values()].map((wants) => wants.values())
    while (turns.length > 0) {
      const going: typeof turns = []
      for (const turn of turns) {
        const want = nextDue(turn, now)
        if (want === undefined) continue
        going.push(turn)
        yield want
      }
      turns = going
    }
  }

  /** When the next one after `now` is due; undefined where nothing waits for its time. */
  nextDueAt(now: number): number | undefined {
    let next: number | undefined
    for (const wants of this.#channels.values()) {
      for (const { active, dueAt } of wants.values()) {
        if (active !== undefined || dueAt <= now) continue
        if (next === undefined || dueAt < next) next = dueAt
      }
    }
    return next
  }

  forget(peer: PeerId): void {
    for (const wants of this.#channels.values()) {
      for (const want of wants.values()) {
        want.sources.delete(peer)
        want.avoided.delete(peer)
      }
    }
  }
}

function nextDue(turn: Iterator<Want>, now: number): Want | undefined {
  for (let next = turn.next(); next.done !== true; next = turn.next()) {
    if (next.value.active === undefined && next.value.dueAt <= now) return next.value
  }
  return undefined
}

function keyOf({ publisher, session }: LogRef): string {
  return `${publisher}/${session}`
}
