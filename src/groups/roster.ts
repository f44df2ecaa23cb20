import type { Clock } from '../core/clock.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import { type MemberView, standingOf } from './assignment.ts'
import type { GroupChannel } from './group-channel.ts'
import { encodeMembership, type Membership } from './group-values.ts'
import type { Quorum } from './quorum.ts'

export interface RosterComponents {
  readonly channel: Pick<GroupChannel, 'say' | 'state'>
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly clock: Clock
}

export interface RosterInit {
  readonly self: PeerId
  /** What is known of members' lives has changed. */
  readonly onChange: () => void
}

/** Who is a member of a group, who of them is at work, and this node's own part. */
export class Roster {
  readonly #components: RosterComponents
  readonly #init: RosterInit
  readonly #met = new Set<PeerId>()
  readonly #silentSince = new Map<PeerId, number>()
  #life = 0
  #full = false
  #joined = false
  #quorum: Quorum | undefined
  #ends: (() => void)[] = []

  constructor(components: RosterComponents, init: RosterInit) {
    this.#components = components
    this.#init = init
  }

  /** This node's membership: greater at each start. */
  get life(): number {
    return this.#life
  }

  /** Begins a life of this node; true where there was one before it that may not have ended. */
  begin(): boolean {
    const { channel, clock, directory } = this.#components
    const former = channel.state.members.get(this.#init.self)
    this.#life = Math.max(clock.now(), (former?.life ?? 0) + 1)
    this.#joined = true
    const started = clock.monotonic()
    for (const peer of channel.state.members.keys()) {
      this.#silentSince.set(peer, started)
      this.#look(peer)
    }
    const look = ({ id }: { id: PeerId }): void => {
      this.#look(id)
      this.#init.onChange()
    }
    this.#ends = [
      directory.events.on('up', look),
      directory.events.on('suspect', look),
      directory.events.on('down', look)
    ]
    return former?.joined === true
  }

  /** From here on it tells who lives. */
  follow(quorum: Quorum): void {
    this.#quorum = quorum
  }

  /** This node is no member in its own eyes; others are told by `say`. */
  end(): void {
    this.#joined = false
    for (const end of this.#ends.splice(0)) end()
  }

  /** What a member says is a sign of life, where nothing else is known of it. */
  heard(peer: PeerId): void {
    this.#silentSince.set(peer, this.#components.clock.monotonic())
    this.#look(peer)
  }

  /** Tells the others of this node's membership. Rejects with what `Publisher.publish` rejects with. */
  async say(): Promise<void> {
    const said = { life: this.#life, joined: this.#joined, full: this.#full }
    await this.#components.channel.say('member', encodeMembership(said))
  }

  /** False where that is known. */
  setFull(full: boolean): boolean {
    if (this.#full === full) return false
    this.#full = full
    return true
  }

  /** Every member that is or was, this node included. */
  members(): Map<PeerId, MemberView> {
    const { self } = this.#init
    const views = new Map<PeerId, MemberView>()
    for (const [peer, member] of this.#components.channel.state.members) {
      const { full, life } = member
      if (peer !== self) views.set(peer, { life, full, standing: this.#standing(peer, member) })
    }
    if (this.#joined) views.set(self, { life: this.#life, full: this.#full, standing: 'live' })
    return views
  }

  /** Other members that are at work, or may be. */
  others(): PeerId[] {
    return [...this.members()]
      .filter(([peer, { standing }]) => peer !== this.#init.self && standing !== 'ended')
      .map(([peer]) => peer)
  }

  /** No other member is up. */
  get isAlone(): boolean {
    return liveOf(this.members()).every((peer) => peer === this.#init.self)
  }

  #standing(peer: PeerId, member: Membership): MemberView['standing'] {
    if (this.#quorum !== undefined) return this.#quorum.standing(peer, member)
    const { clock, directory } = this.#components
    const now = clock.monotonic()
    const signs = {
      joined: member.joined,
      up: isUp(directory.get(peer)?.state),
      met: this.#met.has(peer),
      silentSince: this.#silentSince.get(peer) ?? now
    }
    return standingOf(signs, now)
  }

  #look(peer: PeerId): void {
    if (isUp(this.#components.directory.get(peer)?.state)) this.#met.add(peer)
  }
}

/** Those of them that are at work. */
export function liveOf(members: ReadonlyMap<PeerId, MemberView>): PeerId[] {
  return [...members].filter(([, { standing }]) => standing === 'live').map(([peer]) => peer)
}

function isUp(state: string | undefined): boolean {
  return state === 'up' || state === 'suspect'
}
