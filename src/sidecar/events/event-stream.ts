import type { ServerResponse } from 'node:http'
import type { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Gap, Message, Subscription } from '../../node/contract.ts'
import type { DataEncoding } from './cloud-event.ts'
import type { EventSharing } from './event-sharing.ts'
import { problemOf } from '../problem.ts'

export interface EventStreamComponents {
  readonly subscription: Subscription
  /** Its head has been sent. */
  readonly response: ServerResponse
  /** Ends the stream: the client went away, or the node stops. */
  readonly signal: AbortSignal
  readonly sharing: EventSharing
}

export interface EventStreamInit {
  readonly encoding: DataEncoding
  /** Acknowledge what the socket has taken. */
  readonly acknowledge: boolean
}

/** One Server-Sent Event; `data` must be on one line. */
export function eventText(event: string, data: string): string {
  return `event: ${event}\ndata: ${data}\n\n`
}

/**
 * Copies a subscription to an event stream. Nothing is taken from the subscription while the socket is not
 * ready for more, so a slow reader costs one batch of memory, and falls back to what the log holds.
 */
export class EventStream {
  readonly #subscription: Subscription
  readonly #response: ServerResponse
  readonly #signal: AbortSignal
  readonly #sharing: EventSharing
  readonly #encoding: DataEncoding
  readonly #acknowledge: boolean
  /** Running mean of an event's length, from which the size of the next batch follows. */
  #eventLength = LIMITS.sseBatchBytes / 64
  #ended = false
  #failure: Error | undefined

  constructor(components: EventStreamComponents, init: EventStreamInit) {
    this.#subscription = components.subscription
    this.#response = components.response
    this.#signal = components.signal
    this.#sharing = components.sharing
    this.#encoding = init.encoding
    this.#acknowledge = init.acknowledge
  }

  /** Runs until the client goes away, the subscription ends or the signal aborts. Never rejects. */
  async run(toError: (error: unknown) => SkeinError): Promise<void> {
    const { events } = this.#subscription
    const release = [
      this.#sharing.enter(),
      events.on('gap', (gap) => this.#writeGap(gap)),
      events.on('stalled', (gap) => this.#writeGap(gap)),
      events.on('end', ({ error }) => {
        this.#ended = true
        this.#failure = error
      })
    ]
    try {
      await this.#copy()
      if (this.#failure !== undefined) throw this.#failure
    } catch (error) {
      if (!this.#signal.aborted)
        this.#write(eventText('error', JSON.stringify(problemOf(toError(error)))))
    } finally {
      for (const off of release) off()
      this.#response.end()
    }
  }

  async #copy(): Promise<void> {
    while (!this.#ended && !this.#signal.aborted) {
      const max = Math.floor(this.#sharing.batchBytes / this.#eventLength)
      const count = Math.min(Math.max(max, 1), LIMITS.pullMessages)
      const messages = await this.#subscription.pull(count, LIMITS.sseCommentMs, this.#signal)
      if (this.#signal.aborted) return
      if (messages.length > 0) await this.#writeMessages(messages)
      else if (!this.#ended) await this.#writeAll(':\n\n', [])
    }
  }

  #writeMessages(messages: readonly Message[]): Promise<void> | undefined {
    let text = ''
    for (const message of messages) {
      text += `id: ${message.cursor}\nevent: message\ndata: ${this.#sharing.jsonOf(message, this.#encoding)}\n\n`
    }
    this.#eventLength = (this.#eventLength + text.length / messages.length) / 2
    return this.#writeAll(text, this.#acknowledge ? messages : [])
  }

  /** Writes, acknowledges `messages` once the socket has taken them, and waits while it wants no more. */
  #writeAll(text: string, messages: readonly Message[]): Promise<void> | undefined {
    const { socket } = this.#response
    const ready = this.#write(text, (error) => {
      // A destroyed socket completes its pending writes without an error.
      if (error || socket?.destroyed !== false) return
      for (const message of messages) {
        // What cannot be acknowledged is handed over again; the subscription reports its own end.
        message.ack().catch(() => {})
      }
    })
    return ready ? undefined : this.#drained()
  }

  #write(text: string, taken?: (error: Error | null | undefined) => void): boolean {
    if (this.#response.destroyed || this.#response.writableEnded) return false
    return this.#response.write(text, 'utf8', taken)
  }

  #writeGap(gap: Gap): void {
    this.#write(eventText('gap', JSON.stringify(gap)))
  }

  #drained(): Promise<void> {
    if (this.#signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const stalled = setTimeout(() => this.#response.destroy(), LIMITS.sseStallMs)
      const done = (): void => {
        clearTimeout(stalled)
        this.#response.off('drain', done)
        this.#signal.removeEventListener('abort', done)
        resolve()
      }
      this.#response.on('drain', done)
      this.#signal.addEventListener('abort', done, { once: true })
    })
  }
}
