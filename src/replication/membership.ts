import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Transport } from '../mesh/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'

export interface MembershipComponents {
  readonly transport: Pick<Transport, 'join' | 'leave'>
  readonly clock: Clock
}

/** From when on a channel is wanted: local wall clock, ms; `all` = from the beginning, as far as anyone has it. */
export type Since = number | 'all'

export interface MembershipEvents {
  /** A channel is wanted now, no more, or from another time on. */
  changed: { channel: string }
}

/** A channel is left so long after the last holder let go, ms: a consumer that reconnects misses nothing. */
const LINGER_MS = 60_000

/** What a holder asked for, and when it did for the first time: local wall clock, ms. */
interface Wish {
  readonly since: Since
  readonly asOf: number
  /** That was in an earlier life of this node: its clock may have been set meanwhile. */
  readonly remembered: boolean
}

interface Member {
  readonly holders: Map<symbol, Wish>
  since: Since
  asOf: number
  remembered: boolean
  /** Leaves the channel, where nobody holds it any more. */
  lingering: Timer | undefined
}

/**
 * Which channels this node wants, from when on, and why: a channel is joined while someone holds it, and a while
 * longer. `$` and `@` channels do not count against the limit, and inboxes are wanted without being joined: they
 * are not gossiped.
 */
export class Membership {
  readonly #components: MembershipComponents
  readonly #emitter: Emitter<MembershipEvents>
  readonly #members = new Map<string, Member>()
  #counted = 0

  constructor(components: MembershipComponents, emitter: Emitter<MembershipEvents>) {
    this.#components = components
    this.#emitter = emitter
  }

  get events(): Events<MembershipEvents> {
    return this.#emitter
  }

  /**
   * Joins the channel if nobody held it; `since` says what of it is wanted (default: what comes from now on). A wish
   * of an earlier life was made at `rememberedAt`. Returns the function that lets go. Throws ERR_TOO_MANY_CHANNELS.
   */
  hold(channel: string, since?: Since, rememberedAt?: number): () => void {
    const now = this.#components.clock.now()
    const remembered = rememberedAt !== undefined
    const wish: Wish = { since: since ?? now, asOf: rememberedAt ?? now, remembered }
    const member = this.#members.get(channel) ?? this.#join(channel, wish)
    member.lingering?.cancel()
    member.lingering = undefined
    const holder = Symbol(channel)
    member.holders.set(holder, wish)
    this.#update(channel, member)
    return () => {
      if (!member.holders.delete(holder)) return
      if (member.holders.size > 0) this.#update(channel, member)
      else {
        member.lingering = this.#components.clock.after(LINGER_MS, () =>
          this.#leave(channel, member)
        )
      }
    }
  }

  has(channel: string): boolean {
    return this.#members.has(channel)
  }

  /** From when on the channel is wanted here; undefined where it is not. */
  since(channel: string): Since | undefined {
    return this.#members.get(channel)?.since
  }

  /** All that was published in the channel from then on is wanted: local wall clock, ms. */
  asOf(channel: string): number | undefined {
    return this.#members.get(channel)?.asOf
  }

  /** Was the channel wanted already before this node was started? */
  remembers(channel: string): boolean {
    return this.#members.get(channel)?.remembered === true
  }

  /** The channels wanted. */
  channels(): string[] {
    return [...this.#members.keys()]
  }

  stop(): void {
    for (const member of this.#members.values()) member.lingering?.cancel()
  }

  #join(channel: string, wish: Wish): Member {
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
    const member: Member = { ...wish, holders: new Map(), lingering: undefined }
    this.#members.set(channel, member)
    if (scopeOf(channel) === 'mesh') this.#components.transport.join(channel)
    this.#emitter.emit('changed', { channel })
    return member
  }

  #update(channel: string, member: Member): void {
    const wishes = [...member.holders.values()]
    const since = earliest(wishes.map((wish) => wish.since))
    member.remembered = wishes.some(({ remembered }) => remembered)
    member.asOf = Math.min(...wishes.map(({ asOf }) => asOf), since === 'all' ? Infinity : since)
    if (since === member.since) return
    member.since = since
    this.#emitter.emit('changed', { channel })
  }

  #leaveOldest(): void {
    for (const [channel, member] of this.#members) {
      if (member.lingering === undefined || !isCounted(channel)) continue
      this.#leave(channel, member)
      return
    }
  }

  #leave(channel: string, member: Member): void {
    member.lingering?.cancel()
    this.#members.delete(channel)
    if (isCounted(channel)) this.#counted--
    if (scopeOf(channel) === 'mesh') this.#components.transport.leave(channel)
    this.#emitter.emit('changed', { channel })
  }
}

function earliest(all: Iterable<Since>): Since {
  let first = Infinity
  for (const since of all) {
    if (since === 'all') return 'all'
    first = Math.min(first, since)
  }
  return first
}

function isCounted(channel: string): boolean {
  return !channel.startsWith('$') && !channel.startsWith('@')
}
