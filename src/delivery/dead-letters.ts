import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import type { DecodedMessage } from '../wire/body.ts'
import { formatMessageId, parseMessageId } from '../wire/message-id.ts'
import type { DeadLetterEntry } from './contract.ts'
import { ownHeaders, readDeadLetter } from './dead-letter.ts'
import type { Decoder } from './decoder.ts'
import { OUTBOX_DEAD_LETTERS } from './outbound-message.ts'
import { encodeParked, type ParkedRow, ParkedRows } from './parked-rows.ts'

export interface DeadLettersComponents {
  readonly store: Pick<Store, 'channels' | 'journal' | 'readJournal' | 'values'>
  readonly decoder: Pick<Decoder, 'messagesOf'>
  readonly clock: Clock
}

export interface DeadLettersInit {
  /** PeerId of this node: only its own dead letters concern it. */
  readonly self: string
  /** A message waits at a subscription, on disk. */
  readonly onParked: (subscription: string, key: string, row: ParkedRow) => void
}

export interface DeadLetterQuery {
  /** Only those of this subscription. */
  readonly subscription?: string | undefined
  /** Default and at most LIMITS.deadLettersListed. */
  readonly limit?: number | undefined
}

interface Found {
  readonly letter: DeadLetterEntry
  readonly entry: JournalEntry
  readonly message: DecodedMessage
}

/** The dead letters of this node's subscriptions: what there is, and how it gets back to where it failed. */
export class DeadLetters {
  readonly #components: DeadLettersComponents
  readonly #init: DeadLettersInit
  /** Redrives, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(components: DeadLettersComponents, init: DeadLettersInit) {
    this.#components = components
    this.#init = init
  }

  /** Those that were not redriven, channel by channel, oldest first. */
  async list(query: DeadLetterQuery = {}): Promise<DeadLetterEntry[]> {
    const limit = Math.min(query.limit ?? LIMITS.deadLettersListed, LIMITS.deadLettersListed)
    const listed: DeadLetterEntry[] = []
    if (limit === 0) return listed
    for await (const { letter } of this.#all(query.subscription)) {
      if (listed.push(letter) >= limit) break
    }
    return listed
  }

  /**
   * Offers dead letters again to the subscription that they failed at, and to no other: all of them, or those of
   * these ids. Resolves to how many, when that is on disk; they are dead letters no more then. Rejects with ERR_BUSY
   * where no more messages may wait at the subscription, and with ERR_MESSAGE_UNKNOWN for ids that there are not.
   */
  redrive(subscription: string, ids?: readonly string[]): Promise<number> {
    const turn = this.#turn.then(() => this.#redrive(subscription, ids))
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  async #redrive(subscription: string, ids: readonly string[] | undefined): Promise<number> {
    const rows = new ParkedRows(this.#components.store, subscription)
    const parked = await rows.entries()
    const wanted = ids === undefined ? undefined : new Set(ids)
    let count = parked.length
    let bytes = parked.reduce((sum, [, row]) => sum + row.bytes, 0)
    let redriven = 0
    for await (const found of this.#all(subscription)) {
      if (wanted?.delete(found.letter.id) === false) continue
      const message = encodeParked(original(found))
      bytes += message.length
      if (++count > LIMITS.parkedMessages || bytes > LIMITS.parkedBytes) {
        throw new SkeinError(
          'ERR_BUSY',
          `${redriven} dead letters of '${subscription}' were redriven; as many messages wait there now as may; redrive the others when it has handled some`,
          { details: { redriven } }
        )
      }
      const row = this.#rowOf(found, message.length)
      await rows.add(found.letter.id, row, message)
      // A crash in between redrives it once more.
      await this.#gone().put(found.letter.id, Buffer.from(subscription))
      this.#init.onParked(subscription, found.letter.id, row)
      redriven++
    }
    if (wanted === undefined || wanted.size === 0) return redriven
    throw new SkeinError(
      'ERR_MESSAGE_UNKNOWN',
      `${wanted.size} of the ids are not those of dead letters of '${subscription}'; the other ${redriven} were redriven`,
      { details: { redriven, unknown: [...wanted] } }
    )
  }

  #rowOf({ letter }: Found, bytes: number): ParkedRow {
    const now = this.#components.clock.now()
    return {
      ...parseMessageId(letter.messageId),
      timeMs: letter.time.getTime(),
      bornAt: now,
      late: false,
      bytes,
      dueAt: now,
      attempts: 0
    }
  }

  #gone(): ReturnType<Store['values']> {
    return this.#components.store.values('redriven')
  }

  async *#all(subscription: string | undefined): AsyncGenerator<Found> {
    const { store } = this.#components
    const gone = new Set((await this.#gone().entries()).map(([id]) => id))
    const seen = new Set<string>()
    for (const channel of store.channels()) {
      if (!channel.startsWith('$dlq/') || channel === OUTBOX_DEAD_LETTERS) continue
      for await (const found of this.#in(channel)) {
        seen.add(found.letter.id)
        const isOther = subscription !== undefined && found.letter.subscription !== subscription
        if (!isOther && !gone.has(found.letter.id)) yield found
      }
    }
    // What retention took in the meantime need not be remembered.
    for (const id of gone) if (!seen.has(id)) await this.#gone().delete(id)
  }

  async *#in(channel: string): AsyncGenerator<Found> {
    const { store } = this.#components
    const { first, next } = store.journal(channel)
    for (let offset = first; offset < next;) {
      const entries = await store.readJournal(channel, offset)
      if (entries.length === 0) return
      for (const entry of entries) {
        offset = entry.offset + entry.count
        yield* this.#lettersOf(entry)
      }
    }
  }

  *#lettersOf(entry: JournalEntry): Generator<Found> {
    const { channel, record } = entry
    if (record === undefined || record.header.publisher !== this.#init.self) return
    const { first, publisher, session, time } = record.header
    for (const [index, message] of this.#components.decoder.messagesOf(record).entries()) {
      const told = readDeadLetter(message.headers)
      if (told === undefined) continue
      const id = formatMessageId({ publisher, session, sequence: first + index, channel })
      const letter = { ...told, id, since: new Date(time.ms), bytes: message.payload.length }
      yield { letter, entry, message }
    }
  }
}

/** The message as it was before it became a dead letter. */
function original({ letter, message }: Found): DecodedMessage {
  const { channel } = parseMessageId(letter.messageId)
  const suffix = letter.topic.slice(channel.length)
  return { ...message, suffix, headers: ownHeaders(message.headers) }
}
