import type { Client } from 'aedes'
import { isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { SkeinNode, Subscription } from '../../node/contract.ts'
import { Feed } from './feed.ts'
import type { MqttFigures } from './metrics.ts'
import { Outlet } from './outlet.ts'
import type { Source } from './publisher.ts'
import type { RetainedValues } from './retained.ts'
import { Session } from './session.ts'
import { type KeptFilter, KeptFilters, type Qos, nameOf } from './session-names.ts'
import { SharedGroups, parseShare } from './shared-groups.ts'

export interface SessionsComponents {
  readonly node: Pick<SkeinNode, 'deleteSubscription' | 'subscribe' | 'subscriptions'>
  readonly retained: Pick<RetainedValues, 'matching' | 'watch'>
  readonly logger: Logger
  readonly figures: MqttFigures
}

/** A topic filter with the QoS that is granted at most. */
export interface AskedFilter {
  readonly filter: string
  readonly qos: Qos
}

interface Owner {
  readonly client: Client
  readonly session: Session
  /** Resolves when nothing of the connection is left. */
  readonly left: Promise<void>
  readonly leave: () => void
}

/** The messages of a changed QoS begin so long before the oldest one that waits: clocks differ by that much, ms. */
const BEFORE_MS = 60_000
/** How long that one is looked for, ms. */
const LOOK_MS = 1_000

/** How the durable subscriptions of sessions are opened: MQTT knows neither dead letters nor repeats in a connection. */
const DURABLE = {
  ack: 'manual',
  maxDeliveries: 0,
  ackTimeoutMs: LIMITS.mqttAckTimeoutMs
} as const

/** The sessions of MQTT clients, by client id: one connection each, the last one that came. */
export class Sessions {
  readonly #components: SessionsComponents
  readonly #kept = new KeptFilters()
  readonly #shared: SharedGroups
  readonly #owners = new Map<string, Owner>()
  /** Of persistent sessions without a connection, what only memory holds; the one left last is the last. */
  readonly #idle = new Map<string, Session>()

  constructor(components: SessionsComponents) {
    this.#components = components
    this.#shared = new SharedGroups(components.node)
  }

  /** Reads which sessions there are. */
  async load(): Promise<void> {
    await this.#kept.load(this.#components.node)
  }

  /** Of a client that has entered and not left. */
  of(client: Source): Session | undefined {
    const owner = this.#owners.get(client.id)
    return owner?.client === client ? owner.session : undefined
  }

  /** Gives a client its session. A connection that has it now is closed, and waited for. */
  async enter(client: Client): Promise<void> {
    const { id } = client
    for (let owner; (owner = this.#owners.get(id)) !== undefined;) {
      if (!owner.client.closed) this.#components.figures.closed('taken over')
      owner.client.close()
      await owner.left
    }
    if (client.closed) return
    const session = this.#sessionOf(client)
    session.connect((onRoom) => new Outlet(client, onRoom))
    let leave = (): void => {}
    const left = new Promise<void>((resolve) => {
      leave = resolve
    })
    this.#owners.set(id, { client, session, left, leave })
  }

  /** A connection is gone. */
  async leave(client: Client): Promise<void> {
    const owner = this.#owners.get(client.id)
    if (owner?.client !== client) return
    const { session } = owner
    try {
      await session.disconnect()
    } finally {
      this.#owners.delete(client.id)
      if (session.isPersistent && !session.isForgettable) this.#remember(session)
      owner.leave()
    }
  }

  /** The filters that a session has, before its client asks for any. */
  filtersOf(client: Pick<Client, 'id'>): AskedFilter[] {
    const groups = this.#owners.get(client.id)?.session.groups ?? new Map<string, Qos>()
    return [
      ...this.#kept.of(client.id).map(({ filter, qos }) => ({ filter, qos })),
      ...[...groups].map(([filter, qos]) => ({ filter, qos }))
    ]
  }

  /** Opens what a session has. Rejects with what keeps a subscription from opening. */
  async resume(client: Client): Promise<void> {
    const session = this.of(client)
    if (session === undefined) return
    for (const asked of this.filtersOf(client)) {
      if (session.outlet === undefined) return
      await session.inTurn(asked.filter, () => this.#feed(session, asked))
      session.feeds.get(asked.filter)?.start(session)
    }
  }

  /**
   * Registers a topic filter of a client; what it brings begins with `begin`. Resolves to false where it is refused.
   * Rejects with ERR_STOPPED.
   */
  async subscribe(client: Client, asked: AskedFilter): Promise<boolean> {
    const session = this.of(client)
    if (session === undefined) return false
    const { logger } = this.#components
    const fields = { client: client.id, filter: asked.filter }
    try {
      const isNew = !session.feeds.has(asked.filter)
      if (isNew && !this.#hasRoom(session)) {
        logger.warn(fields, 'an MQTT client, or all together, have as many filters as they may')
        return false
      }
      await session.inTurn(asked.filter, () => this.#feed(session, asked))
      return true
    } catch (error) {
      if (isSkeinError(error, 'ERR_STOPPED')) throw error
      logger.warn({ ...fields, err: error }, 'a subscription of an MQTT client was refused')
      return false
    }
  }

  /** The client knows that it is subscribed: last values first, then what comes. */
  begin(client: Client, filter: string): void {
    const session = this.of(client)
    const feed = session?.feeds.get(filter)
    if (session === undefined || feed === undefined) return
    if (filter.startsWith('$')) {
      feed.start(session)
      return
    }
    session.sendRetained(filter, feed).catch((error: unknown) => {
      if (!feed.isStopped) this.#failed(session, filter, error)
    })
  }

  /** Forgets topic filters of a client, with what waits for it. */
  async unsubscribe(client: Client, filters: readonly string[]): Promise<void> {
    const session = this.of(client)
    if (session === undefined || client.closed) return
    await Promise.all(
      filters.map((filter) =>
        session.inTurn(filter, async () => {
          const feed = session.feeds.get(filter)
          session.feeds.delete(filter)
          session.groups.delete(filter)
          await feed?.stop()
          await this.#forget(client.id, filter)
        })
      )
    )
  }

  /** Forgets a session that a client does not want to go on with. */
  async discard(client: Pick<Client, 'id'>): Promise<void> {
    this.#idle.delete(client.id)
    for (const { filter } of this.#kept.of(client.id)) await this.#forget(client.id, filter)
  }

  /** Resolves when all connections are gone. */
  async left(): Promise<void> {
    await Promise.all([...this.#owners.values()].map(({ left }) => left))
  }

  /** For one filter more. */
  #hasRoom({ feeds, isPersistent }: Session): boolean {
    if (feeds.size >= LIMITS.mqttFilters) return false
    return !isPersistent || this.#kept.size < LIMITS.mqttKeptFilters
  }

  #sessionOf(client: Client): Session {
    const idle = this.#idle.get(client.id)
    if (!client.clean && idle !== undefined) {
      this.#idle.delete(client.id)
      return idle
    }
    return new Session(this.#components, { clientId: client.id, isPersistent: !client.clean })
  }

  #remember(session: Session): void {
    this.#idle.set(session.clientId, session)
    if (this.#idle.size <= LIMITS.mqttSessions) return
    for (const [oldest] of this.#idle) {
      this.#idle.delete(oldest)
      return
    }
  }

  /** Gives a session the feed of a filter, opened and not begun, where it has none with that QoS. */
  async #feed(session: Session, asked: AskedFilter): Promise<void> {
    const { filter, qos } = asked
    const feed = session.feeds.get(filter)
    if (feed?.qos === qos) return
    if (feed !== undefined && feed.name === undefined) {
      feed.qos = qos
      if (session.groups.has(filter)) session.groups.set(filter, qos)
      return
    }
    const opened = await this.#open(session, asked, feed)
    // Its client went while it was opened: what is registered stays.
    if (session.outlet?.isOpen !== true) {
      await opened.stop()
      return
    }
    session.feeds.set(filter, opened)
  }

  async #open(session: Session, { filter, qos }: AskedFilter, before?: Feed): Promise<Feed> {
    const { isPersistent } = session
    const onFailed = (error: unknown): void => this.#failed(session, filter, error)
    const share = parseShare(filter)
    if (share !== undefined) {
      const { subscription, leave: close } = await this.#shared.join(share)
      if (isPersistent) session.groups.set(filter, qos)
      return new Feed({ subscription, qos, name: undefined, close, onFailed })
    }
    if (!isPersistent) {
      const subscription = await this.#ready(this.#components.node.subscribe(filter))
      return new Feed({
        subscription,
        qos,
        name: undefined,
        close: () => subscription.stop(),
        onFailed
      })
    }
    return this.#openDurable(session, { filter, qos }, before)
  }

  async #openDurable(session: Session, { filter, qos }: AskedFilter, before?: Feed): Promise<Feed> {
    const { clientId } = session
    const name = nameOf(clientId, filter, qos)
    const kept = this.#kept.find(clientId, filter)
    const isNew = kept === undefined || kept.name === name
    const from = isNew || before?.isUpToDate === true ? 'now' : await this.#oldest(kept, before)
    const subscription = await this.#ready(
      this.#components.node.subscribe(filter, { ...DURABLE, durable: name, from })
    )
    if (kept !== undefined && !isNew) {
      await before?.stop()
      await this.#forget(clientId, filter)
    }
    this.#kept.add(clientId, { filter, qos, name })
    return new Feed({
      subscription,
      qos,
      name,
      close: () => subscription.stop(),
      onFailed: (error) => this.#failed(session, filter, error)
    })
  }

  /** When what waits at a durable subscription, which is no more consumed then, began. */
  async #oldest({ filter, name }: KeptFilter, feed: Feed | undefined): Promise<Date> {
    const now = Date.now()
    await feed?.stop()
    const subscription = await this.#ready(
      this.#components.node.subscribe(filter, { ...DURABLE, durable: name })
    )
    try {
      const isBehind = subscription.status().lag > 0
      const [message] = await subscription.pull(1, isBehind ? LOOK_MS : 0)
      return new Date((message?.time.getTime() ?? now) - BEFORE_MS)
    } finally {
      await subscription.stop()
    }
  }

  async #ready(subscription: Subscription): Promise<Subscription> {
    try {
      await subscription.ready
      return subscription
    } catch (error) {
      await subscription.stop()
      throw error
    }
  }

  /** Deletes the durable subscription of a filter, where there is one. */
  async #forget(clientId: string, filter: string): Promise<void> {
    const kept = this.#kept.find(clientId, filter)
    if (kept === undefined) return
    this.#kept.remove(clientId, filter)
    try {
      await this.#components.node.deleteSubscription(kept.name)
    } catch (error) {
      // Somebody deleted it by another door.
      if (!isSkeinError(error, 'ERR_SUBSCRIPTION_UNKNOWN')) throw error
    }
  }

  #failed(session: Session, filter: string, error: unknown): void {
    const { figures, logger } = this.#components
    if (session.outlet === undefined) return
    // With its node.
    if (isSkeinError(error, 'ERR_STOPPED')) {
      session.outlet.close()
      return
    }
    figures.closed('subscription failed')
    const fields = { err: error, client: session.clientId, filter }
    logger.warn(fields, 'a subscription of an MQTT client ended; its connection is closed')
    session.outlet.close()
  }
}
