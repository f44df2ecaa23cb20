import type { AedesPublishPacket, Client } from 'aedes'
import { LIMITS } from '../../core/limits.ts'
import type { Qos } from './session-names.ts'

/** A message as one client gets it. */
export interface OutgoingMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** It may have been sent before. */
  readonly dup: boolean
}

/**
 * Writes to one connected client, no faster than its socket takes it. What it is asked to write beyond that stays
 * where it came from: nobody asks before `hasRoom`.
 */
export class Outlet {
  readonly #client: Client
  /** Packet ids of what the broker is about to write, by its number. */
  readonly #ids = new Map<number, number>()
  #number = 0
  #bytes = 0
  readonly #onRoom: () => void

  /** `onRoom` is called when there may be room for more. */
  constructor(client: Client, onRoom: () => void) {
    this.#client = client
    this.#onRoom = onRoom
  }

  get isOpen(): boolean {
    return !this.#client.closed
  }

  get hasRoom(): boolean {
    return this.#bytes < LIMITS.mqttWriteBytes
  }

  /** Writes one message, with a packet id where it has a QoS; `written` is called when the socket has it, or never will. */
  send(message: OutgoingMessage, packetId: number | undefined, written?: () => void): void {
    const { dup, payload, qos, retain, topic } = message
    const bytes = payload.byteLength + topic.length + 8
    const number = ++this.#number
    const packet: AedesPublishPacket = {
      cmd: 'publish',
      topic,
      payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      qos,
      retain,
      dup,
      // The broker drops what does not come with a higher number than before. Messages without and with a QoS take
      // different ways through it, and may overtake each other.
      brokerId: qos === 0 ? 'skein:0' : 'skein:1',
      brokerCounter: number
    }
    if (packetId !== undefined) this.#ids.set(number, packetId)
    this.#bytes += bytes
    this.#client.publish(packet, () => {
      this.#ids.delete(number)
      this.#bytes -= bytes
      if (this.hasRoom) this.#onRoom()
      written?.()
    })
  }

  /** The packet as the broker is to write it. */
  forward(packet: AedesPublishPacket): AedesPublishPacket {
    const messageId = this.#ids.get(packet.brokerCounter)
    return messageId === undefined ? packet : { ...packet, messageId }
  }

  close(): void {
    this.#client.close()
    this.#onRoom()
  }
}
