import { SkeinError } from '../core/errors.ts'
import type { Registration, Store } from '../store/contract.ts'
import { parseFilter } from '../wire/topic.ts'
import type { SubscriptionStatus } from './contract.ts'
import type { Interests } from './interests.ts'
import { lagOf, whereOf } from './registration.ts'

export interface RegisteredComponents {
  readonly store: Pick<Store, 'registrations' | 'cursors' | 'journal'>
  readonly interests: Pick<Interests, 'channelsOf'>
}

/** What the store says of the durable subscriptions of this node, whether somebody consumes them or not. */
export class Registered {
  readonly #components: RegisteredComponents

  constructor(components: RegisteredComponents) {
    this.#components = components
  }

  find(name: string): Registration | undefined {
    return this.all().find((registration) => registration.name === name)
  }

  /** Work groups are registered beside them, and opened elsewhere. */
  all(): Registration[] {
    return this.#components.store.registrations().filter(({ options }) => options['group'] !== true)
  }

  /** Throws ERR_SUBSCRIPTION_CONFLICT where a work group has the name. */
  assertNoGroup(name: string): void {
    const { store } = this.#components
    const known = store.registrations().find((registration) => registration.name === name)
    if (known?.options['group'] !== true) return
    throw new SkeinError(
      'ERR_SUBSCRIPTION_CONFLICT',
      `'${name}' is a work group on this node; a durable subscription needs another name`,
      { details: { name } }
    )
  }

  /** Of one that nobody consumes. */
  async idleStatus(registration: Registration): Promise<SubscriptionStatus> {
    const { interests, store } = this.#components
    const cursors = await store.cursors(registration.name)
    const channels = interests.channelsOf(parseFilter(registration.filter))
    let lag = 0
    for (const channel of channels) lag += lagOf(cursors.get(channel), store.journal(channel))
    return {
      filter: registration.filter,
      durable: registration.name,
      open: false,
      inFlight: 0,
      lag,
      gaps: [],
      createdAt: new Date(registration.createdAt),
      channels,
      where: whereOf({}, registration)
    }
  }

  /** Least offset of all in a channel's journal; undefined where there is none. */
  async leastOffset(channel: string): Promise<number | undefined> {
    const { store } = this.#components
    let least: number | undefined
    for (const { name } of this.#readersOf(channel)) {
      const offset =
        (await store.cursors(name)).get(channel)?.offset ?? store.journal(channel).first
      least = Math.min(least ?? Infinity, offset)
    }
    return least
  }

  /** Those that were not done with what a channel's journal held below `first`, and how many messages that were. */
  async unreadBelow(
    channel: string,
    first: number
  ): Promise<{ subscription: string; messages: number }[]> {
    const unread: { subscription: string; messages: number }[] = []
    for (const { name } of this.#readersOf(channel)) {
      const cursor = (await this.#components.store.cursors(name)).get(channel)
      if (cursor === undefined || cursor.offset >= first) continue
      unread.push({ subscription: name, messages: first - cursor.offset })
    }
    return unread
  }

  #readersOf(channel: string): Registration[] {
    return this.#components.store
      .registrations()
      .filter(({ filter }) => parseFilter(filter).matchesChannel(channel))
  }
}
