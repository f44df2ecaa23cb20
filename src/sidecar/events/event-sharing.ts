import { LIMITS } from '../../core/limits.ts'
import type { Message } from '../../node/contract.ts'
import { cloudEventJson } from './cloud-event.ts'
import type { DataEncoding } from './cloud-event.ts'

interface Kept {
  readonly encoding: DataEncoding
  readonly attempt: number
  readonly fence: number | undefined
  readonly late: boolean
  readonly json: string
  /** Bytes that are in memory because of it, at most. */
  readonly bytes: number
}

/**
 * What the open streams of events have in common: memory for what slow readers have not taken, and the texts of the
 * newest messages, because to make them is most of what an event costs. Messages of several subscriptions that were
 * decoded together have one payload object, by which they are known; where it is another, or how they are handed over
 * differs, the text is made again.
 */
export class EventSharing {
  readonly #kept = new Map<Uint8Array, Kept>()
  #bytes = 0
  #lastBody: ArrayBufferLike | undefined
  #open = 0

  /** A stream begins; the returned function ends it. */
  enter(): () => void {
    this.#open++
    return () => {
      this.#open--
    }
  }

  /** Bytes that one stream may format at once: all of them together stay within their memory. */
  get batchBytes(): number {
    const share = LIMITS.eventStreamsBytes / Math.max(1, this.#open)
    return Math.min(LIMITS.sseBatchBytes, Math.max(LIMITS.sseBatchLeastBytes, share))
  }

  /** As `cloudEventJson`. */
  jsonOf(message: Message, encoding: DataEncoding): string {
    if (this.#open < 2) return cloudEventJson(message, encoding)
    const { attempt, fence, late, payload } = message
    const kept = this.#kept.get(payload)
    if (
      kept !== undefined &&
      kept.encoding === encoding &&
      kept.attempt === attempt &&
      kept.fence === fence &&
      kept.late === late
    ) {
      return kept.json
    }
    const json = cloudEventJson(message, encoding)
    // Empty payloads are all the same object.
    if (kept === undefined && payload.length > 0) {
      // A payload keeps the whole record in memory that it is a part of.
      const body = payload.buffer === this.#lastBody ? 0 : payload.buffer.byteLength
      this.#lastBody = payload.buffer
      this.#keep(payload, { encoding, attempt, fence, late, json, bytes: json.length + body })
    }
    return json
  }

  #keep(payload: Uint8Array, kept: Kept): void {
    this.#kept.set(payload, kept)
    this.#bytes += kept.bytes
    // The oldest go first.
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#bytes <= LIMITS.eventTextsBytes) return
      this.#kept.delete(oldest)
      this.#bytes -= bytes
    }
  }
}
