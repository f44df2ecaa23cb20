import { type Clock, type Timer, every } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import { type Assignment, assign, type MemberView, standingOf } from './assignment.ts'
import type { GroupChannel } from './group-channel.ts'
import { encodeMembership, encodeSlots } from './group-values.ts'
import { Hearing } from './hearing.ts'
import type { Position } from './heard.ts'
import type { SlotTable, Tenure } from './slot-table.ts'
import { ANSWER_MS, Takeover } from './takeover.ts'
import { desiredOwner } from './slots.ts'

export interface SlotKeeperComponents {
  readonly channel: Pick<GroupChannel, 'events' | 'heard' | 'say' | 'state'>
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly acknowledgements: Pick<Acknowledgements, 'flush' | 'membersChanged'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface SlotKeeperInit {
  readonly self: PeerId
  /** Resolves when all that neighbours know of the group is here, or they have had their time. */
  readonly hear: () => Promise<void>
  /** Which slots' messages are with consumers of this node? */
  readonly isBusy: (slot: number) => boolean
  /** Slots are this node's now: what waits in them is handed over from here on. */
  readonly onTaken: (slots: ReadonlySet<number>) => void
  /** Slots are this node's no more, or will not be. */
  readonly onGiven: (slots: ReadonlySet<number>) => void
}

/** How often it is looked after what takes time, ms. */
const TICK_MS = 250
/** A slot that came from a member that wanted to be rid of it stays so long, ms. */
const KEEP_MS = 60_000

/** One node's membership in one group: says that it is there, takes the slots that are due to it, gives away others. */
export class SlotKeeper {
  readonly #components: SlotKeeperComponents
  readonly #init: SlotKeeperInit
  readonly #hearing: Hearing
  readonly #takeover: Takeover
  /** Slots that are this node's to hand over, unless they are to go: with the epoch since when. */
  readonly #held = new Map<number, number>()
  /** Slots whose messages are handed over here. */
  #active: ReadonlySet<number> = new Set()
  #draining: ReadonlySet<number> = new Set()
  readonly #evicted = new Set<number>()
  /** Monotonic ms until which each stays. */
  readonly #kept = new Map<number, number>()
  readonly #met = new Set<PeerId>()
  readonly #silentSince = new Map<PeerId, number>()
  #life = 0
  #full = false
  #joinedAt = Infinity
  /** Asked after this node had said that it joins, and had heard of those who said so before it. */
  #question: Position | undefined
  #state: 'new' | 'open' | 'stopped' = 'new'
  #ends: (() => void)[] = []
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #due = false

  constructor(components: SlotKeeperComponents, init: SlotKeeperInit) {
    this.#components = components
    this.#init = init
    this.#hearing = new Hearing(components, init)
    this.#takeover = new Takeover(
      { clock: components.clock, hearing: this.#hearing },
      { others: () => this.#others() }
    )
  }

  /** Is the slot this node's, to hand over its messages? */
  owns(slot: number): boolean {
    return this.#active.has(slot)
  }

  get size(): number {
    return this.#active.size
  }

  /** No other member is up. */
  get isAlone(): boolean {
    for (const [peer, { standing }] of this.members()) {
      if (peer !== this.#init.self && standing === 'live') return false
    }
    return true
  }

  /** Says that this node is a member. Rejects with what `Publisher.publish` rejects with. */
  async start(): Promise<void> {
    const { channel, clock, directory } = this.#components
    const { self } = this.#init
    this.#life = Math.max(clock.now(), (channel.state.members.get(self)?.life ?? 0) + 1)
    this.#state = 'open'
    const started = clock.monotonic()
    for (const peer of channel.state.members.keys()) {
      this.#silentSince.set(peer, started)
      this.#look(peer)
    }
    const look = ({ id }: { id: PeerId }): void => {
      this.#look(id)
      this.#membersChanged()
    }
    this.#ends = [
      directory.events.on('up', look),
      directory.events.on('suspect', look),
      directory.events.on('down', look),
      channel.events.on('changed', ({ kinds, publisher }) => {
        // What it says is a sign of life, where nothing else is known of it.
        this.#silentSince.set(publisher, clock.monotonic())
        this.#look(publisher)
        this.#hearing.answer()
        if (kinds.has('member')) this.#membersChanged()
        else if (this.#isWaiting || kinds.has('slots')) this.wake()
      })
    ]
    await this.#say(true)
    this.#joinedAt = clock.monotonic()
    this.#timer = every(clock, TICK_MS, () => this.wake())
    this.#introduce().catch((error: unknown) => this.#failed(error))
    this.wake()
  }

  /**
   * Two that join at once both hear after they have said so: at least one of them hears of the other, and waits for its
   * answer before it takes anything.
   */
  async #introduce(): Promise<void> {
    await this.#init.hear()
    if (this.#state === 'open') this.#question = await this.#hearing.ask()
    this.wake()
  }

  /** Gives all its slots back: nothing is handed over from here on. What was said before is on disk. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    const wasOpen = this.#state === 'open'
    this.#state = 'stopped'
    this.#timer?.cancel()
    for (const end of this.#ends.splice(0)) end()
    this.#active = new Set()
    await this.#running
    if (!wasOpen) return
    try {
      await this.#components.acknowledgements.flush()
      await this.#bequeath()
      await this.#say(false)
    } catch (error) {
      if (!isSkeinError(error)) throw error
      this.#components.logger.warn({ err: error }, 'a group was left without a word: others wait')
    }
  }

  /** To be given to another member, when nothing of it is in flight any more. */
  evict(slot: number): void {
    if (!this.#active.has(slot) || this.isAlone) return
    this.#evicted.add(slot)
    this.wake()
  }

  /** Nothing of the slot is with a consumer any more: it may wait for nothing else before it goes to another member. */
  idle(slot: number): void {
    if (this.#draining.has(slot)) this.wake()
  }

  /** This node takes nothing from members that want to be rid of slots, or does so again. */
  setFull(full: boolean): void {
    if (this.#full === full || this.#state !== 'open') return
    this.#full = full
    this.#say(true).catch((error: unknown) => {
      if (!isSkeinError(error)) throw error
    })
  }

  /** Every member that is or was, this node included. */
  members(): Map<PeerId, MemberView> {
    const { channel, clock, directory } = this.#components
    const now = clock.monotonic()
    const views = new Map<PeerId, MemberView>()
    for (const [peer, { full, joined, life }] of channel.state.members) {
      const signs = {
        joined,
        up: isUp(directory.get(peer)?.state),
        met: this.#met.has(peer),
        silentSince: this.#silentSince.get(peer) ?? now
      }
      if (peer !== this.#init.self)
        views.set(peer, { life, full, standing: standingOf(signs, now) })
    }
    if (this.#state === 'open') {
      views.set(this.#init.self, { life: this.#life, full: this.#full, standing: 'live' })
    }
    return views
  }

  /** Something that counts for the slots may have changed. */
  wake(): void {
    if (this.#state !== 'open') return
    this.#settle()
    this.#due = true
    this.#running ??= this.#run()
  }

  get #isWaiting(): boolean {
    return this.#takeover.isWaiting || !this.#mayClaim
  }

  /** Has this node heard of all members, and they of it? */
  get #mayClaim(): boolean {
    const isLate = this.#components.clock.monotonic() >= this.#joinedAt + ANSWER_MS
    return isLate || this.#takeover.isHeard(this.#question)
  }

  /** Other members that are at work or may be. */
  #others(): PeerId[] {
    return [...this.members()]
      .filter(([peer, { standing }]) => peer !== this.#init.self && standing !== 'ended')
      .map(([peer]) => peer)
  }

  /** Gives its slots to those to whom they are due without it: who is given one need not ask for it. */
  async #bequeath(): Promise<void> {
    const { channel } = this.#components
    const { self } = this.#init
    const members = this.members()
    const live = this.#live(members).filter((peer) => peer !== self)
    const table = channel.state.slots.copy()
    let gives = false
    for (const [slot, tenure] of table.entries()) {
      const owner = desiredOwner(slot, live)
      const life = owner === undefined ? undefined : members.get(owner)?.life
      if (tenure === undefined || owner === undefined || life === undefined) continue
      if (!this.#isOwn(tenure)) continue
      gives = table.put(slot, { epoch: tenure.epoch + 1, owner, life }) || gives
    }
    if (!gives) return
    await this.#hearing.tell()
    await channel.say('slots', encodeSlots(table))
  }

  #isOwn({ life, owner }: Tenure): boolean {
    return owner === this.#init.self && life === this.#life
  }

  #live(members: ReadonlyMap<PeerId, MemberView>): PeerId[] {
    return [...members].filter(([, { standing }]) => standing === 'live').map(([peer]) => peer)
  }

  #look(peer: PeerId): void {
    const { directory } = this.#components
    if (isUp(directory.get(peer)?.state)) this.#met.add(peer)
  }

  #membersChanged(): void {
    this.#components.acknowledgements.membersChanged()
    this.wake()
  }

  async #say(joined: boolean): Promise<void> {
    const said = { life: this.#life, joined, full: this.#full }
    await this.#components.channel.say('member', encodeMembership(said))
  }

  /** Brings what is handed over here in line with who has what. */
  #settle(): void {
    const { slots } = this.#components.channel.state
    const active = new Set<number>()
    for (const [slot, tenure] of slots.entries()) {
      if (tenure === undefined) continue
      if (!this.#isOwn(tenure)) this.#lose(slot, tenure.epoch)
      else if (this.#isHeld(slot, tenure) && !this.#draining.has(slot)) active.add(slot)
    }
    const before = this.#active
    this.#active = active
    const taken = new Set([...active].filter((slot) => !before.has(slot)))
    const given = new Set([...before].filter((slot) => !active.has(slot)))
    if (given.size > 0) this.#init.onGiven(given)
    if (taken.size > 0) this.#taken(taken)
  }

  #isHeld(slot: number, { epoch }: Tenure): boolean {
    if (this.#held.get(slot) === epoch) return true
    if (!this.#takeover.isClear(slot, epoch)) return false
    this.#held.set(slot, epoch)
    return true
  }

  #lose(slot: number, epoch: number): void {
    this.#takeover.forget(slot, epoch)
    this.#held.delete(slot)
    this.#evicted.delete(slot)
    this.#kept.delete(slot)
  }

  #taken(slots: ReadonlySet<number>): void {
    const now = this.#components.clock.monotonic()
    const { self } = this.#init
    const ids = this.#live(this.members())
    for (const slot of slots) {
      if (desiredOwner(slot, ids) !== self) this.#kept.set(slot, now + KEEP_MS)
    }
    this.#init.onTaken(slots)
  }

  /** One look after the other while something may have changed. */
  async #run(): Promise<void> {
    try {
      while (this.#due && this.#state === 'open') {
        this.#due = false
        await this.#act(this.#plan())
        await this.#takeover.ask()
      }
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#running = undefined
    }
  }

  #failed(error: unknown): void {
    if (!isSkeinError(error)) throw error
    this.#components.logger.debug({ err: error }, 'slots of a group cannot change hands yet')
  }

  #plan(): Assignment {
    const { channel, clock } = this.#components
    const { isBusy, self } = this.#init
    const now = clock.monotonic()
    for (const [slot, until] of this.#kept) if (until <= now) this.#kept.delete(slot)
    const plan = assign({
      self,
      life: this.#life,
      table: channel.state.slots,
      members: this.members(),
      isBusy,
      evicted: this.#evicted,
      kept: new Set(this.#kept.keys()),
      mayClaim: this.#mayClaim
    })
    this.#draining = plan.draining
    this.#settle()
    return plan
  }

  async #act({ claims, releases }: Assignment): Promise<void> {
    if (claims.size === 0 && releases.size === 0) return
    const { acknowledgements, channel } = this.#components
    // Whoever gets a slot reads what was done of it first.
    if (releases.size > 0) {
      await acknowledgements.flush()
      await this.#hearing.tell()
    }
    const table = channel.state.slots.copy()
    const taken = changed(table, claims)
    const given = changed(table, releases)
    if (taken.size === 0 && given.size === 0) return
    this.#takeover.claim(taken)
    try {
      await channel.say('slots', encodeSlots(table))
    } catch (error) {
      this.#takeover.unclaim(taken)
      throw error
    }
    this.#settle()
  }
}

/** Puts into the table what it does not know better by now; those it put. */
function changed(
  table: SlotTable,
  changes: ReadonlyMap<number, Tenure>
): ReadonlyMap<number, Tenure> {
  const put = new Map<number, Tenure>()
  for (const [slot, tenure] of changes) {
    // Somebody else may have taken it meanwhile, who would not hear of it in time.
    if ((table.get(slot)?.epoch ?? 0) !== tenure.epoch - 1) continue
    if (table.put(slot, tenure)) put.set(slot, tenure)
  }
  return put
}

function isUp(state: string | undefined): boolean {
  return state === 'up' || state === 'suspect'
}
