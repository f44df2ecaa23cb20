import { isSkeinError } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { Message } from '../../node/contract.ts'
import type { Feed, FeedTarget } from './feed.ts'
import type { MqttFigures } from './metrics.ts'
import type { Outlet } from './outlet.ts'
import { qosOf } from './qos-header.ts'
import type { RetainedValue, RetainedValues } from './retained.ts'
import type { Qos } from './session-names.ts'
import { Unacknowledged } from './unacknowledged.ts'

export interface SessionComponents {
  readonly retained: Pick<RetainedValues, 'matching' | 'watch'>
  readonly logger: Logger
  readonly figures: MqttFigures
}

export interface SessionInit {
  readonly clientId: string
  /** It outlasts its connections. */
  readonly isPersistent: boolean
}

/** What a client sees of its topic filters: which messages it gets, and which of them it has not acknowledged. */
export class Session implements FeedTarget {
  readonly clientId: string
  readonly isPersistent: boolean
  /** By topic filter. */
  readonly feeds = new Map<string, Feed>()
  /** Filters of work groups of a persistent session, with their QoS: nothing but this tells of them. */
  readonly groups = new Map<string, Qos>()
  /** QoS 2 messages from the client that it was not told to forget, by packet id: stored, or being stored. */
  readonly incoming = new Map<number, Promise<void>>()
  readonly unacknowledged = new Unacknowledged(() => this.#wake())
  readonly #components: SessionComponents
  /** Messages of work groups, to be given back when the connection goes. */
  readonly #borrowed = new Set<Message>()
  /** What is being changed of a filter. */
  readonly #turns = new Map<string, Promise<void>>()
  #outlet: Outlet | undefined
  #waiting: (() => void)[] = []

  constructor(components: SessionComponents, init: SessionInit) {
    this.#components = components
    this.clientId = init.clientId
    this.isPersistent = init.isPersistent
  }

  /** Nothing would be lost if it were made anew. */
  get isForgettable(): boolean {
    return this.groups.size === 0 && this.incoming.size === 0 && this.unacknowledged.isEmpty
  }

  get outlet(): Outlet | undefined {
    return this.#outlet
  }

  connect(outlet: (onRoom: () => void) => Outlet): void {
    this.#outlet = outlet(() => this.#wake())
  }

  /** The connection is gone. Resolves when what it did not acknowledge is given back. */
  async disconnect(): Promise<void> {
    this.#outlet = undefined
    this.#wake()
    await Promise.all(this.#turns.values())
    await Promise.all([...this.feeds.values()].map((feed) => feed.stop()))
    this.feeds.clear()
    this.unacknowledged.disconnect()
    for (const message of this.#borrowed) this.#settle(message, message.nack())
    this.#borrowed.clear()
  }

  /** One change of a filter after the other. */
  inTurn<Result>(filter: string, change: () => Promise<Result>): Promise<Result> {
    const turn = (this.#turns.get(filter) ?? Promise.resolve()).then(change)
    const over = (): void => {
      if (this.#turns.get(filter) === settled) this.#turns.delete(filter)
    }
    const settled = turn.then(over, over)
    this.#turns.set(filter, settled)
    return turn
  }

  /** Resolves when the changes that are under way are done; undefined: there are none. */
  changed(): Promise<unknown> | undefined {
    return this.#turns.size === 0 ? undefined : Promise.all(this.#turns.values())
  }

  async room(signal: AbortSignal): Promise<boolean> {
    const wake = (): void => this.#wake()
    signal.addEventListener('abort', wake)
    try {
      for (;;) {
        const outlet = this.#outlet
        if (signal.aborted || outlet === undefined || !outlet.isOpen) return false
        if (outlet.hasRoom && !this.unacknowledged.isFull) return true
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  deliver(message: Message, feed: Feed): void {
    if (this.#outlet === undefined) {
      this.#settle(message, message.nack())
      return
    }
    const qos = Math.min(qosOf(message), feed.qos) as Qos
    const { payload, topic } = message
    const outgoing = { topic, payload, qos, retain: false, dup: message.attempt > 1 }
    const acknowledge = (): void => {
      this.#borrowed.delete(message)
      this.#settle(message, message.ack())
    }
    if (feed.name === undefined) this.#borrowed.add(message)
    if (qos === 0) {
      this.#send(outgoing, undefined, acknowledge)
      return
    }
    const key = feed.name === undefined ? undefined : `${feed.name}/${message.id}`
    const admission = this.unacknowledged.admit(key, acknowledge)
    if (admission.kind === 'had') return
    const dup = outgoing.dup || admission.again
    this.#send({ ...outgoing, dup }, admission.packetId)
  }

  /**
   * Sends the last values of a filter's topics, with the retain flag, and begins with its messages when those are
   * sent that are here; those that come to be known later are sent then.
   */
  async sendRetained(filter: string, feed: Feed): Promise<void> {
    const { retained } = this.#components
    const signal = feed.beginRetained()
    /** By topic: a client that is slow gets the newest of each. */
    const late = new Map<string, RetainedValue>()
    let isSending = true
    const sendLate = async (): Promise<void> => {
      for (const [topic, value] of late) {
        if (!(await this.room(signal))) return
        late.delete(topic)
        this.#sendValue(value, feed)
      }
      isSending = false
    }
    const onLate = (value: RetainedValue): void => {
      late.set(value.topic, value)
      if (isSending) return
      isSending = true
      void sendLate()
    }
    retained.watch(filter, onLate, signal)
    for await (const value of retained.matching(filter)) {
      if (!(await this.room(signal))) return
      this.#sendValue(value, feed)
    }
    feed.start(this)
    await sendLate()
  }

  #sendValue({ payload, qos: published, topic }: RetainedValue, feed: Feed): void {
    const qos = Math.min(published, feed.qos) as Qos
    const outgoing = { topic, payload, qos, retain: true, dup: false }
    if (qos === 0) {
      this.#send(outgoing, undefined)
      return
    }
    const admission = this.unacknowledged.admit(undefined, () => {})
    if (admission.kind === 'send') this.#send(outgoing, admission.packetId)
  }

  #send(
    message: Parameters<Outlet['send']>[0],
    packetId: number | undefined,
    written?: () => void
  ): void {
    this.#components.figures.sent(message.qos)
    this.#outlet?.send(message, packetId, written)
  }

  /** What was given back already, or is acknowledged again, is no fault. */
  #settle(message: Message, settled: Promise<void>): void {
    const { logger } = this.#components
    settled.catch((error: unknown) => {
      const isUsual = isSkeinError(error, 'ERR_MESSAGE_UNKNOWN', 'ERR_STOPPED', 'ERR_REPLICAS')
      const fields = { err: error, message: message.id, client: this.clientId }
      if (isUsual) logger.debug(fields, 'an acknowledgement came too late')
      else logger.warn(fields, 'an acknowledgement was not written: the message comes again')
    })
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
