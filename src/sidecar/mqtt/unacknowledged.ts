import { randomInt } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'

/** A QoS 1 or 2 message on its way to a client. */
interface Exchange {
  /** What it is known by when it is handed over again; undefined: it is not, after this connection. */
  readonly key: string | undefined
  /** The client has it (PUBREC), and was told to forget its id (PUBREL). */
  released: boolean
  /** Of this connection: the client acknowledged it. Undefined until it is handed over again. */
  done: (() => void) | undefined
}

/** What a message gets when it is to be sent. */
export type Admission =
  | { readonly kind: 'send'; readonly packetId: number; readonly again: boolean }
  /** The client has it, or had it: nothing is sent. */
  | { readonly kind: 'had' }

const PACKET_IDS = 65_535
/** Exchanges that are remembered from one connection to the next. */
const KEPT = 4 * LIMITS.mqttInFlight

/**
 * The messages that one client has not acknowledged, by packet id. Of a persistent session it is kept from one
 * connection to the next, so that a message that is sent again has the id that it had: a client that has received a
 * QoS 2 message knows it by that.
 */
export class Unacknowledged {
  readonly #exchanges = new Map<number, Exchange>()
  readonly #byKey = new Map<string, number>()
  /** Completed in this connection before they were handed over again. */
  readonly #completed = new Set<string>()
  #open = 0
  /** Not from the beginning: a client may still remember the ids of an earlier life of this node. */
  #lastId = randomInt(PACKET_IDS)
  readonly #onRoom: () => void

  /** `onRoom` is called when there may be room for more. */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom
  }

  get isFull(): boolean {
    return this.#open >= LIMITS.mqttInFlight
  }

  /** Nothing is remembered. */
  get isEmpty(): boolean {
    return this.#exchanges.size === 0
  }

  /** A message is to be sent; `done` is called when the client has acknowledged it. */
  admit(key: string | undefined, done: () => void): Admission {
    const known = key === undefined ? undefined : this.#byKey.get(key)
    const exchange = known === undefined ? undefined : this.#exchanges.get(known)
    if (known !== undefined && exchange !== undefined) {
      if (exchange.done === undefined) this.#open++
      exchange.done = done
      return exchange.released ? { kind: 'had' } : { kind: 'send', packetId: known, again: true }
    }
    if (key !== undefined && this.#completed.delete(key)) {
      done()
      return { kind: 'had' }
    }
    const packetId = this.#freeId()
    this.#exchanges.set(packetId, { key, released: false, done })
    if (key !== undefined) this.#byKey.set(key, packetId)
    this.#open++
    return { kind: 'send', packetId, again: false }
  }

  /** PUBREC: the client has a QoS 2 message. */
  received(packetId: number): void {
    const exchange = this.#exchanges.get(packetId)
    if (exchange !== undefined) exchange.released = true
  }

  /** PUBACK or PUBCOMP. */
  complete(packetId: number): void {
    const exchange = this.#exchanges.get(packetId)
    if (exchange === undefined) return
    this.#forget(packetId, exchange)
    if (exchange.done === undefined) {
      if (exchange.key !== undefined) this.#completed.add(exchange.key)
      return
    }
    this.#open--
    exchange.done()
    this.#onRoom()
  }

  /** Packet ids that the client is still to be told to forget. */
  released(): number[] {
    return [...this.#exchanges].flatMap(([id, { released }]) => (released ? [id] : []))
  }

  /**
   * The connection is gone: what was sent in it waits for being handed over again, and what was not handed over
   * again in it is waited for no more.
   */
  disconnect(): void {
    for (const [packetId, exchange] of this.#exchanges) {
      // A client that was not told to forget an id would take the next message with that id for this one.
      const isOwed = exchange.released && this.#exchanges.size <= KEPT
      const isOver = exchange.key === undefined || exchange.done === undefined
      if (isOver && !isOwed) this.#forget(packetId, exchange)
      exchange.done = undefined
    }
    this.#completed.clear()
    this.#open = 0
    this.#onRoom()
  }

  #forget(packetId: number, { key }: Exchange): void {
    this.#exchanges.delete(packetId)
    if (key !== undefined) this.#byKey.delete(key)
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId % PACKET_IDS) + 1
    while (this.#exchanges.has(this.#lastId))
    return this.#lastId
  }
}
