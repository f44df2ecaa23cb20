import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Store } from '../store/contract.ts'
import type { PeerDirectory, PeerEntry } from './peer-directory.ts'
import type { KnownSubscription, SubscriberTable } from './subscriber-registry-table.ts'

export interface SubscriberLagComponents {
  readonly store: Pick<Store, 'channels' | 'journal' | 'seekJournal'>
  readonly directory: Pick<PeerDirectory, 'get'>
  readonly table: Pick<SubscriberTable, 'of'>
  readonly clock: Clock
}

/** Where this node's journals stood when a peer announced its lags. */
interface Mark {
  /** Local wall clock, ms. */
  readonly at: number
  /** By channel: the offset of the next message. */
  readonly next: ReadonlyMap<string, number>
}

/**
 * How far a peer's subscriptions are behind: what it announced last, and what came in here since in the channels
 * of the filter. What came in is counted, not how far the peer got with it, so the figure grows between two
 * announcements of a peer that is up, and for as long as one is off.
 */
export class SubscriberLag {
  readonly #components: SubscriberLagComponents
  readonly #marks = new Map<PeerId, Mark>()

  constructor(components: SubscriberLagComponents) {
    this.#components = components
  }

  /** A peer announced its lags just now. */
  mark(peer: PeerEntry): void {
    const { clock, store, table } = this.#components
    const next = new Map<string, number>()
    for (const subscription of table.of(peer.id)) {
      for (const channel of this.#channelsOf(subscription)) {
        if (next.size < LIMITS.channels) next.set(channel, store.journal(channel).next)
      }
    }
    this.#marks.delete(peer.id)
    this.#marks.set(peer.id, { at: clock.now(), next })
    for (const oldest of this.#marks.keys()) {
      if (this.#marks.size <= LIMITS.knownPeers) break
      this.#marks.delete(oldest)
    }
  }

  /** Messages that the subscription is not done with. */
  async of(subscription: KnownSubscription): Promise<number> {
    const { createdAt, name, peerId } = subscription
    const peer = this.#components.directory.get(peerId)
    const said = peer?.subscriptions.find((other) => other.name === name)
    const mark = this.#marks.get(peerId)
    const heardAt = mark?.at ?? peer?.lastSeen
    // One that was not announced began later, or lagged less than all that were.
    const isYounger = said === undefined && (heardAt === undefined || createdAt > heardAt)
    const from = isYounger || heardAt === undefined ? createdAt : heardAt
    let lag = said?.lag ?? 0
    for (const channel of this.#channelsOf(subscription)) {
      lag += await this.#since(channel, from, isYounger ? undefined : mark?.next.get(channel))
    }
    return lag
  }

  async #since(channel: string, ms: number, offset: number | undefined): Promise<number> {
    const { store } = this.#components
    const from = offset ?? (await store.seekJournal(channel, ms))
    return Math.max(0, store.journal(channel).next - from)
  }

  /** Those of the filter that this node holds something of. */
  #channelsOf({ parsed }: KnownSubscription): readonly string[] {
    const channels = this.#components.store.channels()
    return channels.filter((channel) => parsed.matchesChannel(channel))
  }
}
