import { type Clock, type Timer, every } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Received, RetentionPolicy, Store } from '../store/contract.ts'

export interface UpkeepComponents {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
}

export interface UpkeepInit {
  readonly retention: (channel: string) => RetentionPolicy
  /** What every known durable subscriber of a channel has. */
  readonly received: (channel: string) => Promise<Received | undefined>
  /** Bytes of a piece of the background check. Default 2 MiB. */
  readonly scrubBytes?: number | undefined
}

/** Between two looks at what retention takes, ms. */
const TRIM_MS = 10_000
/** Between two pieces of the background check, and the bytes of a piece: 4 GiB take some three hours. */
const SCRUB_MS = 5_000
const SCRUB_BYTES = 2 * 1024 * 1024

/** What a store needs from time to time: retention, and a check of what lies on disk. */
export class Upkeep {
  readonly #components: UpkeepComponents
  readonly #init: UpkeepInit
  readonly #timers: Timer[] = []
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(components: UpkeepComponents, init: UpkeepInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { clock, store } = this.#components
    this.#timers.push(
      every(clock, TRIM_MS, () => this.#run(() => this.trim())),
      every(clock, SCRUB_MS, () =>
        this.#run(async () => {
          await store.scrub(this.#init.scrubBytes ?? SCRUB_BYTES)
        })
      )
    )
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const timer of this.#timers.splice(0)) timer.cancel()
    await this.#running
  }

  /** Trims every channel by its policy. */
  async trim(): Promise<void> {
    const { store } = this.#components
    for (const channel of store.channels()) {
      if (this.#stopped) return
      const policy = this.#init.retention(channel)
      const received = policy.untilReceived ? await this.#init.received(channel) : undefined
      await store.trim(channel, policy, received)
    }
  }

  /** One at a time; a store that recovers is left alone until the next time. */
  #run(task: () => Promise<void>): Promise<void> {
    this.#running = this.#running.then(async () => {
      const { condition } = this.#components.store
      if (this.#stopped || (condition !== 'open' && condition !== 'full')) return
      try {
        await task()
      } catch (error) {
        if (!isSkeinError(error)) throw error
        this.#components.logger.warn(
          { err: error },
          'upkeep of the store failed; it is tried again'
        )
      }
    })
    return this.#running
  }
}
