import type { Clock } from '../core/clock.ts'

import type { PeerId } from './contract.ts'

/** What one piece of misbehaviour costs. */
const BLAME = 10
/** Half of the blame is forgotten after this time, so that a fault long repaired does not count for ever. */
const HALF_LIFE_MS = 60_000
/** Below this standing a peer is cut off: eight bad frames at once. gossipsub stops listening to it at the same value. */
export const OUTCAST_BELOW = -75
/** How long a peer that was cut off stays so. */
const OUTCAST_MS = 60_000

interface Entry {
  value: number
  at: number
  outUntil: number
}

/** How peers stand with this node: 0 unless they misbehaved, below 0 then, and forgiven with time. */
export class Standing {
  readonly #clock: Clock
  readonly #entries = new Map<PeerId, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  score(peer: PeerId): number {
    const entry = this.#entries.get(peer)
    if (entry === undefined) return 0
    const value = this.#decayed(entry)
    if (value > -1 && !this.#out(entry)) this.#entries.delete(peer)
    return value > -0.1 ? 0 : value
  }

  /** True when this blame is the one that makes the peer an outcast. */
  blame(peer: PeerId): boolean {
    const entry = this.#entries.get(peer) ?? { value: 0, at: 0, outUntil: 0 }
    entry.value = this.#decayed(entry) - BLAME
    entry.at = this.#clock.monotonic()
    this.#entries.set(peer, entry)
    if (entry.value > OUTCAST_BELOW || this.#out(entry)) return false
    entry.outUntil = entry.at + OUTCAST_MS
    return true
  }

  /** Is the peer cut off for now? */
  outcast(peer: PeerId): boolean {
    const entry = this.#entries.get(peer)
    return entry !== undefined && this.#out(entry)
  }

  #out(entry: Entry): boolean {
    return entry.outUntil > this.#clock.monotonic()
  }

  #decayed(entry: Entry): number {
    return entry.value * 0.5 ** ((this.#clock.monotonic() - entry.at) / HALF_LIFE_MS)
  }
}
