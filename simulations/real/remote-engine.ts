import { Emitter } from '../../src/core/events.ts'
import { joinTopic } from '../../src/wire/topic.ts'
import type { LifeEngine } from '../runner/contract.ts'
import type { Calls, Notice } from './protocol.ts'
import { RemoteSubscription } from './remote-subscription.ts'
import type { WorkerProcess } from './worker-process.ts'

export interface RemoteEngineInit {
  /** See `RemoteSubscriptionInit`. */
  readonly settled: () => Promise<void>
  readonly onListenerError: (error: unknown) => void
}

/** What a load uses of a node that runs in another process. */
export class RemoteEngine implements LifeEngine {
  readonly publisher: LifeEngine['publisher']
  readonly subscriptions: LifeEngine['subscriptions']
  readonly groups: LifeEngine['groups']
  readonly inbox: LifeEngine['inbox']
  readonly #caller: Pick<WorkerProcess, 'call'>
  readonly #init: RemoteEngineInit
  readonly #expired: Emitter<{ expired: { readonly id: string } }>
  readonly #received: Emitter<{ received: object }>
  readonly #open = new Map<number, RemoteSubscription>()
  #outbox: readonly string[] = []
  #subscribed = 0
  #opening = 0

  constructor(caller: Pick<WorkerProcess, 'call'>, init: RemoteEngineInit) {
    this.#caller = caller
    this.#init = init
    this.#expired = new Emitter(init.onListenerError)
    this.#received = new Emitter(init.onListenerError)
    this.publisher = {
      publish: ({ contentType, headers, id, key, payload, priority, topic, ttlMs }, confirm) =>
        caller.call('publish', {
          topic: joinTopic(topic.channel, topic.suffix),
          payload,
          options: { contentType, headers, id, key, priority, ttlMs, confirm }
        })
    }
    this.subscriptions = { subscribe: (filter, options) => this.#subscribe(filter, options) }
    this.groups = { subscribe: (filter, _name, options) => this.#subscribe(filter, options) }
    this.inbox = {
      send: async (peer, { custodians, payload, topic, ttlMs }) => {
        const options = { custodians, ttlMs }
        const { id } = await caller.call('send', { peer, topic, payload, options })
        return { id, delivered: caller.call('delivered', { id }) }
      },
      outbox: { events: this.#expired, list: () => this.#outbox.map((id) => ({ id })) },
      receipts: { events: this.#received }
    }
  }

  /** Subscriptions that are not open yet. */
  get opening(): number {
    return this.#opening
  }

  /** What waits for its recipients by now. */
  outboxIs(ids: readonly string[]): void {
    this.#outbox = ids
    this.#received.emit('received', {})
  }

  hear(notice: Notice): void {
    if (notice.say === 'gap') {
      this.#open.get(notice.subscription)?.events.emit('gap', notice.gap)
    } else if (notice.say === 'expired') {
      this.#expired.emit('expired', { id: notice.id })
    }
  }

  #subscribe(filter: string, options: Calls['subscribe']['params']['options']): RemoteSubscription {
    const place = ++this.#subscribed
    const subscription = new RemoteSubscription(this.#caller, {
      ...this.#init,
      place,
      filter,
      options
    })
    this.#open.set(place, subscription)
    this.#opening++
    const opened = (): void => {
      this.#opening--
    }
    // Whoever reads it is told what kept it from opening.
    subscription.ready.catch(() => undefined).finally(opened)
    return subscription
  }
}
