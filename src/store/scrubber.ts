import type { LogRef } from './contract.ts'
import { logName } from './keys.ts'
import type { LogSlot, Mirror } from './mirror.ts'

export interface ScrubberComponents {
  readonly mirror: () => Mirror
  /** Reads and checks records of a log; says how many bytes, and the sequence to go on from. */
  check(slot: LogSlot, from: number, maxBytes: number): Promise<{ bytes: number; next: number }>
}

/** Goes through all logs, a piece at a time, and begins again when it is through. */
export class Scrubber {
  readonly #components: ScrubberComponents
  #at: { log: LogRef; from: number } | undefined
  #order: LogRef[] = []
  /** A round has been begun. */
  #under = false

  constructor(components: ScrubberComponents) {
    this.#components = components
  }

  /** Checks the next `maxBytes`; 0 when everything has been gone through once. */
  async next(maxBytes: number): Promise<number> {
    const mirror = this.#components.mirror()
    if (this.#at === undefined && this.#order.length === 0) {
      this.#under = !this.#under
      if (!this.#under) return 0
      this.#order = Array.from(mirror.logs(), ({ ref }) => ref)
      this.#order.sort((a, b) => (a.channel + logName(a) < b.channel + logName(b) ? -1 : 1))
    }
    let bytes = 0
    while (bytes < maxBytes) {
      const log = this.#at?.log ?? this.#order.shift()
      if (log === undefined) return bytes
      const slot = mirror.log(log)
      const from = Math.max(this.#at?.from ?? 0, slot?.committed.floor ?? 0)
      this.#at = undefined
      if (slot === undefined) continue
      const room = maxBytes - bytes
      const checked = await this.#components.check(slot, from, room)
      bytes += checked.bytes
      if (checked.bytes > room && checked.next <= topOf(slot))
        this.#at = { log, from: checked.next }
    }
    return bytes
  }
}

function topOf({ committed }: LogSlot): number {
  return Math.max(committed.head, committed.islands.at(-1)?.to ?? 0)
}
