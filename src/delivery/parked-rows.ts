import { isSkeinError } from '../core/errors.ts'
import type { Store, ValueSpace } from '../store/contract.ts'
import { BodyBuilder, type DecodedMessage, decodeMessages } from '../wire/body.ts'
import type { EncodableMessage } from '../wire/body.ts'
import type { MessageId } from '../wire/message-id.ts'

/** A message that waits at one subscription apart from its channel's journal. */
export interface ParkedRow extends MessageId {
  /** Hybrid time of its record, ms. */
  readonly timeMs: number
  /** Local wall clock of its publishing, ms. */
  readonly bornAt: number
  readonly late: boolean
  /** Of the message on disk. */
  readonly bytes: number
  /** Wall clock, ms: not handed over before. */
  readonly dueAt: number
  /** Hand-overs so far; the one that is about to be made counts. */
  readonly attempts: number
}

/**
 * The parked messages of one durable subscription, by key. The messages themselves, copies that retention of their
 * channel does not touch, stand in a space of their own: reading the rows reads none of them.
 */
export class ParkedRows {
  readonly #rows: ValueSpace
  readonly #messages: ValueSpace

  constructor(store: Pick<Store, 'values'>, subscription: string) {
    this.#rows = store.values(`parked/${subscription}`)
    this.#messages = store.values(`parked-messages/${subscription}`)
  }

  async entries(): Promise<(readonly [string, ParkedRow])[]> {
    const entries = await this.#rows.entries()
    return entries.map(([key, value]) => [
      key,
      JSON.parse(Buffer.from(value).toString()) as ParkedRow
    ])
  }

  /** Resolves when both are on disk. Without its row a message is nothing, so it goes first. */
  async add(key: string, row: ParkedRow, message: Uint8Array): Promise<void> {
    await Promise.all([this.#messages.put(key, message), this.update(key, row)])
  }

  update(key: string, row: ParkedRow): Promise<void> {
    return this.#rows.put(key, Buffer.from(JSON.stringify(row)))
  }

  /** Undefined where it is not on disk, or damaged. */
  async message(key: string): Promise<DecodedMessage | undefined> {
    const bytes = await this.#messages.get(key)
    if (bytes === undefined) return undefined
    try {
      return decodeMessages(bytes, 1)[0]
    } catch (error) {
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      return undefined
    }
  }

  async delete(key: string): Promise<void> {
    await Promise.all([this.#rows.delete(key), this.#messages.delete(key)])
  }

  /** With everything. */
  async clear(): Promise<void> {
    const entries = await this.#rows.entries()
    await Promise.all(entries.map(([key]) => this.delete(key)))
  }
}

/** A message as it is parked. */
export function encodeParked(message: EncodableMessage): Uint8Array {
  const builder = new BodyBuilder()
  builder.add(message)
  return Uint8Array.from(builder.finish())
}
