import { isSkeinError } from '../core/errors.ts'
import type { Store, ValueSpace } from '../store/contract.ts'
import { type DecodedMessage } from '../wire/body.ts'
import { decodeInner } from '../wire/sealed-message.ts'

/** What is kept on disk of a message that waits, beside its record, which its sender cannot open. */
export interface OutboxRow {
  readonly topic: string
  /** Of the payload. */
  readonly bytes: number
  /** Wall clock, ms. */
  readonly since: number
  readonly ttlMs: number
  /** PeerIds. */
  readonly custodians: readonly string[]
}

/**
 * The rows of the outbox by message id. The messages themselves stand in a space of their own, so that reading
 * the index reads none of them.
 */
export class OutboxRows {
  readonly #rows: ValueSpace
  readonly #messages: ValueSpace

  constructor(store: Pick<Store, 'values'>) {
    this.#rows = store.values('outbox')
    this.#messages = store.values('outbox-messages')
  }

  async entries(): Promise<ReadonlyArray<readonly [string, OutboxRow]>> {
    const entries = await this.#rows.entries()
    return entries.map(([id, value]) => [
      id,
      JSON.parse(Buffer.from(value).toString()) as OutboxRow
    ])
  }

  /** Resolves when both are on disk. */
  async add(id: string, row: OutboxRow, inner: Uint8Array): Promise<void> {
    await Promise.all([this.#messages.put(id, inner), this.update(id, row)])
  }

  update(id: string, row: OutboxRow): Promise<void> {
    return this.#rows.put(id, Buffer.from(JSON.stringify(row)))
  }

  /** The message as it was sealed; undefined where it is not on disk, or damaged. */
  async message(id: string): Promise<DecodedMessage | undefined> {
    const inner = await this.#messages.get(id)
    if (inner === undefined) return undefined
    try {
      return decodeInner(inner)
    } catch (error) {
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      return undefined
    }
  }

  /** The message goes first: what is left of it after a crash is a row, which is looked at again. */
  async delete(id: string): Promise<void> {
    await Promise.all([this.#messages.delete(id), this.#rows.delete(id)])
  }
}
