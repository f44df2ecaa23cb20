import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Transport } from '../mesh/contract.ts'

export interface MembershipComponents {
  readonly transport: Pick<Transport, 'join' | 'leave'>
  readonly clock: Clock
}

/** A channel is left so long after the last holder let go, ms: a consumer that reconnects misses nothing. */
const LINGER_MS = 60_000

/**
 * Which channels this node is a member of, and why: a channel is joined while someone holds it, and a while
 * longer. `$` and `@` channels do not count against the limit.
 */
export class Membership {
  readonly #components: MembershipComponents
  /** Channels nobody holds any more, with the timer that leaves them. */
  readonly #lingering = new Map<string, Timer>()
  readonly #holders = new Map<string, number>()
  #counted = 0

  constructor(components: MembershipComponents) {
    this.#components = components
  }

  /** Joins the channel if nobody held it; returns the function that lets go. Throws ERR_TOO_MANY_CHANNELS. */
  hold(channel: string): () => void {
    const holders = this.#holders.get(channel) ?? 0
    if (holders === 0) this.#join(channel)
    this.#holders.set(channel, holders + 1)
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#release(channel)
    }
  }

  has(channel: string): boolean {
    return this.#holders.has(channel) || this.#lingering.has(channel)
  }

  /** The channels joined. */
  channels(): string[] {
    return [...this.#holders.keys(), ...this.#lingering.keys()]
  }

  stop(): void {
    for (const timer of this.#lingering.values()) timer.cancel()
    this.#lingering.clear()
  }

  #join(channel: string): void {
    const lingering = this.#lingering.get(channel)
    if (lingering !== undefined) {
      lingering.cancel()
      this.#lingering.delete(channel)
      return
    }
    if (isCounted(channel)) {
      if (this.#counted >= LIMITS.channels) this.#leaveOldest()
      if (this.#counted >= LIMITS.channels) {
        throw new SkeinError(
          'ERR_TOO_MANY_CHANNELS',
          `this node is in ${LIMITS.channels} channels already and cannot join '${channel}'; a channel is the first level of a topic, so move the variable part to the second level or put one fixed level first`,
          { details: { channel, limit: LIMITS.channels } }
        )
      }
      this.#counted++
    }
    this.#components.transport.join(channel)
  }

  #release(channel: string): void {
    const holders = (this.#holders.get(channel) ?? 0) - 1
    if (holders > 0) {
      this.#holders.set(channel, holders)
      return
    }
    this.#holders.delete(channel)
    const timer = this.#components.clock.after(LINGER_MS, () => this.#leave(channel))
    this.#lingering.set(channel, timer)
  }

  #leaveOldest(): void {
    for (const channel of this.#lingering.keys()) {
      if (!isCounted(channel)) continue
      this.#leave(channel)
      return
    }
  }

  #leave(channel: string): void {
    this.#lingering.get(channel)?.cancel()
    this.#lingering.delete(channel)
    if (isCounted(channel)) this.#counted--
    this.#components.transport.leave(channel)
  }
}

function isCounted(channel: string): boolean {
  return !channel.startsWith('$') && !channel.startsWith('@')
}
