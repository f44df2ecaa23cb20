import { delay, systemClock } from '../../core/clock.ts'
import { isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { Subscription } from '../../node/contract.ts'
import type { Pushed } from './push.ts'
import { PushSession, type RetryTimes, retryAfter } from './push-session.ts'
import type { Webhook, WebhookStatus } from './webhook.ts'

export interface PusherComponents {
  /** Opens the subscription for this pusher alone, with no time for acknowledgements. */
  readonly open: () => Promise<Subscription>
  readonly close: (subscription: Subscription) => Promise<void>
  readonly logger: Logger
  /** A push is over, and was not given up half way. */
  readonly onPushed: (outcome: Exclude<Pushed['kind'], 'stopped'>) => void
}

export interface PusherInit {
  readonly name: string
  readonly webhook: Webhook
  readonly retry: RetryTimes
  /** What it was paused for, in an earlier life. */
  readonly paused: string | undefined
  /** Resolves when it is noted that nothing is to be pushed, or cannot be. Never rejects. */
  readonly onPaused: (why: string) => Promise<void>
}

/** Pushes one subscription to its webhook, and leaves an endpoint that does not work alone for longer and longer. */
export class Pusher {
  readonly #components: PusherComponents
  readonly #init: PusherInit
  readonly #stopping = new AbortController()
  #session: PushSession | undefined
  #running: Promise<void> | undefined
  #state: WebhookStatus['state'] = 'pushing'
  #since = new Date()
  #failures = 0
  #lastError: string | undefined
  #lastErrorAt: Date | undefined

  constructor(components: PusherComponents, init: PusherInit) {
    this.#components = components
    this.#init = init
    if (init.paused === undefined) return
    this.#failed(init.paused)
    this.#become('paused')
  }

  get webhook(): Webhook {
    return this.#init.webhook
  }

  get state(): WebhookStatus['state'] {
    return this.#state
  }

  get inFlight(): number {
    return this.#session?.inFlight ?? 0
  }

  status(): WebhookStatus {
    const { headers, ...webhook } = this.#init.webhook
    return {
      ...webhook,
      headers: Object.keys(headers),
      state: this.#state,
      since: this.#since,
      inFlight: this.inFlight,
      failures: this.#failures,
      lastError: this.#lastError,
      lastErrorAt: this.#lastErrorAt
    }
  }

  /** Resolves when the subscription is open for it. Rejects with what keeps it from that. */
  async start(): Promise<void> {
    this.#goOn(await this.#components.open())
  }

  /** For what was registered in an earlier life: what keeps it from opening now passes. */
  resume(): void {
    if (this.#state !== 'paused') this.#goOn(undefined)
  }

  /** Resolves when nothing is pushed any more; requests that are not answered in time are given up. Idempotent. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping.abort()
    this.#session?.stop(drainMs)
    await this.#running
  }

  #goOn(subscription: Subscription | undefined): void {
    this.#running = this.#run(subscription).catch((error: unknown) => {
      const { name } = this.#init
      this.#components.logger.error({ error, subscription: name }, 'a webhook is pushed no more')
    })
  }

  async #run(first: Subscription | undefined): Promise<void> {
    const { signal } = this.#stopping
    let next = first
    for (let isTrial = false; ; isTrial = true) {
      const waitMs = await this.#serve(next, isTrial)
      next = undefined
      if (waitMs === undefined || signal.aborted) return
      await delay(systemClock, waitMs, signal).catch(() => undefined)
      if (signal.aborted) return
    }
  }

  /** One session. Resolves to the time until the next one, ms; undefined: there is none. */
  async #serve(opened: Subscription | undefined, isTrial: boolean): Promise<number | undefined> {
    const { name, retry, webhook } = this.#init
    const { close, logger, open } = this.#components
    let subscription: Subscription
    try {
      subscription = opened ?? (await open())
    } catch (error) {
      return this.#notOpened(error as Error)
    }
    const onPushed = (pushed: Pushed): boolean => this.#pushed(pushed)
    const init = { name, webhook, retry, isTrial, onPushed }
    this.#session = new PushSession({ subscription, logger }, init)
    if (this.#stopping.signal.aborted) this.#session.stop(0)
    const end = await this.#session.run()
    this.#session = undefined
    await close(subscription)
    switch (end.kind) {
      case 'stopped':
        return undefined
      case 'gone':
        this.#become('paused')
        await this.#init.onPaused(this.#lastError ?? '')
        logger.warn({ subscription: name }, 'a webhook answered 410: its subscription is paused')
        return undefined
      case 'later':
        return Math.max(end.retryAfterMs, this.#backOff())
      case 'ended':
        return this.#notOpened(end.error)
    }
  }

  /** The subscription is not there, now or for good. */
  #notOpened(error: Error | undefined): number | undefined {
    if (this.#stopping.signal.aborted) return undefined
    if (isSkeinError(error, 'ERR_SUBSCRIPTION_UNKNOWN', 'ERR_STOPPED')) return undefined
    this.#failed(error?.message ?? 'the subscription ended')
    this.#become('failing')
    return this.#backOff()
  }

  #backOff(): number {
    return retryAfter(this.#init.retry, Math.max(1, this.#failures))
  }

  #pushed(pushed: Pushed): boolean {
    if (pushed.kind === 'stopped') return false
    this.#components.onPushed(pushed.kind)
    if (pushed.kind === 'done') {
      this.#failures = 0
      if (this.#state === 'failing') {
        this.#become('pushing')
        this.#components.logger.info({ subscription: this.#init.name }, 'a webhook works again')
      }
      return false
    }
    this.#failed(pushed.why)
    const leave = pushed.kind === 'later' || this.#failures >= LIMITS.webhookFailuresInARow
    if (leave && this.#state === 'pushing') {
      const { name } = this.#init
      const context = { subscription: name, why: pushed.why }
      this.#components.logger.warn(context, 'a webhook does not work: it is tried now and then')
      this.#become('failing')
    }
    // While it is on trial, each failure ends that.
    return leave || this.#state === 'failing'
  }

  #failed(why: string): void {
    this.#failures++
    this.#lastError = why
    this.#lastErrorAt = new Date()
  }

  #become(state: WebhookStatus['state']): void {
    if (this.#state === state) return
    this.#state = state
    this.#since = new Date()
  }
}
