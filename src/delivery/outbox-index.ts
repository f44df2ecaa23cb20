import type { LogRef, SequenceRange } from '../store/contract.ts'
import { covers } from '../wire/inbox-receipt.ts'

/** A message of one of this node's own logs. */
export interface Indexed {
  readonly id: string
  readonly log: LogRef
  readonly sequence: number
  /** Monotonic ms. */
  readonly deadline: number
}

/** What waits, by message id and by log. */
export class OutboxIndex<Entry extends Indexed> {
  readonly #byId = new Map<string, Entry>()
  readonly #byLog = new Map<string, Map<number, Entry>>()

  get size(): number {
    return this.#byId.size
  }

  has(id: string): boolean {
    return this.#byId.has(id)
  }

  add(entry: Entry): void {
    this.#byId.set(entry.id, entry)
    const key = keyOf(entry.log)
    const ofLog = this.#byLog.get(key)
    if (ofLog === undefined) this.#byLog.set(key, new Map([[entry.sequence, entry]]))
    else ofLog.set(entry.sequence, entry)
  }

  delete({ id, log, sequence }: Entry): void {
    this.#byId.delete(id)
    const key = keyOf(log)
    const ofLog = this.#byLog.get(key)
    ofLog?.delete(sequence)
    if (ofLog?.size === 0) this.#byLog.delete(key)
  }

  all(): Entry[] {
    return [...this.#byId.values()]
  }

  /** What waits of a log and is in the ranges. */
  within(log: LogRef, ranges: readonly SequenceRange[]): Entry[] {
    const ofLog = this.#byLog.get(keyOf(log))
    if (ofLog === undefined) return []
    return [...ofLog.values()].filter(({ sequence }) => covers(ranges, sequence))
  }

  /** The earliest deadline; Infinity while nothing waits. */
  earliest(): number {
    let earliest = Infinity
    for (const { deadline } of this.#byId.values()) earliest = Math.min(earliest, deadline)
    return earliest
  }
}

function keyOf({ channel, session }: LogRef): string {
  return `${channel}/${session}`
}
