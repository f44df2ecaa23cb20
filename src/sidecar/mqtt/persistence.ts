import { Readable } from 'node:stream'
import type { Client } from 'aedes'
import type { IncomingMessage, MqttPublisher } from './publisher.ts'
import type { AskedFilter, Sessions } from './sessions.ts'

export interface PersistenceComponents {
  readonly sessions: Sessions
  readonly publisher: Pick<MqttPublisher, 'publish'>
}

type ClientId = Pick<Client, 'id'>
type Acknowledged = { readonly messageId?: number | undefined; readonly cmd?: string }
type Subscribed = { readonly topic: string; readonly qos: AskedFilter['qos'] }

const nothing = (): Promise<void> => Promise.resolve()
const empty = (): Readable => Readable.from([])

/**
 * What the broker takes for its store, in terms of the node: subscriptions are the node's, messages wait at their
 * cursors, retained ones are in their channel. So most of it has nothing to do; a message that is stored here is a
 * QoS 2 one on its way in, and that is when it is published.
 */
export class MqttPersistence {
  readonly #components: PersistenceComponents

  constructor(components: PersistenceComponents) {
    this.#components = components
  }

  async setup(): Promise<void> {}

  async subscriptionsByClient(client: ClientId): Promise<Subscribed[]> {
    const { sessions } = this.#components
    return sessions.filtersOf(client).map(({ filter, qos }) => ({ topic: filter, qos }))
  }

  removeSubscriptions(client: Client, filters: readonly string[]): Promise<void> {
    return this.#components.sessions.unsubscribe(client, filters)
  }

  cleanSubscriptions(client: ClientId): Promise<void> {
    return this.#components.sessions.discard(client)
  }

  // ---- to the client ----

  /** What the client is to be told to forget; what it has not got comes by its subscriptions. */
  outgoingStream(client: Client): Readable {
    const released = this.#components.sessions.of(client)?.unacknowledged.released() ?? []
    return Readable.from(released.map((messageId) => ({ cmd: 'pubrel', messageId })))
  }

  async outgoingUpdate(client: Client, { cmd, messageId }: Acknowledged): Promise<void> {
    if (cmd !== 'pubrel' || messageId === undefined) return
    this.#components.sessions.of(client)?.unacknowledged.received(messageId)
  }

  async outgoingClearMessageId(client: Client, { messageId }: Acknowledged): Promise<void> {
    if (messageId === undefined) return
    this.#components.sessions.of(client)?.unacknowledged.complete(messageId)
  }

  // ---- from the client ----

  async incomingGetPacket(client: Client, { messageId = 0 }: Acknowledged): Promise<object> {
    const stored = this.#components.sessions.of(client)?.incoming.get(messageId)
    if (stored === undefined) throw new Error('no such packet')
    await stored
    return { messageId }
  }

  /** Resolves when the message is on disk; the client may send it again until then, and it is published once. */
  async incomingStorePacket(
    client: Client,
    packet: IncomingMessage & { readonly messageId?: number | undefined }
  ): Promise<void> {
    const { publisher, sessions } = this.#components
    const { messageId = 0 } = packet
    const incoming = sessions.of(client)?.incoming
    const before = incoming?.get(messageId)
    if (before !== undefined) return before
    const stored = publisher.publish(client, packet)
    incoming?.set(messageId, stored)
    try {
      await stored
    } catch (error) {
      incoming?.delete(messageId)
      throw error
    }
  }

  async incomingDelPacket(client: Client, { messageId = 0 }: Acknowledged): Promise<void> {
    this.#components.sessions.of(client)?.incoming.delete(messageId)
  }

  // ---- nothing to do ----

  readonly addSubscriptions = nothing
  readonly storeRetained = nothing
  readonly outgoingEnqueue = nothing
  readonly outgoingEnqueueCombi = nothing
  readonly cleanIncoming = nothing
  readonly putWill = nothing
  readonly delWill = nothing
  readonly streamWill = empty
  readonly createRetainedStream = empty
  readonly createRetainedStreamCombi = empty
  readonly subscriptionsByTopic = (): Promise<[]> => Promise.resolve([])
}
