import type { Clock } from '../core/clock.ts'
import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Random } from '../core/random.ts'
import type { PeerId, Transport, Verdict } from '../mesh/contract.ts'
import {
  BodyBuilder,
  type DecodedMessage,
  decodeMessages,
  type EncodableMessage
} from '../wire/body.ts'
import type { HybridClock, HybridTime } from '../wire/hybrid-clock.ts'
import { FLAGS, type SealedRecord } from '../wire/record.ts'
import { sealRecord } from '../wire/sealed-record.ts'
import { newSession } from '../wire/session.ts'
import type { Signer } from '../wire/signature.ts'

export interface EphemeralSenderComponents {
  readonly transport: Pick<Transport, 'broadcast' | 'tell'>
  readonly clock: Clock
  readonly random: Random
  readonly hybridClock: Pick<HybridClock, 'tick'>
  readonly signer: Signer
}

export interface EphemeralSenderInit {
  /** The session is greater than this one; default: only as great as the clock makes it. */
  readonly above?: string | undefined
}

/**
 * Sends records that are neither stored nor chained: whoever is not listening misses them. They have a session of
 * their own and, per channel, a sequence of their own, so that a receiver can tell repeats and losses.
 */
export class EphemeralSender {
  /** One life of this sender. */
  readonly session: string
  readonly #components: EphemeralSenderComponents
  readonly #builder = new BodyBuilder(1024)
  /** Next sequence by channel. */
  readonly #next = new Map<string, number>()

  constructor(components: EphemeralSenderComponents, init: EphemeralSenderInit = {}) {
    this.#components = components
    this.session = newSession(components.clock.now(), components.random, init.above)
  }

  /**
   * Hands one record with these messages, one at least, to the members of `channel`. Throws what `BodyBuilder.add`
   * throws.
   */
  send(channel: string, messages: readonly EncodableMessage[]): SealedRecord {
    const { hybridClock, signer, transport } = this.#components
    const first = this.#next.get(channel) ?? 1
    const record = sealRecord(
      {
        session: this.session,
        channel,
        first,
        count: messages.length,
        previous: undefined,
        before: undefined,
        time: hybridClock.tick(),
        flags: FLAGS.ephemeral,
        body: this.#body(messages)
      },
      signer
    )
    this.#next.set(channel, first + messages.length)
    transport.broadcast(channel, record)
    return record
  }

  /** Hands a record that was sent to one member more: to whom it is known it is nothing. */
  repeat(record: SealedRecord, peer: PeerId): void {
    this.#components.transport.tell(peer, record.header.channel, record)
  }

  #body(messages: readonly EncodableMessage[]): Uint8Array {
    try {
      for (const message of messages) this.#builder.add(message)
    } catch (error) {
      this.#builder.finish()
      throw error
    }
    return this.#builder.finish()
  }
}

/** What one ephemeral record brought. */
export interface EphemeralMessages {
  readonly channel: string
  readonly publisher: PeerId
  readonly session: string
  /** Of the first message. */
  readonly sequence: number
  readonly messages: readonly DecodedMessage[]
  /** By the publisher's clock. */
  readonly time: HybridTime
}

export interface EphemeralEvents {
  message: EphemeralMessages
}

export interface EphemeralReceiverComponents {
  readonly clock: Clock
}

/** Counters since start, in messages. */
export interface EphemeralStats {
  received: number
  /** Never came, or came after later ones. */
  lost: number
  /** Came again, or came late. */
  dropped: number
}

interface Sequence {
  session: string
  /** Of the newest message taken. */
  last: number
  /** Monotonic ms. */
  heardAt: number
}

/**
 * A session below the newest one is an echo of a former life, unless the newest has been silent for so long, ms:
 * then it is a new life under a clock that was set back.
 */
const SILENT_MS = 30_000

/**
 * Takes ephemeral records whose signature was verified, each once and in order: what comes again or after a later
 * one is dropped.
 */
export class EphemeralReceiver {
  readonly stats: EphemeralStats = { received: 0, lost: 0, dropped: 0 }
  readonly #components: EphemeralReceiverComponents
  readonly #emitter: Emitter<EphemeralEvents>
  /** By publisher, the one heard of last at the end; by channel. */
  readonly #publishers = new Map<PeerId, Map<string, Sequence>>()

  constructor(components: EphemeralReceiverComponents, emitter: Emitter<EphemeralEvents>) {
    this.#components = components
    this.#emitter = emitter
  }

  get events(): Events<EphemeralEvents> {
    return this.#emitter
  }

  /** Publishers whose sequences are remembered. */
  get publishers(): number {
    return this.#publishers.size
  }

  /** Throws ERR_RECORD where the body is no list of messages. */
  readonly take = (record: SealedRecord): Verdict => {
    const { channel, count, first, publisher, session, time } = record.header
    const channels = this.#channelsOf(publisher)
    const known = channels.get(channel)
    if (known !== undefined && this.#isOld(known, session, first)) {
      this.stats.dropped += count
      return 'ignore'
    }
    // Before anything is remembered: a body that cannot be read leaves no trace.
    const messages = decodeMessages(record.body, count)
    if (known?.session === session) this.stats.lost += first - known.last - 1
    this.stats.received += count
    this.#remember(publisher, channels, record)
    this.#emitter.emit('message', {
      channel,
      publisher,
      session,
      sequence: first,
      messages,
      time
    })
    return 'accept'
  }

  #channelsOf(publisher: PeerId): Map<string, Sequence> {
    return this.#publishers.get(publisher) ?? new Map<string, Sequence>()
  }

  #isOld(known: Sequence, session: string, first: number): boolean {
    if (session === known.session) return first <= known.last
    if (session > known.session) return false
    return this.#components.clock.monotonic() - known.heardAt < SILENT_MS
  }

  #remember(publisher: PeerId, channels: Map<string, Sequence>, { header }: SealedRecord): void {
    const { channel, count, first, session } = header
    channels.delete(channel)
    channels.set(channel, {
      session,
      last: first + count - 1,
      heardAt: this.#components.clock.monotonic()
    })
    forgetOldest(channels, LIMITS.channels)
    this.#publishers.delete(publisher)
    this.#publishers.set(publisher, channels)
    forgetOldest(this.#publishers, LIMITS.ephemeralPublishers)
  }
}

function forgetOldest<Value>(map: Map<string, Value>, limit: number): void {
  for (const oldest of map.keys()) {
    if (map.size <= limit) return
    map.delete(oldest)
  }
}
