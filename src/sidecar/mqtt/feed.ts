import { SkeinError } from '../../core/errors.ts'
import type { Message, Subscription } from '../../node/contract.ts'
import type { Qos } from './session-names.ts'

/** Who is fed. */
export interface FeedTarget {
  /** Resolves to true when it takes a message, to false when it takes none any more, or at the signal. */
  room(signal: AbortSignal): Promise<boolean>
  deliver(message: Message, feed: Feed): void
}

export interface FeedInit {
  readonly subscription: Subscription
  readonly qos: Qos
  /** What its messages are known by when they are handed over again; undefined where others may get them instead. */
  readonly name: string | undefined
  /** Ends what only this feed needs of the subscription. */
  readonly close: () => Promise<void>
  readonly onFailed: (error: unknown) => void
}

/** How long one pull waits, ms: any time would do. */
const PULL_MS = 60_000

/**
 * Brings the messages of one topic filter to one client: it takes one when the client has room for it, so that
 * clients that share a subscription take turns, and a slow one leaves the rest where they are.
 */
export class Feed {
  qos: Qos
  readonly name: string | undefined
  readonly #init: FeedInit
  readonly #stopping = new AbortController()
  readonly #forget: () => void
  /** Whoever pulls of a subscription that has ended is answered at once, with nothing. */
  #hasEnded = false
  #retained: AbortController | undefined
  #running: Promise<void> | undefined

  constructor(init: FeedInit) {
    this.#init = init
    this.qos = init.qos
    this.name = init.name
    this.#forget = init.subscription.events.on('end', () => {
      this.#hasEnded = true
    })
  }

  /** Nothing waits, and nothing is unacknowledged. */
  get isUpToDate(): boolean {
    return this.#init.subscription.status().lag === 0
  }

  get isStopped(): boolean {
    return this.#stopping.signal.aborted
  }

  /** Last values are to be sent; the signal says until when. Ends what was begun so before. */
  beginRetained(): AbortSignal {
    this.#retained?.abort()
    this.#retained = new AbortController()
    return AbortSignal.any([this.#retained.signal, this.#stopping.signal])
  }

  /** Begins, once. */
  start(target: FeedTarget): void {
    this.#running ??= this.#run(target).catch((error: unknown) => {
      if (!this.isStopped) this.#init.onFailed(error)
    })
  }

  /** Resolves when nothing comes any more, and what nobody has acknowledged is given back. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    this.#forget()
    await this.#init.close()
  }

  async #run(target: FeedTarget): Promise<void> {
    const { subscription } = this.#init
    const { signal } = this.#stopping
    while (!signal.aborted && (await target.room(signal))) {
      const [message] = await subscription.pull(1, PULL_MS, signal)
      if (message !== undefined && !signal.aborted) target.deliver(message, this)
      else if (message !== undefined) await message.nack()
      else if (this.#hasEnded && !signal.aborted) throw ended(subscription.filter)
    }
  }
}

function ended(filter: string): SkeinError {
  return new SkeinError('ERR_STOPPED', `the subscription to '${filter}' was stopped`)
}
