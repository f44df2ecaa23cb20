import type { Clock } from '../core/clock.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Standing } from './assignment.ts'
import type { GroupChannel } from './group-channel.ts'
import type { Membership } from './group-values.ts'
import type { Position } from './heard.ts'
import type { Pulse } from './pulse.ts'
import type { SlotTable } from './slot-table.ts'

export interface QuorumComponents {
  readonly channel: Pick<GroupChannel, 'heard' | 'state'>
  readonly pulse: Pick<Pulse, 'answeredAt' | 'hasRead' | 'silentMs'>
  readonly clock: Clock
}

export interface QuorumInit {
  readonly self: PeerId
  readonly life: number
  /** Members that the group has at most; more than half of them make a majority. */
  readonly size: number
  /** This node was a member in an earlier life, whose answers may still count for somebody. */
  readonly wasMember: boolean
}

/** A member that a majority has not answered for so long hands nothing over, ms. */
const FENCE_MS = 3_000
/** Who was not heard for so long has lost its slots: twice as long, so that it has stopped by then. */
const LOST_MS = 2 * FENCE_MS

/** A slot was taken from this member by the word of another, which it may not know. */
interface Displaced {
  readonly peer: PeerId
  readonly life: number
  readonly by: PeerId
  readonly position: Position
}

/**
 * What a member of a group with `{ majority: N }` may do. It hands over while more than half of all members have heard
 * it within 3 s, and it has read all that they had read by then. Who takes a slot waits for the answers of a majority;
 * each member answers only when whoever had the slot before knows of it, or has not been heard for 6 s. Two majorities
 * share a member: so it either told the one before, or had not heard it for long enough.
 */
export class Quorum {
  readonly #components: QuorumComponents
  readonly #init: QuorumInit
  /** By who lost and who took. */
  readonly #displaced = new Map<string, Displaced>()
  readonly #startedAt: number
  #table: SlotTable

  constructor(components: QuorumComponents, init: QuorumInit) {
    this.#components = components
    this.#init = init
    this.#startedAt = components.clock.monotonic()
    this.#table = components.channel.state.slots.copy()
  }

  /** May this node hand over now? */
  get isWhole(): boolean {
    const { clock, pulse } = this.#components
    const since = clock.monotonic() - FENCE_MS
    return this.#isMajority((peer, life) => pulse.answeredAt(peer, life) >= since)
  }

  /** Has a majority read so far in this node's log, and is all here that they had read by then? */
  hasRead(position: Position): boolean {
    const { self } = this.#init
    return this.#isMajority((peer, life) =>
      this.#components.pulse.hasRead(peer, life, self, position)
    )
  }

  hasAnswered(isHeardBy: (peer: PeerId) => boolean): boolean {
    return this.#isMajority(isHeardBy)
  }

  standing(peer: PeerId, { joined, life }: Membership): Standing {
    const silentMs = this.#components.pulse.silentMs(peer, life)
    if (!joined || silentMs >= LOST_MS) return 'ended'
    return silentMs < FENCE_MS ? 'live' : 'silent'
  }

  /** More members are joined than there can be, and this one came last: it is none. */
  get isSurplus(): boolean {
    return !this.#seats().some(([peer]) => peer === this.#init.self)
  }

  /** Slots changed hands by the word of this member. */
  note(publisher: PeerId): void {
    const { heard, state } = this.#components.channel
    const position = heard.get(publisher)
    const { self } = this.#init
    for (const [slot, before] of this.#table.entries()) {
      const owner = before?.owner
      if (owner === undefined || owner === state.slots.get(slot)?.owner) continue
      const member = state.members.get(owner)
      // Who gives away its own knows.
      if (owner === publisher || owner === self || publisher === self || !member?.joined) continue
      if (position === undefined || member.life !== before?.life) continue
      const displaced = { peer: owner, life: member.life, by: publisher, position }
      this.#displaced.set(`${owner} ${publisher}`, displaced)
    }
    this.#table = state.slots.copy()
  }

  /** May this node answer who asks? Not while it has heard a member that does not know that it lost a slot. */
  get mayAnswer(): boolean {
    const { clock } = this.#components
    if (this.#init.wasMember && clock.monotonic() - this.#startedAt < LOST_MS) return false
    for (const [key, displaced] of this.#displaced) {
      if (this.#knows(displaced)) this.#displaced.delete(key)
    }
    return this.#displaced.size === 0
  }

  #knows({ by, life, peer, position }: Displaced): boolean {
    const { channel, pulse } = this.#components
    const member = channel.state.members.get(peer)
    if (member?.joined !== true || member.life !== life) return true
    return pulse.silentMs(peer, life) >= LOST_MS || pulse.hasRead(peer, life, by, position)
  }

  #isMajority(counts: (peer: PeerId, life: number) => boolean): boolean {
    const { self, size } = this.#init
    if (this.isSurplus) return false
    const agreed = this.#seats().filter(([peer, life]) => peer === self || counts(peer, life))
    return agreed.length > size / 2
  }

  /** Who counts: the first that joined. */
  #seats(): [PeerId, number][] {
    const { life, self, size } = this.#init
    const seats = [...this.#components.channel.state.members]
      .filter(([peer, { joined }]) => joined && peer !== self)
      .map(([peer, member]): [PeerId, number] => [peer, member.life])
    seats.push([self, life])
    return seats.toSorted(([a, x], [b, y]) => x - y || (a < b ? -1 : 1)).slice(0, size)
  }
}
