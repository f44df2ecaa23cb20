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

/** Where this node's journals stood at some moment. */
interface Mark {
  /** Local wall clock, ms. */
  readonly at: number
  /** By channel: the offset of the next message. None for the many peers that subscribe to nothing. */
  next: Map<string, number> | undefined
}

/**
 * How far a peer's subscriptions are behind: what it announced last, and what came in here since in the channels
 * of the filter. What came in is counted, not how far the peer got with it, so the figure grows between two
 * announcements of a peer that is up, and for as long as one is off.
 */
export class SubscriberLag {
  readonly #components: SubscriberLagComponents
  /** When a peer announced itself. */
  readonly #heard = new Map<PeerId, Mark>()
  /** When a subscription began, of those that were never announced. */
  readonly #begun = new WeakMap<KnownSubscription, Mark>()

  constructor(components: SubscriberLagComponents) {
    this.#components = components
  }

  /** A peer announced its lags just now. */
  mark(peer: PeerEntry): void {
    const { clock, store, table } = this.#components
    let next: Map<string, number> | undefined
    for (const subscription of table.of(peer.id)) {
      for (const channel of this.#channelsOf(subscription)) {
        next ??= new Map()
        if (next.size < LIMITS.channels) next.set(channel, store.journal(channel).next)
      }
    }
    this.#remember(peer.id, { at: clock.now(), next })
  }

  /** Messages that the subscription is not done with. */
  async of(subscription: KnownSubscription): Promise<number> {
    const { name, peerId } = subscription
    const said = this.#components.directory.get(peerId)?.subscriptions
    let lag = said?.find((other) => other.name === name)?.lag
    const mark = this.#markOf(subscription, lag !== undefined)
    lag ??= 0
    for (const channel of this.#channelsOf(subscription)) lag += await this.#since(channel, mark)
    return lag
  }

  #markOf(subscription: KnownSubscription, isAnnounced: boolean): Mark {
    const { createdAt, peerId } = subscription
    const heard = this.#heard.get(peerId) ?? this.#lastSeen(peerId)
    // One that was not announced began later, or lagged less than all that were.
    if (heard !== undefined && (isAnnounced || createdAt <= heard.at)) return heard
    const begun = this.#begun.get(subscription) ?? { at: createdAt, next: undefined }
    this.#begun.set(subscription, begun)
    return begun
  }

  /** What a peer said before this node started is as old as its last sign of life. */
  #lastSeen(peerId: PeerId): Mark | undefined {
    const peer = this.#components.directory.get(peerId)
    if (peer === undefined) return undefined
    const mark = { at: peer.lastSeen, next: undefined }
    if (peer.state === 'down') this.#remember(peerId, mark)
    return mark
  }

  #remember(peerId: PeerId, mark: Mark): void {
    this.#heard.delete(peerId)
    this.#heard.set(peerId, mark)
    for (const oldest of this.#heard.keys()) {
      if (this.#heard.size <= LIMITS.knownPeers) break
      this.#heard.delete(oldest)
    }
  }

  /** Messages of the channel that came in since. The journal is searched once: where it stood does not change. */
  async #since(channel: string, mark: Mark): Promise<number> {
    const { store } = this.#components
    let from = mark.next?.get(channel)
    if (from === undefined) {
      from = await store.seekJournal(channel, mark.at)
      const next = (mark.next ??= new Map())
      if (next.size < LIMITS.channels) next.set(channel, from)
    }
    return Math.max(0, store.journal(channel).next - from)
  }

  /** Those of the filter that this node holds something of. */
  #channelsOf({ parsed }: KnownSubscription): readonly string[] {
    const { channel } = parsed
    const channels = this.#components.store.channels()
    if (channel !== undefined) return channels.includes(channel) ? [channel] : []
    return channels.filter((other) => parsed.matchesChannel(other))
  }
}
