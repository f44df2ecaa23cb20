import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Transport } from '../mesh/contract.ts'

/**
 * Which channels this node is a member of, and why: a channel is joined while someone holds it. `$` and `@`
 * channels do not count against the limit.
 */
export class Membership {
  readonly #transport: Pick<Transport, 'join' | 'leave'>
  readonly #holders = new Map<string, number>()
  #counted = 0

  constructor(transport: Pick<Transport, 'join' | 'leave'>) {
    this.#transport = transport
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
    return this.#holders.has(channel)
  }

  /** The channels joined. */
  channels(): string[] {
    return [...this.#holders.keys()]
  }

  #join(channel: string): void {
    if (isCounted(channel)) {
      if (this.#counted >= LIMITS.channels) {
        throw new SkeinError(
          'ERR_TOO_MANY_CHANNELS',
          `this node is in ${LIMITS.channels} channels already and cannot join '${channel}'; a channel is the first level of a topic, so move the variable part to the second level or put one fixed level first`,
          { details: { channel, limit: LIMITS.channels } }
        )
      }
      this.#counted++
    }
    this.#transport.join(channel)
  }

  #release(channel: string): void {
    const holders = (this.#holders.get(channel) ?? 0) - 1
    if (holders > 0) {
      this.#holders.set(channel, holders)
      return
    }
    this.#holders.delete(channel)
    if (isCounted(channel)) this.#counted--
    this.#transport.leave(channel)
  }
}

function isCounted(channel: string): boolean {
  return !channel.startsWith('$') && !channel.startsWith('@')
}
