import type { Client } from 'aedes'
import { isSkeinError, toSkeinError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { PublishOptions, SkeinNode } from '../../node/contract.ts'
import type { MqttFigures } from './metrics.ts'
import { QOS_HEADER } from './qos-header.ts'
import type { Qos } from './session-names.ts'

export interface PublisherComponents {
  readonly node: Pick<SkeinNode, 'publish'>
  readonly logger: Logger
  readonly figures: MqttFigures
  /** What a client asked for before, and must be done first; undefined: nothing. */
  readonly barrier: (source: Source) => Promise<unknown> | undefined
}

/** What a client publishes: a packet, or its will. */
export interface IncomingMessage {
  readonly topic: string
  readonly payload: string | Buffer
  readonly qos: Qos
  readonly retain?: boolean | undefined
}

/** Who publishes. */
export type Source = Pick<Client, 'id' | 'closed'>

/** A node that has too much to publish is asked again after this time, ms. */
const BUSY_MS = 50

/** Publishes for MQTT clients: what cannot be published is refused by ending the connection, as MQTT 3.1.1 has no other way. */
export class MqttPublisher {
  readonly #components: PublisherComponents
  /** The end of the queue of a client that the node is too busy for. */
  readonly #queues = new Map<Source, Promise<void>>()
  readonly #underWay = new Set<Promise<void>>()

  constructor(components: PublisherComponents) {
    this.#components = components
  }

  /**
   * Resolves when the message is on disk, with QoS 0 when it is handed to the network, or when it was dropped and
   * counted. Rejects when it is neither: the client must not take it for published.
   */
  publish(client: Source, message: IncomingMessage): Promise<void> {
    const done = this.#publish(client, message)
    this.#underWay.add(done)
    const over = (): void => void this.#underWay.delete(done)
    done.then(over, over)
    return done
  }

  /** Resolves when nothing is being published. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay)
  }

  async #publish(client: Source, message: IncomingMessage): Promise<void> {
    const { figures, logger } = this.#components
    const { qos, topic } = message
    figures.received(qos)
    if (topic.startsWith('$') || topic.startsWith('@')) {
      figures.dropped('reserved')
      logger.debug({ client: client.id, topic }, "a message to a topic of Skein's own was dropped")
      return
    }
    try {
      await this.#inTurn(client, message)
    } catch (fault) {
      const error = toSkeinError(fault)
      const fields = { client: client.id, topic, code: error.code, reason: error.message }
      if (qos === 0 && error.retryable) {
        figures.dropped('unstored')
        logger.debug(fields, 'a QoS 0 message was dropped')
        return
      }
      figures.closed('publish failed')
      logger.warn(fields, 'a message of an MQTT client was not published; its connection is closed')
      throw error
    }
  }

  /** Messages of one client go out in their order, also where the node must be asked more than once. */
  #inTurn(client: Source, message: IncomingMessage): Promise<void> {
    const isFree = this.#queues.get(client) === undefined
    if (isFree && this.#components.barrier(client) === undefined) {
      return this.#once(message).catch((error: unknown) => {
        if (!isSkeinError(error, 'ERR_BUSY')) throw error
        return this.#queue(client, message)
      })
    }
    return this.#queue(client, message)
  }

  #queue(client: Source, message: IncomingMessage): Promise<void> {
    const barrier = this.#components.barrier(client)
    const before = this.#queues.get(client) ?? barrier ?? Promise.resolve()
    const turn = before.then(
      () => this.#untilTaken(client, message),
      () => this.#untilTaken(client, message)
    )
    this.#queues.set(client, turn)
    const over = (): void => {
      if (this.#queues.get(client) === turn) this.#queues.delete(client)
    }
    turn.then(over, over)
    return turn
  }

  async #untilTaken(client: Source, message: IncomingMessage): Promise<void> {
    for (;;) {
      try {
        await this.#once(message)
        return
      } catch (error) {
        if (!isSkeinError(error, 'ERR_BUSY') || client.closed) throw error
        await new Promise((resolve) => setTimeout(resolve, BUSY_MS))
      }
    }
  }

  async #once({ payload, qos, retain = false, topic }: IncomingMessage): Promise<void> {
    const options: PublishOptions = {
      confirm: qos === 0 ? 'sent' : 'stored',
      retain,
      ...(qos === 1 ? {} : { headers: { [QOS_HEADER]: String(qos) } })
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    await this.#components.node.publish(topic, bytes, options)
  }
}
