import { type Clock, delay } from '../../src/core/clock.ts'
import { isSkeinError } from '../../src/core/errors.ts'
import type { Message } from '../../src/delivery/contract.ts'
import type { Reading, SubscriptionLoad } from '../scenario/contract.ts'
import type { Life, LifeSubscription, RunTime } from './contract.ts'
import type { Occupant } from './population.ts'

/** What a reader is told, in the order in which it happens. */
export interface ReaderInit {
  readonly load: SubscriptionLoad
  readonly node: string
  /** A message was taken; its acknowledgement waits for what is returned, and is not given when that rejects. */
  readonly onMessage: (message: Message, life: Life) => void | Promise<void>
  readonly onAcknowledged: (message: Message) => void
  /** Its acknowledgement failed, or its node went down before there was an answer. */
  readonly onUnanswered: (message: Message) => void
  /** Its node went down before what `onMessage` returned was settled. */
  readonly onUnfinished: (message: Message) => void
  readonly onOpen: (subscription: LifeSubscription, life: Life) => void
  readonly onClosed: () => void
}

/** A subscription that could not be opened, or ended by itself, is opened again after this time, ms. */
const REOPEN_MS = 1000
/** A message whose handler failed is asked for again after this time, ms: doubled at each attempt. */
const RETRY_MS = 100
const RETRY_MOST_MS = 30_000

/** An application on one node that reads one subscription, in each life of the node. */
export class Reader implements Occupant {
  readonly #time: RunTime
  readonly #init: ReaderInit
  #life: Life | undefined
  #subscription: LifeSubscription | undefined
  /** What the application is at work at. */
  #working: Message | undefined
  /** Acknowledged, and not answered yet. */
  readonly #asking = new Set<Message>()
  /** It has its place in time: open from `fromMs` until `untilMs`. */
  #wanted = false

  constructor(time: RunTime, init: ReaderInit) {
    this.#time = time
    this.#init = init
    const { fromMs, untilMs } = init.load
    time.schedule(fromMs, () => {
      this.#wanted = true
      this.#open()
    })
    if (untilMs !== undefined) time.schedule(untilMs, () => this.#close())
  }

  up(life: Life): void {
    this.#life = life
    this.#open()
  }

  down(): void {
    this.#life = undefined
    const working = this.#working
    this.#working = undefined
    if (working !== undefined) this.#init.onUnfinished(working)
    for (const message of this.#asking) this.#unanswered(message)
    this.#asking.clear()
    this.#ended()
  }

  #open(): void {
    const life = this.#life
    if (!this.#wanted || life === undefined || this.#subscription !== undefined) return
    void this.#read(life)
  }

  #close(): void {
    this.#wanted = false
    const subscription = this.#subscription
    this.#ended()
    // A node that cannot write must not keep the run from going on.
    subscription?.stop().catch(() => undefined)
  }

  #ended(): void {
    if (this.#subscription === undefined) return
    this.#subscription = undefined
    this.#init.onClosed()
  }

  async #read(life: Life): Promise<void> {
    try {
      const subscription = this.#subscribe(life)
      this.#subscription = subscription
      await subscription.ready
      if (!this.#isOpen(life, subscription)) return
      this.#init.onOpen(subscription, life)
      await this.#consume(life, subscription)
    } catch (error) {
      if (!isSkeinError(error)) throw error
    }
    if (!life.up || this.#life !== life) return
    this.#ended()
    await delay(life.clock, REOPEN_MS)
    if (life.up) this.#open()
  }

  #subscribe({ engine }: Life): LifeSubscription {
    const { durable, filter, from, group, majority, onGap } = this.#init.load
    if (group === undefined) {
      return engine.subscriptions.subscribe(filter, {
        durable,
        from,
        onGap,
        // What a scenario lets fail goes on failing for as long as it likes: a dead letter would count as lost.
        maxDeliveries: 0
      })
    }
    const onPartition = majority === undefined ? undefined : { majority }
    return engine.groups.subscribe(filter, group, {
      group,
      from,
      onGap,
      onPartition,
      maxDeliveries: 0
    })
  }

  #isOpen(life: Life, subscription: LifeSubscription): boolean {
    return life.alive && this.#subscription === subscription
  }

  async #consume(life: Life, subscription: LifeSubscription): Promise<void> {
    const { reading } = this.#init.load
    const iterator = subscription[Symbol.asyncIterator]()
    for (;;) {
      await this.#mayRead(reading, life.clock)
      const next = await iterator.next()
      if (next.done === true || !this.#isOpen(life, subscription)) return
      // It stopped reading while it waited for this one.
      await this.#mayRead(reading, life.clock)
      if (!this.#isOpen(life, subscription)) return
      await this.#take(next.value, life)
      if (reading.kind === 'slow') await delay(life.clock, 1000 / reading.perSecond)
    }
  }

  async #take(message: Message, life: Life): Promise<void> {
    try {
      const handled = this.#init.onMessage(message, life)
      if (handled !== undefined) await this.#work(message, handled, life)
    } catch {
      if (!life.alive) return
      const delayMs = Math.min(RETRY_MOST_MS, RETRY_MS * 2 ** (message.attempt - 1))
      message.nack({ delayMs }).catch(() => undefined)
      return
    }
    if (!life.alive) return
    this.#asking.add(message)
    message.ack().then(
      () => {
        this.#asking.delete(message)
        const { durable, group } = this.#init.load
        if (life.alive && (durable ?? group) !== undefined) this.#init.onAcknowledged(message)
      },
      // Not acknowledged: it comes again, unless other members of a group know of it all the same.
      () => {
        if (this.#asking.delete(message) && life.alive) this.#unanswered(message)
      }
    )
  }

  #unanswered(message: Message): void {
    if (this.#init.load.group !== undefined) this.#init.onUnanswered(message)
  }

  async #work(message: Message, handled: Promise<void>, life: Life): Promise<void> {
    this.#working = message
    try {
      await handled
    } finally {
      // A later life may be at work at something else by now.
      if (this.#life === life) this.#working = undefined
    }
  }

  /** Undefined while it reads; else a promise of the time when it goes on, which may never come. */
  #mayRead(reading: Reading, clock: Clock): Promise<void> | undefined {
    if (reading.kind !== 'stop') return undefined
    const { atMs, resumeMs = Infinity } = reading
    const now = this.#time.nowMs
    if (now < atMs || now >= resumeMs) return undefined
    return resumeMs === Infinity ? NEVER : delay(clock, resumeMs - now)
  }
}

const NEVER = new Promise<void>(() => undefined)
