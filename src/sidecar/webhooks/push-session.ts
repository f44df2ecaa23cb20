import { setMaxListeners } from 'node:events'
import { isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import { jitter, systemRandom } from '../../core/random.ts'
import type { Message, Subscription } from '../../node/contract.ts'
import { KeyLanes } from './key-lanes.ts'
import { type Pushed, pushTo } from './push.ts'
import type { Webhook } from './webhook.ts'

/** After how long what failed is tried again, ms: doubled each time, less up to half of it at random. */
export interface RetryTimes {
  readonly minMs: number
  readonly maxMs: number
}

export function retryAfter({ maxMs, minMs }: RetryTimes, failures: number): number {
  return jitter(systemRandom, Math.min(minMs * 2 ** Math.min(failures - 1, 30), maxMs))
}

/** Why a session is over. */
export type SessionEnd =
  /** The endpoint is to be left alone for a while. */
  | { readonly kind: 'later'; readonly retryAfterMs: number }
  /** It wants no more. */
  | { readonly kind: 'gone' }
  /** Somebody stopped it. */
  | { readonly kind: 'stopped' }
  /** The subscription ended by itself. */
  | { readonly kind: 'ended'; readonly error: Error | undefined }

export interface PushSessionComponents {
  readonly subscription: Subscription
  readonly logger: Logger
}

export interface PushSessionInit {
  readonly name: string
  readonly webhook: Webhook
  readonly retry: RetryTimes
  /** The endpoint did not work before: one message at a time until one is taken. */
  readonly isTrial: boolean
  /** A push is over. True: the endpoint is to be left alone. */
  readonly onPushed: (pushed: Pushed) => boolean
}

/** Messages asked for at once: with the largest payloads, some 3 MiB beyond the window. */
const PULL = 16

/** Pushes the messages of an open subscription until something ends that. */
export class PushSession {
  readonly #subscription: Subscription
  readonly #log: Logger
  readonly #init: PushSessionInit
  readonly #lanes: KeyLanes
  readonly #running = new Set<Promise<void>>()
  readonly #acknowledging = new Set<Promise<void>>()
  /** No more is taken. */
  readonly #closing = new AbortController()
  /** What is under way is given up. */
  readonly #cutting = new AbortController()
  #isTrial: boolean
  #end: SessionEnd | undefined
  #ended: (() => void) | undefined
  /** Somebody waits for room. */
  #roomy: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(components: PushSessionComponents, init: PushSessionInit) {
    this.#subscription = components.subscription
    this.#log = components.logger
    this.#init = init
    this.#isTrial = init.isTrial
    this.#lanes = new KeyLanes(init.webhook.concurrency === 1)
    // Every push that is under way listens to it.
    setMaxListeners(0, this.#cutting.signal)
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#running.size
  }

  /** Resolves when it is over, and what was not pushed is given back, uncounted. */
  async run(): Promise<SessionEnd> {
    const { events } = this.#subscription
    const release = [
      events.on('dead-letter', ({ messageId }) => {
        this.#lanes.release(messageId)
        this.#pump()
      }),
      events.on('end', ({ error }) => this.#finish({ kind: 'ended', error }))
    ]
    const over = new Promise<void>((resolve) => {
      this.#ended = resolve
      // It was stopped before it began.
      if (this.#end !== undefined) resolve()
    })
    const taking = this.#take()
    await over
    await taking
    await Promise.all(this.#running)
    for (const off of release) off()
    await Promise.allSettled([
      ...this.#acknowledging,
      ...this.#lanes.drain().map((message) => message.nack({ counts: false }))
    ])
    return this.#end ?? { kind: 'stopped' }
  }

  /** Pushes that have not been answered after `drainMs` are given up. */
  stop(drainMs: number): void {
    this.#finish({ kind: 'stopped' })
    setTimeout(() => this.#cutting.abort(), drainMs).unref()
  }

  #finish(end: SessionEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    clearTimeout(this.#timer)
    this.#closing.abort()
    this.#roomy?.()
    this.#ended?.()
  }

  async #take(): Promise<void> {
    const { signal } = this.#closing
    try {
      while (this.#end === undefined) {
        const room = this.#room()
        if (room === 0) {
          await new Promise<void>((resolve) => {
            this.#roomy = resolve
          })
          continue
        }
        const messages = await this.#subscription.pull(room, LIMITS.pullWaitMs, signal)
        for (const message of messages) this.#lanes.add(message)
        this.#pump()
      }
    } catch (error) {
      this.#finish({ kind: 'ended', error: error as Error })
    }
  }

  #room(): number {
    const { bytes, size } = this.#lanes
    if (this.#isTrial) return size === 0 ? 1 : 0
    return bytes < LIMITS.webhookWindowBytes ? PULL : 0
  }

  #pump(): void {
    clearTimeout(this.#timer)
    const most = this.#isTrial ? 1 : this.#init.webhook.concurrency
    const now = performance.now()
    while (this.#end === undefined && this.#running.size < most) {
      const message = this.#lanes.next(now)
      if (message === undefined) {
        this.#wakeAt(this.#lanes.dueAt(), now)
        break
      }
      const push = this.#push(message)
      this.#running.add(push)
      void push.finally(() => {
        this.#running.delete(push)
        this.#pump()
      })
    }
    if (this.#room() > 0) this.#roomy?.()
  }

  #wakeAt(at: number | undefined, now: number): void {
    if (at === undefined) return
    // Timers of the platform may be early by a millisecond.
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, Math.ceil(at - now)))
    this.#timer.unref()
  }

  async #push(message: Message): Promise<void> {
    const { name, webhook } = this.#init
    const pushed = await pushTo(webhook, name, message, this.#cutting.signal)
    const leave = this.#init.onPushed(pushed)
    switch (pushed.kind) {
      case 'done':
        this.#isTrial = false
        this.#lanes.done(message)
        this.#acknowledge(message)
        return
      case 'failed':
        this.#fail(message, pushed)
        if (leave) this.#finish({ kind: 'later', retryAfterMs: pushed.retryAfterMs })
        return
      case 'later':
        this.#lanes.back(message)
        this.#finish({ kind: 'later', retryAfterMs: pushed.retryAfterMs })
        return
      case 'gone':
        this.#lanes.back(message)
        this.#finish({ kind: 'gone' })
        return
      case 'stopped':
        // It may have been taken: when the subscription closes, the hand-over counts.
        this.#lanes.done(message)
        return
    }
  }

  #acknowledge(message: Message): void {
    this.#settle(message.ack(), 'a pushed message could not be acknowledged: it is pushed again')
  }

  /** Given back at once, so that the count is on disk; it comes back to hand and waits there. */
  #fail(message: Message, { why, retryAfterMs }: Extract<Pushed, { kind: 'failed' }>): void {
    const wait = Math.max(retryAfterMs, retryAfter(this.#init.retry, message.attempt))
    this.#lanes.failed(message, performance.now() + wait)
    this.#settle(message.nack({ error: why }), 'a message could not be given back')
  }

  #settle(written: Promise<void>, what: string): void {
    const settled = written.catch((error: unknown) => {
      // Somebody else has it by now.
      if (isSkeinError(error, 'ERR_MESSAGE_UNKNOWN')) return
      this.#log.warn({ error, subscription: this.#init.name }, what)
    })
    this.#acknowledging.add(settled)
    void settled.finally(() => this.#acknowledging.delete(settled))
  }
}
