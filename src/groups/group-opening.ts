import { type Clock, delay } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import type { SubscriptionLimits } from '../delivery/contract.ts'
import type { Interest, Interests } from '../delivery/interests.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Backfill } from '../replication/backfill.ts'
import type { Membership, Since } from '../replication/membership.ts'
import type { Sync } from '../replication/sync.ts'
import type { CursorState, Store } from '../store/contract.ts'
import type { ParsedFilter } from '../wire/topic.ts'
import { missingIn } from '../wire/vector.ts'
import type { GroupChannel } from './group-channel.ts'
import type { Place } from './group-lane.ts'
import { BASE_LOGS, type Definition, encodeDefinition, logKey } from './group-values.ts'

export interface GroupOpeningComponents {
  readonly store: Store
  readonly interests: Pick<Interests, 'channelsOf' | 'hold'>
  readonly membership: Pick<Membership, 'has'>
  readonly backfill: Pick<Backfill, 'fill'>
  readonly sync: Pick<Sync, 'isPending' | 'join' | 'neighbours' | 'open' | 'settled'>
  readonly clock: Clock
}

export interface GroupOpeningInit {
  readonly self: PeerId
  readonly name: string
  readonly filter: ParsedFilter
  readonly from: 'now' | 'earliest' | Date
  readonly tuning: SubscriptionLimits
  /** Members at most where it works only as a majority, else 0; undefined: as the group is, 0 where it is new. */
  readonly majority: number | undefined
}

/** Who just started waits so long for a neighbour, and for what all neighbours know of the group, ms. */
const NEIGHBOUR_MS = 500
const HEAR_MS = 10_000
const LOOK_MS = 25
/** How far off the age of a message may be after some hops, ms: what is not surely too old is handed over. */
const AGE_SLACK_MS = 2_000

/** What a group's members agree on before they work: it is read from the others, or made. */
export class GroupOpening {
  readonly #components: GroupOpeningComponents
  readonly #init: GroupOpeningInit
  readonly #channel: GroupChannel

  constructor(components: GroupOpeningComponents, init: GroupOpeningInit, channel: GroupChannel) {
    this.#components = components
    this.#init = init
    this.#channel = channel
  }

  /**
   * Registers the group on this node, and in the mesh where it is new. Resolves to what holds its channels; `interest`
   * is what holds them already. Rejects with ERR_SUBSCRIPTION_CONFLICT, and what `Publisher.publish` rejects with.
   */
  async register(interest: Interest | undefined): Promise<Interest> {
    await this.hear()
    const isNew = this.#channel.state.definition === undefined
    let held = interest
    if (isNew) held = await this.#create(held)
    const definition = this.#definition()
    try {
      this.#assertFits(definition)
    } catch (error) {
      held?.release()
      throw error
    }
    if (this.#isRegistered()) return held ?? this.#hold()
    held ??= this.#hold()
    if (!isNew || definition.since !== definition.createdAt) await this.#fill()
    await this.#register()
    return held
  }

  /**
   * An earlier definition came to be known: the group begins where that says. Resolves when what was not wanted here
   * before is. Rejects with ERR_SUBSCRIPTION_CONFLICT.
   */
  async redefine(interest: Interest | undefined): Promise<Interest> {
    this.#assertFits(this.#definition())
    const held = this.#hold()
    interest?.release()
    await this.#calm()
    await this.#fill()
    await this.#register()
    return held
  }

  /** Until what was asked for under the definition before has come: it says where logs begin here. */
  async #calm(): Promise<void> {
    const { clock, interests, sync } = this.#components
    const until = clock.monotonic() + HEAR_MS
    while (interests.channelsOf(this.#init.filter).some((channel) => sync.isPending(channel))) {
      if (clock.monotonic() >= until) return
      await delay(clock, LOOK_MS)
    }
  }

  /** Fetches what the group wants of its channels and this node did not. */
  async #fill(): Promise<void> {
    const { backfill, interests } = this.#components
    for (const channel of interests.channelsOf(this.#init.filter)) {
      await backfill.fill(channel, this.#since())
    }
  }

  async #register(): Promise<void> {
    const { clock, interests, store } = this.#components
    const { filter, name, tuning } = this.#init
    const cursors = new Map<string, CursorState>()
    for (const channel of interests.channelsOf(filter)) {
      const { from: offset } = await this.firstPlaceOf(channel)
      cursors.set(channel, { offset, acknowledged: [], handed: offset, attempts: [] })
    }
    const options = { ...tuning, group: true, since: this.#since() }
    await store.register({ name, filter: filter.filter, createdAt: clock.now(), options }, cursors)
  }

  /** Where this node goes on reading a channel. */
  async placeOf(channel: string): Promise<Place> {
    const cursor = (await this.#components.store.cursors(this.#init.name)).get(channel)
    const first = await this.firstPlaceOf(channel)
    return cursor === undefined ? first : { ...first, from: cursor.offset }
  }

  /** Where the group begins in a channel. */
  async firstPlaceOf(channel: string): Promise<Place> {
    const { store } = this.#components
    const since = this.#since()
    const notBefore = since === 'all' ? 0 : since
    const { first } = store.journal(channel)
    const from = since === 'all' ? first : await store.seekJournal(channel, since)
    return { from, notBefore }
  }

  #definition(): Definition {
    const { definition } = this.#channel.state
    if (definition !== undefined) return definition
    throw new SkeinError('ERR_INTERNAL', `the group '${this.#init.name}' has no definition`)
  }

  #assertFits(definition: Definition): void {
    const { filter, majority, name } = this.#init
    if (definition.filter !== filter.filter) throw conflict(name, definition.filter, filter.filter)
    if (majority === undefined || majority === definition.majority) return
    const registered = partitionText(definition.majority)
    throw new SkeinError(
      'ERR_SUBSCRIPTION_CONFLICT',
      `the group '${name}' was created with onPartition ${registered}, not ${partitionText(majority)}; leave the option out or use another name`,
      { details: { name, registered, asked: partitionText(majority) } }
    )
  }

  /** From when on the group wants its channels, by this node's clock. */
  #since(): Since {
    const { createdAt, since } = this.#definition()
    if (since === 'all') return 'all'
    return since === createdAt ? Math.floor(this.#channel.definedAt) - AGE_SLACK_MS : since
  }

  #hold(): Interest {
    return this.#components.interests.hold(this.#init.filter, this.#since())
  }

  #isRegistered(): boolean {
    const { name } = this.#init
    return this.#components.store.registrations().some((known) => known.name === name)
  }

  /** Neighbours are asked for what they hold of the group's channel now, and it is fetched. */
  async hear(): Promise<void> {
    const { clock, sync } = this.#components
    const start = clock.monotonic()
    for (const neighbour of sync.open()) neighbour.ask()
    for (;;) {
      const waited = clock.monotonic() - start
      if (this.#isHeard || waited >= (sync.neighbours === 0 ? NEIGHBOUR_MS : HEAR_MS)) return
      await delay(clock, LOOK_MS)
    }
  }

  get #isHeard(): boolean {
    const { store, sync } = this.#components
    const { channel } = this.#channel
    return (
      sync.neighbours > 0 &&
      sync.settled &&
      !sync.isPending(channel) &&
      store.logs(channel).every((log) => missingIn(log).length === 0)
    )
  }

  async #create(interest: Interest | undefined): Promise<Interest> {
    const { clock, interests, membership, sync } = this.#components
    const { filter, from, majority = 0, self } = this.#init
    const now = clock.now()
    const since: Since = from === 'earliest' ? 'all' : from === 'now' ? now : from.getTime()
    const fresh = interests.channelsOf(filter).filter((channel) => !membership.has(channel))
    const held = interest ?? interests.hold(filter, since)
    if (from === 'now') await Promise.all(fresh.map((channel) => sync.join(channel)))
    const createdAt = from === 'now' ? now : clock.now()
    const base = from === 'now' ? this.#base() : new Map<string, number>()
    const definition = { filter: filter.filter, createdAt, creator: self, since, majority, base }
    await this.#channel.say('definition', encodeDefinition(definition))
    return held
  }

  /** Ends of all logs: what a group that begins now does not want. */
  #base(): Map<string, number> {
    const { interests, store } = this.#components
    const logs = interests
      .channelsOf(this.#init.filter)
      .flatMap((channel) => store.logs(channel))
      .toSorted((a, b) => b.timeMs - a.timeMs)
      .slice(0, BASE_LOGS)
    return new Map(
      logs
        .map((log): [string, number] => {
          const last = log.islands.at(-1)?.to ?? 0
          return [logKey(log), Math.max(log.head, last, log.expected)]
        })
        .filter(([, head]) => head > 0)
    )
  }
}

function partitionText(majority: number): string {
  return majority === 0 ? `'available'` : `{ majority: ${majority} }`
}

export function conflict(name: string, registered: string, asked: string): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_CONFLICT',
    `the group '${name}' is registered with the filter '${registered}', not '${asked}'; use that filter or another name`,
    { details: { name, registered, asked } }
  )
}
