import { isDeepStrictEqual } from 'node:util'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { Counter, Figures } from '../figures.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { Pusher } from './pusher.ts'
import type { RetryTimes } from './push-session.ts'
import type { WebhookFile } from './webhook-file.ts'
import type { Webhook, WebhookStatus } from './webhook.ts'

export interface WebhooksComponents {
  readonly subscriptions: Pick<OpenSubscriptions, 'takeForWebhook' | 'release' | 'describe'>
  readonly figures: Figures
  readonly file: Pick<WebhookFile, 'subscriptions' | 'keepSubscription'>
  readonly logger: Logger
}

/** The subscriptions of a node that are pushed to webhooks. */
export class Webhooks {
  readonly #components: WebhooksComponents
  readonly #retry: RetryTimes
  readonly #pushes: Counter
  readonly #pushers = new Map<string, Pusher>()
  /** Registrations of one name are changed in turn. */
  readonly #changes = new Map<string, Promise<unknown>>()

  constructor(components: WebhooksComponents, init: { retry: RetryTimes }) {
    this.#components = components
    this.#retry = init.retry
    this.#pushes = this.#addFigures(components.figures)
  }

  /** Goes on with what was registered before. The file has been loaded. */
  start(): void {
    const { file } = this.#components
    for (const [name, { paused, webhook }] of file.subscriptions) {
      const pusher = this.#create(name, webhook, paused)
      this.#pushers.set(name, pusher)
      pusher.resume()
    }
  }

  /**
   * Pushes a registered subscription to a webhook from now on, also after a restart. Rejects with
   * ERR_SUBSCRIPTION_IN_USE while somebody else consumes it, ERR_DATA_DIR where it cannot be kept.
   */
  put(name: string, webhook: Webhook): Promise<void> {
    return this.#change(name, async () => {
      const before = this.#pushers.get(name)
      const isAlike = before !== undefined && isDeepStrictEqual(before.webhook, webhook)
      // One that does not work is tried at once: whoever registers it has a reason.
      if (isAlike && before.state === 'pushing') return
      await this.#end(name)
      const pusher = this.#create(name, webhook, undefined)
      await pusher.start()
      this.#pushers.set(name, pusher)
      try {
        await this.#components.file.keepSubscription(name, { webhook })
      } catch (error) {
        await this.#end(name)
        throw error
      }
    })
  }

  /** Resolves when nothing is pushed any more; at once where nothing was. Rejects with ERR_DATA_DIR. */
  remove(name: string): Promise<void> {
    return this.#change(name, async () => {
      await this.#end(name)
      await this.#components.file.keepSubscription(name, undefined)
    })
  }

  /** Undefined where the subscription has no webhook. */
  status(name: string): WebhookStatus | undefined {
    return this.#pushers.get(name)?.status()
  }

  /** Pushes that have not been answered after LIMITS.serviceDrainMs are given up. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all(
      Array.from(this.#pushers.values(), (pusher) => pusher.stop(LIMITS.serviceDrainMs))
    )
  }

  #addFigures(figures: Figures): Counter {
    const pushes = figures.counter(
      'skein_webhook_pushes_total',
      'Pushes to webhooks, by what became of them.',
      ['outcome']
    )
    for (const outcome of ['done', 'failed', 'later', 'gone']) pushes.add([outcome], 0)
    const all = (): readonly Pusher[] => [...this.#pushers.values()]
    figures.gauge(
      'skein_webhook_subscriptions',
      'Subscriptions with a webhook, by its state.',
      ['state'],
      () =>
        (['pushing', 'failing', 'paused'] as const).map((state) => [
          [state],
          all().filter((pusher) => pusher.state === state).length
        ])
    )
    figures.gauge('skein_webhook_pushes_in_flight', 'Pushes that wait for their answers.', [], () =>
      all().reduce((sum, { inFlight }) => sum + inFlight, 0)
    )
    return pushes
  }

  async #end(name: string): Promise<void> {
    const pusher = this.#pushers.get(name)
    this.#pushers.delete(name)
    await pusher?.stop(LIMITS.serviceDrainMs)
  }

  #create(name: string, webhook: Webhook, paused: string | undefined): Pusher {
    const { file, logger, subscriptions } = this.#components
    return new Pusher(
      {
        open: () => subscriptions.takeForWebhook(name),
        close: (subscription) => subscriptions.release(name, subscription),
        logger,
        onPushed: (outcome) => this.#pushes.add([outcome])
      },
      {
        name,
        webhook,
        retry: this.#retry,
        paused,
        onPaused: async (why) => {
          try {
            await file.keepSubscription(name, { webhook, paused: why })
          } catch (error) {
            logger.error({ error, subscription: name }, 'a paused webhook could not be noted')
          }
        }
      }
    )
  }

  #change(name: string, change: () => Promise<void>): Promise<void> {
    const before = this.#changes.get(name) ?? Promise.resolve()
    const changed = before.then(change, change)
    const over = changed.then(
      () => undefined,
      () => undefined
    )
    this.#changes.set(name, over)
    void over.then(() => {
      if (this.#changes.get(name) === over) this.#changes.delete(name)
    })
    return changed
  }
}
