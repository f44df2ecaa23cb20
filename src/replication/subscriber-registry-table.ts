import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import { type ParsedFilter, parseFilter } from '../wire/topic.ts'
import type { SubscriptionFacts } from './subscriber-registry-rows.ts'

/** One durable subscription of one peer. */
export interface KnownSubscription extends SubscriptionFacts {
  readonly peerId: PeerId
  readonly name: string
  readonly parsed: ParsedFilter
}

/** Where in its publisher's logs a value stands. */
interface Place {
  readonly session: string
  readonly sequence: number
}

interface Value extends Place {
  /** Undefined where it was deleted. */
  readonly subscription: KnownSubscription | undefined
}

/**
 * The newest value of every subscription that was said to exist. Newest by the publisher's own order, so that it
 * does not matter in which order, or how often, records are put in.
 */
export class SubscriberTable {
  readonly #peers = new Map<PeerId, Map<string, Value>>()
  #values = 0
  /** Values that there was no room for. */
  refused = 0

  /** Subscriptions listed. */
  get size(): number {
    let size = 0
    for (const _ of this.all()) size++
    return size
  }

  /** Takes a value its publisher put at `place`; undefined = deleted. */
  put(peerId: PeerId, name: string, place: Place, facts: SubscriptionFacts | undefined): void {
    const names = this.#peers.get(peerId) ?? new Map<string, Value>()
    const known = names.get(name)
    if (known !== undefined && !isAfter(place, known)) return
    if (known === undefined && !this.#makeRoom(names)) {
      this.refused++
      return
    }
    if (known === undefined) this.#values++
    const subscription =
      facts === undefined
        ? undefined
        : { ...facts, peerId, name, parsed: parseFilter(facts.filter) }
    names.set(name, { ...place, subscription })
    this.#peers.set(peerId, names)
  }

  /** The subscriptions of one peer. */
  *of(peerId: PeerId): Generator<KnownSubscription> {
    for (const { subscription } of this.#peers.get(peerId)?.values() ?? []) {
      if (subscription !== undefined) yield subscription
    }
  }

  *all(): Generator<KnownSubscription> {
    for (const peerId of this.#peers.keys()) yield* this.of(peerId)
  }

  /** Deleted ones of the same peer give way. */
  #makeRoom(names: Map<string, Value>): boolean {
    const isFull = (): boolean =>
      names.size >= LIMITS.subscribersPerPeer || this.#values >= LIMITS.subscribers
    if (!isFull()) return true
    for (const [name, { subscription }] of names) {
      if (subscription !== undefined) continue
      names.delete(name)
      this.#values--
      if (!isFull()) return true
    }
    return false
  }
}

function isAfter(a: Place, b: Place): boolean {
  return a.session === b.session ? a.sequence > b.sequence : a.session > b.session
}
