import type { SkeinError } from '../core/errors.ts'
import type { LogRef } from '../store/contract.ts'

/** Synced copies to wait for, on other nodes. */
export interface ReplicaConfirm {
  /** 1 to LIMITS.replicas. */
  readonly replicas: number
  /** Default 10,000. */
  readonly timeoutMs?: number | undefined
}

/**
 * When a publish resolves. `stored`: on this node's disk, synced. `sent`: handed to the transport. An object: on
 * this node's disk and on those of so many others, synced.
 */
export type Confirm = 'stored' | 'sent' | ReplicaConfirm

/** What a confirmed publish is known by. */
export interface Receipt {
  /** `<publisher>/<session>/<sequence>/<channel>` */
  readonly id: string
  readonly sequence: number
  readonly time: Date
  readonly session: string
}

/** Counters since start. */
export interface PublisherStats {
  messages: number
  records: number
  bytes: number
  failed: number
}

/** A promise that its batch settles. */
class Settlement {
  readonly promise: Promise<void>
  resolve!: () => void
  reject!: (error: SkeinError) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    // Each publisher waits for a promise of its own that follows this one.
    this.promise.catch(() => {})
  }
}

/** The messages of one record, from the first one on, and what becomes of them: all share its fate. */
export class Batch {
  readonly log: LogRef
  /** Sequence number of the first message. */
  readonly first: number
  /** By the record's clock; known once it is sealed. */
  time = new Date(0)
  /** Messages that were published under an id, by their place in the record. */
  ids: { readonly index: number; readonly id: string }[] | undefined
  #count = 0
  readonly #sent = new Settlement()
  readonly #stored = new Settlement()

  constructor(log: LogRef, first: number) {
    this.log = log
    this.first = first
  }

  /** Messages so far. */
  get count(): number {
    return this.#count
  }

  /** The last message counted in has an id. */
  identify(id: string): void {
    this.ids ??= []
    this.ids.push({ index: this.#count - 1, id })
  }

  /** Counts one more message in; its receipt comes with the confirmation asked for, or when it is stored. */
  add(confirm: Confirm): Promise<Receipt> {
    const index = this.#count++
    const { promise } = confirm === 'sent' ? this.#sent : this.#stored
    return promise.then(() => new BatchReceipt(this, index))
  }

  sent(): void {
    this.#sent.resolve()
  }

  stored(): void {
    this.#sent.resolve()
    this.#stored.resolve()
  }

  failed(error: SkeinError): void {
    this.#sent.reject(error)
    this.#stored.reject(error)
  }
}

/** Half a million receipts a second are made; few of them are looked at, so the parts are put together on demand. */
class BatchReceipt implements Receipt {
  readonly #batch: Batch
  readonly sequence: number

  constructor(batch: Batch, index: number) {
    this.#batch = batch
    this.sequence = batch.first + index
  }

  get id(): string {
    const { channel, publisher, session } = this.#batch.log
    return `${publisher}/${session}/${this.sequence}/${channel}`
  }

  get session(): string {
    return this.#batch.log.session
  }

  get time(): Date {
    return this.#batch.time
  }

  /** As the plain object that it stands for. */
  toJSON(): { id: string; sequence: number; time: Date } {
    return { id: this.id, sequence: this.sequence, time: this.time }
  }
}
