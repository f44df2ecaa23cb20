import type { Transport } from '../mesh/contract.ts'
import type { Membership, Since } from '../replication/membership.ts'
import type { Store } from '../store/contract.ts'
import type { ParsedFilter } from '../wire/topic.ts'

export interface InterestsComponents {
  readonly store: Pick<Store, 'events' | 'channels'>
  readonly transport: Pick<Transport, 'events' | 'peers'>
  readonly membership: Pick<Membership, 'hold'>
}

export interface InterestsInit {
  /** A wildcard could not join one more channel, and goes on without it. */
  readonly onLimit: (filter: string, channel: string) => void
}

/** Somebody's wish for the channels of a filter, those that exist and those to come. */
export interface Interest {
  readonly filter: ParsedFilter
  /** From when on they are wanted. */
  readonly since: Since
  /** When that was said, where it was in an earlier life: local wall clock, ms. */
  readonly rememberedAt: number | undefined
  /** Lets go of its channels. */
  release(): void
}

interface HeldInterest extends Interest {
  /** What lets go of each channel that was joined for it. */
  readonly held: Map<string, () => void>
}

/** Joins the channels that somebody here wants; for wildcards, whenever one shows up on disk or at a neighbour. */
export class Interests {
  readonly #components: InterestsComponents
  readonly #init: InterestsInit
  readonly #wildcards = new Set<HeldInterest>()
  readonly #cleanup: (() => void)[] = []
  readonly #listeners = new Set<(channel: string) => void>()

  constructor(components: InterestsComponents, init: InterestsInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { store, transport } = this.#components
    this.#cleanup.push(
      store.events.on('journal', ({ channel }) => this.#discover(channel)),
      transport.events.on('channel:seen', ({ channel }) => this.#discover(channel))
    )
  }

  stop(): void {
    for (const undo of this.#cleanup.splice(0)) undo()
  }

  /** Calls back for every channel that shows up, after it was joined for those who want it. */
  onChannel(listener: (channel: string) => void): void {
    this.#listeners.add(listener)
  }

  /** The channels that exist and match: on this node's disk, and as far as its neighbours said. */
  channelsOf(filter: ParsedFilter): string[] {
    if (filter.channel !== undefined) return [filter.channel]
    const { store, transport } = this.#components
    const known = new Set(store.channels())
    for (const peer of transport.peers()) for (const channel of peer.advertised) known.add(channel)
    return [...known].filter((channel) => filter.matchesChannel(channel))
  }

  /** Joins the channels of a filter. Throws ERR_TOO_MANY_CHANNELS where the filter names its one channel. */
  hold(filter: ParsedFilter, since: Since, rememberedAt?: number): Interest {
    const held = new Map<string, () => void>()
    const interest: HeldInterest = {
      filter,
      since,
      rememberedAt,
      held,
      release: () => {
        this.#wildcards.delete(interest)
        for (const release of held.values()) release()
        held.clear()
      }
    }
    for (const channel of this.channelsOf(filter)) this.#join(interest, channel)
    if (filter.channel === undefined) this.#wildcards.add(interest)
    return interest
  }

  #discover(channel: string): void {
    for (const interest of this.#wildcards) {
      if (interest.filter.matchesChannel(channel)) this.#join(interest, channel)
    }
    for (const listener of this.#listeners) listener(channel)
  }

  #join({ filter, held, rememberedAt, since }: HeldInterest, channel: string): void {
    if (held.has(channel)) return
    try {
      held.set(channel, this.#components.membership.hold(channel, since, rememberedAt))
    } catch (error) {
      if (filter.channel !== undefined) throw error
      this.#init.onLimit(filter.filter, channel)
    }
  }
}
