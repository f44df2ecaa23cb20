import type { Clock } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import type { SealedRecord } from '../wire/record.ts'
import { CUSTODY_PROTOCOL, decodeAnswer, encodeOffer } from './custody-frames.ts'

export interface CustodyOffersComponents {
  readonly transport: Pick<Transport, 'open'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface CustodyOffersInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** Connected peers that keep messages for others. */
  readonly candidates: () => readonly PeerId[]
}

export interface Entrusted {
  /** One of this node's own, on its disk. */
  readonly record: SealedRecord
  /** Not asked: it gets the message itself. */
  readonly recipient: PeerId
  readonly wanted: number
  readonly signal?: AbortSignal | undefined
}

/** Gives copies of a record to peers that keep it until its recipient comes. */
export class CustodyOffers {
  readonly #components: CustodyOffersComponents
  readonly #init: CustodyOffersInit

  constructor(components: CustodyOffersComponents, init: CustodyOffersInit) {
    this.#components = components
    this.#init = init
  }

  /**
   * Asks as many peers as copies are wanted, and others where one refuses or does not answer in
   * LIMITS.custodyTimeoutMs. Resolves to those that have a synced copy: fewer than wanted when nobody is left to
   * ask, or when the signal aborts.
   */
  async entrust({ record, recipient, signal, wanted }: Entrusted): Promise<PeerId[]> {
    const { clock } = this.#components
    const waiting = this.#shuffled().filter(
      (peer) => peer !== recipient && peer !== this.#init.self
    )
    const ageMs = Math.max(0, clock.now() - record.header.time.ms)
    const offer = encodeOffer({ record: record.bytes, ageMs })
    const kept: PeerId[] = []
    const ask = async (): Promise<void> => {
      for (let peer = waiting.shift(); peer !== undefined; peer = waiting.shift()) {
        if (signal?.aborted === true) return
        if (!(await this.#ask(peer, offer, signal))) continue
        kept.push(peer)
        return
      }
    }
    await Promise.all(Array.from({ length: wanted }, ask))
    return kept
  }

  async #ask(peer: PeerId, offer: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
    const { logger } = this.#components
    try {
      const reason = await this.#answer(peer, offer, signal)
      if (reason === undefined) return true
      logger.debug({ peer, reason }, 'a custodian refused')
    } catch (error) {
      // Whatever is wrong with one peer, another is asked; a fault of this node is not passed over.
      if (!isSkeinError(error)) throw error
      logger.debug({ err: error, peer }, 'a custodian did not answer')
    }
    return false
  }

  /** Why it refused; undefined when it has the copy. */
  async #answer(
    peer: PeerId,
    offer: Uint8Array,
    signal: AbortSignal | undefined
  ): Promise<string | undefined> {
    const { clock, transport } = this.#components
    const timeoutMs = LIMITS.custodyTimeoutMs
    const stream = await transport.open(peer, CUSTODY_PROTOCOL, {
      timeoutMs,
      ...(signal === undefined ? {} : { signal })
    })
    const giveUp = (): void =>
      stream.abort(new SkeinError('ERR_TIMEOUT', `no answer within ${timeoutMs} ms`))
    const timer = clock.after(timeoutMs, giveUp)
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      await stream.send(offer)
      for await (const frame of stream.frames) {
        const answer = decodeAnswer(frame)
        return answer.kept ? undefined : answer.reason
      }
      return 'it closed the stream'
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', giveUp)
      this.#close(stream)
    }
  }

  #close(stream: FrameStream): void {
    stream.close().catch((error: unknown) => {
      this.#components.logger.debug({ err: error }, 'a stream did not close cleanly')
    })
  }

  #shuffled(): PeerId[] {
    const peers = [...this.#init.candidates()]
    for (let index = peers.length - 1; index > 0; index--) {
      const other = this.#components.random.int(index + 1)
      ;[peers[index], peers[other]] = [peers[other] as PeerId, peers[index] as PeerId]
    }
    return peers
  }
}
