import { SkeinError } from '../core/errors.ts'
import { encodeCursor } from '../wire/cursor.ts'
import { formatMessageId } from '../wire/message-id.ts'
import { joinTopic } from '../wire/topic.ts'
import type { Candidate } from './channel-reader.ts'
import type { Message, NackOptions } from './contract.ts'

/** The subscription a message belongs to. */
export interface MessageOwner {
  /** Epoch of the store whose journal the message stands in. */
  readonly epoch: string
  acknowledge(message: DeliveredMessage): Promise<void>
  retry(message: DeliveredMessage, options: NackOptions): Promise<void>
}

/** How a message is handed over. */
export interface Hand {
  readonly attempt: number
  readonly late: boolean
  /** As in `Message`. */
  readonly fence?: number | undefined
  /** Journal offset that its cursor stands for; default: right behind it. */
  readonly covered?: number
}

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** A message as it is handed over. What costs something is made when it is asked for. */
export class DeliveredMessage implements Message {
  readonly payload: Uint8Array
  readonly late: boolean
  readonly attempt: number
  readonly fence: number | undefined
  readonly candidate: Candidate
  readonly #owner: MessageOwner
  readonly #covered: number

  constructor(owner: MessageOwner, candidate: Candidate, hand: Hand) {
    this.#owner = owner
    this.candidate = candidate
    this.payload = candidate.message.payload
    this.attempt = hand.attempt
    this.fence = hand.fence
    this.late = hand.late
    this.#covered = hand.covered ?? candidate.offset + 1
  }

  get id(): string {
    const { publisher, session, channel } = this.#header
    return formatMessageId({ publisher, session, sequence: this.sequence, channel })
  }

  get topic(): string {
    return joinTopic(this.#header.channel, this.candidate.message.suffix)
  }

  get contentType(): string | undefined {
    return this.candidate.message.contentType
  }

  get key(): string | undefined {
    return this.candidate.message.key
  }

  get headers(): Readonly<Record<string, string>> {
    return this.candidate.message.headers ?? NO_HEADERS
  }

  get publisher(): string {
    return this.#header.publisher
  }

  get session(): string {
    return this.#header.session
  }

  get sequence(): number {
    return this.#header.first + this.candidate.index
  }

  get priority(): number {
    return this.candidate.message.priority ?? 0
  }

  get time(): Date {
    return new Date(this.#header.time.ms)
  }

  get expiresAt(): Date | undefined {
    const { ttlMs } = this.candidate.message
    return ttlMs === undefined ? undefined : new Date(this.#header.time.ms + ttlMs)
  }

  get cursor(): string {
    const { channel } = this.candidate.entry
    return encodeCursor({ epoch: this.#owner.epoch, channel, offset: this.#covered })
  }

  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text()) as T
    } catch (error) {
      throw new SkeinError('ERR_PAYLOAD', `the payload of ${this.id} is not JSON`, { cause: error })
    }
  }

  text(): string {
    const { buffer, byteOffset, byteLength } = this.payload
    return Buffer.from(buffer, byteOffset, byteLength).toString('utf8')
  }

  ack(): Promise<void> {
    return this.#owner.acknowledge(this)
  }

  nack(options: NackOptions = {}): Promise<void> {
    return this.#owner.retry(this, options)
  }

  /** The same message, handed over once more. */
  again(attempt: number, fence: number | undefined = this.fence): DeliveredMessage {
    const { candidate, late } = this
    const hand = { attempt, late, covered: this.#covered, fence }
    return new DeliveredMessage(this.#owner, candidate, hand)
  }

  get #header(): NonNullable<Candidate['entry']['header']> {
    const { header } = this.candidate.entry
    if (header === undefined) throw new Error('a message without a header')
    return header
  }
}
