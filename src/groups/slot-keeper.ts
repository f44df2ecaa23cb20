import { type Clock, type Timer, every } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Receipt } from '../replication/batch.ts'
import type { EphemeralReceiver, EphemeralSender } from '../replication/ephemeral.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import { type Assignment, assign, type MemberView } from './assignment.ts'
import type { GroupChannel } from './group-channel.ts'
import { encodeSlots, type ValueKind } from './group-values.ts'
import { Hearing } from './hearing.ts'
import type { Position } from './heard.ts'
import { liveOf, Roster } from './roster.ts'
import type { SlotTable, Tenure } from './slot-table.ts'
import { desiredOwner } from './slots.ts'
import { ANSWER_MS, Takeover } from './takeover.ts'
import { Majority } from './majority.ts'

export interface SlotKeeperComponents {
  readonly channel: GroupChannel
  readonly directory: Pick<PeerDirectory, 'events' | 'get'>
  readonly acknowledgements: Pick<Acknowledgements, 'flush' | 'membersChanged'>
  readonly sender: Pick<EphemeralSender, 'send'>
  readonly receiver: Pick<EphemeralReceiver, 'events'>
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
  /** The group has as many members as it may have, and this node came last. */
  readonly onSurplus: () => void
}

/** How often it is looked after what takes time, ms. */
const TICK_MS = 250
/** A slot that came from a member that wanted to be rid of it stays so long, ms. */
const KEEP_MS = 60_000

/** One node's membership in one group: says that it is there, takes the slots that are due to it, gives away others. */
export class SlotKeeper {
  readonly #components: SlotKeeperComponents
  readonly #init: SlotKeeperInit
  readonly #roster: Roster
  readonly #hearing: Hearing
  readonly #takeover: Takeover
  /** Where the group works only as a majority. */
  #majority: Majority | undefined
  /** Slots that are this node's to hand over, unless they are to go: with the epoch since when. */
  readonly #held = new Map<number, number>()
  /** Slots whose messages are handed over here. */
  #active: ReadonlySet<number> = new Set()
  #draining: ReadonlySet<number> = new Set()
  readonly #evicted = new Set<number>()
  /** Slots that this node gave away: with the epoch since when it had had them. */
  readonly #given = new Map<number, number>()
  /** Monotonic ms until which each stays. */
  readonly #kept = new Map<number, number>()
  #joinedAt = Infinity
  /** Asked after this node had said that it joins, and had heard of those who said so before it. */
  #question: Position | undefined
  #state: 'new' | 'open' | 'stopped' = 'new'
  #unsubscribe: (() => void) | undefined
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #due = false
  #wasFenced = false

  constructor(components: SlotKeeperComponents, init: SlotKeeperInit) {
    const { channel, clock } = components
    this.#components = components
    this.#init = init
    this.#roster = new Roster(components, {
      self: init.self,
      onChange: () => this.#membersChanged()
    })
    this.#hearing = new Hearing(components, {
      self: init.self,
      mayAnswer: () => this.#majority?.quorum.mayAnswer ?? true
    })
    this.#takeover = new Takeover(
      { clock, hearing: this.#hearing },
      {
        others: () => this.#roster.others(),
        quorum: () => this.#majority?.quorum,
        // So that all know of it, whoever gave the slots.
        confirm: async () => {
          await channel.say('slots', encodeSlots(channel.state.slots))
        }
      }
    )
  }

  /** Is the slot this node's, to hand over its messages? */
  owns(slot: number): boolean {
    return this.#active.has(slot)
  }

  get size(): number {
    return this.#active.size
  }

  /** No other member is up, so that nobody is waited for. */
  get isAlone(): boolean {
    return this.#majority === undefined && this.#roster.isAlone
  }

  /** A group with a majority does not hand over without one. */
  get isFenced(): boolean {
    return this.#majority?.quorum.isWhole === false
  }

  /** Greater at each change of a slot's owner, where the group works as a majority. */
  fenceOf(slot: number): number | undefined {
    if (this.#majority === undefined) return undefined
    const tenure = this.#components.channel.state.slots.get(slot)
    return tenure !== undefined && this.#isOwn(tenure) ? tenure.epoch : undefined
  }

  /** Was the slot taken from this node, which had it with that fence? */
  hasLost(slot: number, fence: number | undefined): boolean {
    return this.fenceOf(slot) !== fence && this.#given.get(slot) !== fence
  }

  /** Says that this node is a member. Rejects with what `Publisher.publish` rejects with. */
  async start(): Promise<void> {
    const { channel, clock } = this.#components
    const { definition } = channel.state
    const wasMember = this.#roster.begin()
    this.#state = 'open'
    if (definition !== undefined && definition.majority > 0) {
      this.#majority = this.#createMajority(definition.majority, wasMember)
    }
    this.#unsubscribe = channel.events.on('changed', ({ kinds, publisher }) => {
      this.#said(kinds, publisher)
    })
    await this.#roster.say()
    this.#majority?.pulse.start()
    this.#joinedAt = clock.monotonic()
    this.#timer = every(clock, TICK_MS, () => this.#tick())
    this.#introduce().catch((error: unknown) => this.#failed(error))
    this.wake()
  }

  #createMajority(size: number, wasMember: boolean): Majority {
    const { life } = this.#roster
    const onBeat = (): void => this.#beat()
    const init = { self: this.#init.self, life, size, wasMember, onBeat }
    const majority = new Majority(this.#components, init)
    this.#roster.follow(majority.quorum)
    return majority
  }

  #said(kinds: ReadonlySet<ValueKind>, publisher: PeerId): void {
    this.#roster.heard(publisher)
    if (kinds.has('slots')) this.#majority?.quorum.note(publisher)
    this.#hearing.answer()
    if (kinds.has('member')) this.#membersChanged()
    else if (this.#isWaiting || kinds.has('slots')) this.wake()
  }

  #tick(): void {
    this.#beat()
    this.wake()
  }

  /** What waits for a majority may go on. */
  #beat(): void {
    this.#majority?.look()
    this.#hearing.answer()
    if (this.#takeover.isWaiting || this.isFenced !== this.#wasFenced) this.wake()
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
    this.#unsubscribe?.()
    this.#majority?.stop()
    this.#roster.end()
    this.#active = new Set()
    await this.#running
    if (!wasOpen) return
    try {
      await this.#components.acknowledgements.flush()
      await this.#bequeath()
      await this.#roster.say()
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
    if (this.#state !== 'open' || !this.#roster.setFull(full)) return
    this.#roster.say().catch((error: unknown) => {
      if (!isSkeinError(error)) throw error
    })
  }

  members(): Map<PeerId, MemberView> {
    return this.#roster.members()
  }

  /** Resolves when so many members have read what was said as may not lose it: another one, or a majority. */
  async held(receipts: readonly Receipt[], timeoutMs: number): Promise<void> {
    if (this.#majority === undefined) await this.#components.channel.held(receipts, timeoutMs)
    else await this.#majority.held(receipts, timeoutMs)
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
    if (this.isFenced) return false
    const isLate = this.#components.clock.monotonic() >= this.#joinedAt + ANSWER_MS
    return (isLate && this.#majority === undefined) || this.#takeover.isHeard(this.#question)
  }

  /** Gives its slots to those to whom they are due without it: who is given one need not ask for it. */
  async #bequeath(): Promise<void> {
    const { channel } = this.#components
    const { self } = this.#init
    const members = this.members()
    const live = liveOf(members).filter((peer) => peer !== self)
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
    return owner === this.#init.self && life === this.#roster.life
  }

  #membersChanged(): void {
    this.#components.acknowledgements.membersChanged()
    if (this.#majority?.quorum.isSurplus === true) this.#init.onSurplus()
    this.wake()
  }

  /** Brings what is handed over here in line with who has what. */
  #settle(): void {
    const { slots } = this.#components.channel.state
    const { isFenced } = this
    this.#wasFenced = isFenced
    const active = new Set<number>()
    for (const [slot, tenure] of slots.entries()) {
      if (tenure === undefined) continue
      if (!this.#isOwn(tenure)) this.#lose(slot, tenure.epoch)
      else if (this.#isHeld(slot, tenure) && !this.#draining.has(slot) && !isFenced)
        active.add(slot)
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
    const ids = liveOf(this.members())
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
      life: this.#roster.life,
      table: channel.state.slots,
      members: this.members(),
      isBusy,
      evicted: this.#evicted,
      kept: new Set(this.#kept.keys()),
      mayClaim: this.#mayClaim
    })
    this.#draining = plan.draining
    this.#settle()
    if (this.#majority === undefined) return plan
    return this.isFenced ? NOTHING : { ...plan, claims: this.#reclaimed(plan) }
  }

  /** Where two took a slot at once, the one that has it takes it anew: the fence of a slot has one owner. */
  #reclaimed({ claims, releases }: Assignment): ReadonlyMap<number, Tenure> {
    const { slots } = this.#components.channel.state
    const all = new Map(claims)
    for (const [slot, tenure] of slots.entries()) {
      if (tenure === undefined || !this.#isOwn(tenure) || !slots.isContested(slot)) continue
      if (!releases.has(slot)) all.set(slot, { ...tenure, epoch: tenure.epoch + 1 })
    }
    return all
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
    for (const [slot, { epoch }] of given) this.#given.set(slot, epoch - 1)
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

const NOTHING: Assignment = { releases: new Map(), claims: new Map(), draining: new Set() }

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
