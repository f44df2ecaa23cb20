import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import type { DeliveredMessage } from './message.ts'

export interface ConsumerInit {
  /** The next message to hand over now. */
  readonly take: () => DeliveredMessage | undefined
  /** Called for the message before when the next one is asked for, where iteration acknowledges by itself. */
  readonly acknowledge: ((message: DeliveredMessage) => void) | undefined
  /** A handler is done with a message. */
  readonly handled: (message: DeliveredMessage) => void
  readonly failed: (message: DeliveredMessage, error: unknown) => void
  /** Resolves when all that belongs to the end of the subscription is done and told. */
  readonly ended: () => Promise<void>
}

type Handler = (message: DeliveredMessage) => void | Promise<void>

interface Waiter {
  readonly resolve: (message: DeliveredMessage | undefined) => void
  readonly reject: (error: SkeinError) => void
}

/** How long handlers run before other work gets its turn, ms. */
const SLICE_MS = 8
/** Messages between two looks at the time. */
const SLICE_MESSAGES = 64

/** Hands messages to whoever consumes a subscription: an iterator, a handler, or a caller that pulls. */
export class Consumer {
  readonly #clock: Clock
  readonly #init: ConsumerInit
  readonly #waiters: Waiter[] = []
  #handler: Handler | undefined
  #pumping = false
  #scheduled = false
  #last: DeliveredMessage | undefined
  #ended = false
  #error: SkeinError | undefined

  constructor(clock: Clock, init: ConsumerInit) {
    this.#clock = clock
    this.#init = init
  }

  /** There may be a message. */
  wake(): void {
    if (this.#scheduled || this.#ended) return
    if (this.#handler === undefined ? this.#waiters.length === 0 : this.#pumping) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (this.#handler !== undefined) this.#pump()
      else this.#serve()
    })
  }

  async #next(): Promise<IteratorResult<DeliveredMessage>> {
    if (this.#handler !== undefined) throw consumedTwice()
    const last = this.#last
    this.#last = undefined
    if (last !== undefined) this.#init.acknowledge?.(last)
    const message = await this.#one()
    if (message === undefined) return { done: true, value: undefined }
    this.#last = message
    return { done: false, value: message }
  }

  /** `stop`: whoever iterates has had enough. */
  iterator(stop: () => Promise<void>): AsyncIterator<DeliveredMessage> {
    return {
      next: () => this.#next(),
      return: async () => {
        await stop()
        return { done: true, value: undefined }
      }
    }
  }

  onMessage(handler: Handler): void {
    if (this.#handler !== undefined || this.#waiters.length > 0) throw consumedTwice()
    this.#handler = handler
    this.wake()
  }

  async pull(max: number, waitMs: number, signal?: AbortSignal): Promise<DeliveredMessage[]> {
    if (this.#handler !== undefined) throw consumedTwice()
    const first = await this.#one(waitMs, signal)
    if (first === undefined) {
      // Answered at once, a caller that pulls in a loop would leave no time for the end.
      if (this.#ended && signal?.aborted !== true) await this.#init.ended()
      return []
    }
    const messages = [first]
    while (messages.length < max) {
      const message = this.#init.take()
      if (message === undefined) break
      messages.push(message)
    }
    return messages
  }

  /** Ends every wait: with the error, or as the end of the stream. */
  end(error: SkeinError | undefined): void {
    this.#ended = true
    this.#error = error
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (error === undefined) resolve(undefined)
      else reject(error)
    }
  }

  /** One message, or undefined when the time is over, the signal aborts or the stream ends. */
  #one(waitMs = Infinity, signal?: AbortSignal): Promise<DeliveredMessage | undefined> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#ended) return Promise.resolve(undefined)
    const message = this.#waiters.length === 0 ? this.#init.take() : undefined
    if (message !== undefined || waitMs <= 0 || signal?.aborted === true) {
      return Promise.resolve(message)
    }
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined
      const giveUp = (): void => {
        const at = this.#waiters.indexOf(waiter)
        if (at !== -1) this.#waiters.splice(at, 1)
        waiter.resolve(undefined)
      }
      const settle = (): void => {
        timer?.cancel()
        signal?.removeEventListener('abort', giveUp)
      }
      const waiter: Waiter = {
        resolve: (value) => {
          settle()
          resolve(value)
        },
        reject: (error) => {
          settle()
          reject(error)
        }
      }
      this.#waiters.push(waiter)
      if (waitMs !== Infinity) timer = this.#clock.after(waitMs, giveUp)
      signal?.addEventListener('abort', giveUp, { once: true })
    })
  }

  #serve(): void {
    while (this.#waiters.length > 0) {
      const message = this.#init.take()
      if (message === undefined) return
      this.#waiters.shift()?.resolve(message)
    }
  }

  #pump(): void {
    const handler = this.#handler
    if (handler === undefined || this.#pumping) return
    this.#pumping = true
    const end = this.#clock.monotonic() + SLICE_MS
    for (let count = 1; ; count++) {
      if (this.#ended) return
      const message = this.#init.take()
      if (message === undefined) break
      if (this.#run(handler, message)) return
      if (count % SLICE_MESSAGES === 0 && this.#clock.monotonic() > end) {
        this.#clock.soon(() => this.#resume())
        return
      }
    }
    this.#pumping = false
  }

  /** True where the handler goes on by itself: the pump resumes when it is done. */
  #run(handler: Handler, message: DeliveredMessage): boolean {
    try {
      const running = handler(message)
      if (running === undefined) {
        this.#init.handled(message)
        return false
      }
      running
        .then(
          () => this.#init.handled(message),
          (error: unknown) => this.#init.failed(message, error)
        )
        .finally(() => this.#resume())
      return true
    } catch (error) {
      this.#init.failed(message, error)
      return false
    }
  }

  #resume(): void {
    this.#pumping = false
    this.#pump()
  }
}

function consumedTwice(): SkeinError {
  return new SkeinError(
    'ERR_OPTIONS',
    'a subscription is consumed in one way only: iterate it, give it a handler, or pull from it'
  )
}
