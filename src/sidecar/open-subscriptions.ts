import { isDeepStrictEqual } from 'node:util'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type {
  GroupStatus,
  Message,
  SkeinNode,
  SubscribeOptions,
  Subscription,
  SubscriptionStatus
} from '../node/contract.ts'
import { within } from './waiting.ts'

/** What a client may say of a durable subscription when it registers it. */
export type RegistrationOptions = Pick<
  SubscribeOptions,
  'from' | 'maxInFlight' | 'ackTimeoutMs' | 'maxDeliveries' | 'gapTimeoutMs' | 'onGap' | 'where'
>

/** What a client may say of a work group that it takes part in. */
export interface GroupOptions extends RegistrationOptions, Pick<SubscribeOptions, 'onPartition'> {}

/**
 * Who has one open. `stream`, `socket`: one connection. `webhook`: it is pushed. `pull`: opened by pulls, for anyone. A
 * socket takes over from another one, which may be a connection that is gone and does not know it yet.
 */
export type Owner = 'stream' | 'socket' | 'webhook' | 'pull'

/** What is to be opened for one connection. */
export interface Taking<Options = RegistrationOptions> {
  readonly filter: string | undefined
  readonly options: Options
  readonly owner: Exclude<Owner, 'pull'>
}

interface Open {
  readonly subscription: Subscription
  readonly owner: Owner
  /** The end of the queue of pulls: they are answered in the order they came. */
  turn: Promise<unknown>
  pulling: number
  lastUsed: number
}

/** Throws ERR_SUBSCRIPTION_CONFLICT, naming the field, where a client asks for something else than is registered. */
function assertAlike(
  name: string,
  registered: SubscriptionStatus,
  asked: RegistrationOptions & { filter: string }
): void {
  const { filter, limits, where = [] } = registered
  const kept = { filter, ...limits, where }
  for (const [field, value] of Object.entries(kept)) {
    const wanted = asked[field as keyof typeof kept]
    if (wanted === undefined || isDeepStrictEqual(wanted, value)) continue
    const [was, is] = [value, wanted].map((one) =>
      typeof one === 'object' ? JSON.stringify(one) : one
    ) as [string | number, string | number]
    throw new SkeinError(
      'ERR_SUBSCRIPTION_CONFLICT',
      `'${name}' is registered with the ${field} '${was}', not '${is}'; ask for that, delete it first or take another name.`,
      { details: { name, field, registered: was, asked: is } }
    )
  }
}

function assertSameGroup(
  { filter, name, onPartition }: GroupStatus,
  asked: string,
  options: GroupOptions
): void {
  const isSame =
    options.onPartition === undefined || isDeepStrictEqual(options.onPartition, onPartition)
  if (filter === asked && isSame) return
  const field = isSame ? 'filter' : 'onPartition'
  throw new SkeinError(
    'ERR_SUBSCRIPTION_CONFLICT',
    `The group '${name}' was made with another ${field}; ask for that, or take another name.`,
    { details: { name, field, registered: isSame ? filter : JSON.stringify(onPartition) } }
  )
}

function unknown(name: string): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_UNKNOWN',
    `No durable subscription and no work group is named '${name}' on this node; create it with PUT /v1/subscriptions/${name}.`
  )
}

/**
 * The durable subscriptions that clients of the HTTP interface are using. One is opened at its first pull or
 * event stream, and closed when its stream ends or when nobody has pulled for a while: closing gives back what
 * is not acknowledged. So it is with the node's part in a work group, which shares their names.
 */
export class OpenSubscriptions {
  readonly #node: SkeinNode
  readonly #log: Logger
  readonly #open = new Map<string, Open>()
  readonly #opening = new Map<string, Promise<Open>>()
  readonly #sweeper: NodeJS.Timeout

  constructor(components: { node: SkeinNode; logger: Logger }) {
    this.#node = components.node
    this.#log = components.logger
    this.#sweeper = setInterval(() => this.#sweep(), LIMITS.pullIdleMs / 4)
    this.#sweeper.unref()
  }

  /** A durable subscription, or this node's part in a work group. Rejects with ERR_SUBSCRIPTION_UNKNOWN. */
  async describe(name: string): Promise<SubscriptionStatus> {
    const status = await this.#registered(name)
    if (status !== undefined) return status
    const group = await this.#group(name)
    if (group === undefined) throw unknown(name)
    const { createdAt, filter, lag, open } = group
    const part = this.#open.get(name)?.subscription.status()
    const { channels = [], gaps = [], inFlight = 0 } = part ?? {}
    return {
      filter,
      durable: undefined,
      group: name,
      open,
      inFlight,
      lag,
      gaps,
      createdAt,
      channels
    }
  }

  /** Registers a durable subscription, or does nothing when it is registered alike. True: it is new. */
  async register(name: string, filter: string, options: RegistrationOptions): Promise<boolean> {
    const before = await this.#registered(name)
    if (before !== undefined) {
      assertAlike(name, before, { filter, ...options })
      return false
    }
    const subscription = await this.#startDurable(name, filter, options)
    await subscription.stop()
    return true
  }

  /**
   * Makes this node a member of a work group, which is made if it is new: as a pull would, for a while. Does nothing when
   * it is one. True: the group is new here. Throws ERR_SUBSCRIPTION_CONFLICT.
   */
  async registerGroup(name: string, filter: string, options: GroupOptions): Promise<boolean> {
    const before = await this.#group(name)
    const open = (await this.#opening.get(name)) ?? this.#open.get(name)
    if (open === undefined) {
      await this.#begin(name, () => this.#start(filter, { ...options, group: name }), 'pull')
    } else if (before !== undefined) assertSameGroup(before, filter, options)
    return before === undefined
  }

  /** Ends a durable subscription, or this node's part in a work group, which goes on without it. */
  async delete(name: string): Promise<void> {
    const { durable } = await this.describe(name)
    await this.#close(name)
    if (durable !== undefined) await this.#node.deleteSubscription(name)
  }

  /** Opens one for a connection; it stays until `release`. Throws ERR_SUBSCRIPTION_IN_USE. */
  async take(name: string, { filter, options, owner }: Taking): Promise<Subscription> {
    await this.#free(name, owner)
    const start = (): Promise<Subscription> => this.#startDurable(name, filter, options)
    return (await this.#begin(name, start, owner)).subscription
  }

  /**
   * Opens a registered one that is pushed to a webhook, until `release`: how long a message may be in hand is the
   * pusher's to say. Throws ERR_SUBSCRIPTION_IN_USE, ERR_SUBSCRIPTION_UNKNOWN.
   */
  async takeForWebhook(name: string): Promise<Subscription> {
    const options = { ackTimeoutMs: Number.MAX_SAFE_INTEGER }
    const { durable, filter } = await this.describe(name)
    const taking = { filter, options, owner: 'webhook' } as const
    return durable === undefined ? this.join(name, taking) : this.take(name, taking)
  }

  /** Takes part in a work group for a connection, until `release`. Throws ERR_SUBSCRIPTION_IN_USE. */
  async join(
    name: string,
    { filter = '', options, owner }: Taking<GroupOptions>
  ): Promise<Subscription> {
    await this.#free(name, owner)
    const start = (): Promise<Subscription> => this.#start(filter, { ...options, group: name })
    return (await this.#begin(name, start, owner)).subscription
  }

  /** Ends one that was taken; what is not acknowledged is given back. */
  async release(name: string, subscription: Subscription): Promise<void> {
    if (this.#open.get(name)?.subscription === subscription) await this.#close(name)
  }

  /** Up to `max` messages, after at most `waitMs`; empty when none came. */
  async pull(
    name: string,
    range: { max: number; waitMs: number },
    signal: AbortSignal
  ): Promise<Message[]> {
    const open = await this.#forPull(name)
    const deadline = performance.now() + range.waitMs
    const before = open.turn
    let leave: (() => void) | undefined
    const own = new Promise<void>((resolve) => {
      leave = resolve
    })
    open.turn = Promise.all([before, own])
    open.pulling++
    try {
      if (!(await within(before, range.waitMs, signal))) return []
      const left = Math.max(0, deadline - performance.now())
      return await open.subscription.pull(range.max, left, signal)
    } catch (error) {
      if (signal.aborted) return []
      throw error
    } finally {
      open.pulling--
      open.lastUsed = performance.now()
      leave?.()
    }
  }

  /** A message that is in flight. */
  inFlight(name: string, id: string): Message | undefined {
    const open = this.#open.get(name)
    if (open === undefined) return undefined
    open.lastUsed = performance.now()
    return open.subscription.inFlight(id)
  }

  /** Closes all; idempotent. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeper)
    await Promise.all([...this.#open.keys()].map((name) => this.#close(name)))
  }

  async #forPull(name: string): Promise<Open> {
    const open = (await this.#opening.get(name)) ?? this.#open.get(name)
    if (open !== undefined && open.owner !== 'pull') throw this.#inUse(name)
    return open ?? this.#begin(name, () => this.#startKnown(name), 'pull')
  }

  /** Opens one; whoever asks meanwhile waits for the same. */
  #begin(name: string, start: () => Promise<Subscription>, owner: Open['owner']): Promise<Open> {
    const opening = (async () => {
      const subscription = await start()
      const open: Open = {
        subscription,
        owner,
        turn: Promise.resolve(),
        pulling: 0,
        lastUsed: performance.now()
      }
      this.#open.set(name, open)
      subscription.events.on('end', () => {
        if (this.#open.get(name) === open) this.#open.delete(name)
      })
      return open
    })()
    this.#opening.set(name, opening)
    const forget = (): void => {
      if (this.#opening.get(name) === opening) this.#opening.delete(name)
    }
    opening.then(forget, forget)
    return opening
  }

  async #startDurable(
    name: string,
    filter: string | undefined,
    options: RegistrationOptions
  ): Promise<Subscription> {
    const known = filter ?? (await this.#registered(name))?.filter
    if (known === undefined) throw unknown(name)
    return this.#start(known, { ...options, durable: name })
  }

  async #startKnown(name: string): Promise<Subscription> {
    const { durable, filter } = await this.describe(name)
    return this.#start(filter, durable === undefined ? { group: name } : { durable })
  }

  async #start(filter: string, options: SubscribeOptions): Promise<Subscription> {
    const subscription = this.#node.subscribe(filter, { ...options, ack: 'manual' })
    try {
      await subscription.ready
      return subscription
    } catch (error) {
      await subscription.stop()
      throw error
    }
  }

  async #close(name: string): Promise<void> {
    const open = this.#open.get(name)
    if (open === undefined) return
    this.#open.delete(name)
    await open.subscription.stop()
  }

  async #registered(name: string): Promise<SubscriptionStatus | undefined> {
    return (await this.#node.subscriptions()).find((status) => status.durable === name)
  }

  async #group(name: string): Promise<GroupStatus | undefined> {
    return (await this.#node.groups()).find((group) => group.name === name)
  }

  /** Closes what pulls have left open, and what a socket may take over. Throws ERR_SUBSCRIPTION_IN_USE. */
  async #free(name: string, owner: Owner): Promise<void> {
    await this.#opening.get(name)?.catch(() => {})
    const open = this.#open.get(name)
    if (open === undefined) return
    const isTakenOver = owner === 'socket' && open.owner === 'socket'
    const isIdle =
      open.owner === 'pull' && open.pulling === 0 && open.subscription.status().inFlight === 0
    if (!isTakenOver && !isIdle) throw this.#inUse(name)
    await this.#close(name)
  }

  #inUse(name: string): SkeinError {
    return new SkeinError(
      'ERR_SUBSCRIPTION_IN_USE',
      this.#open.get(name)?.owner === 'webhook'
        ? `The subscription '${name}' is pushed to its webhook; register it without one, or take another name.`
        : `The subscription '${name}' is open on another connection; close that one or take another name.`
    )
  }

  #sweep(): void {
    const idleSince = performance.now() - LIMITS.pullIdleMs
    for (const [name, open] of this.#open) {
      if (open.owner !== 'pull' || open.pulling > 0 || open.lastUsed > idleSince) continue
      // Leases that run out later must still find their subscription open.
      if (open.subscription.status().inFlight > 0) continue
      this.#close(name).catch((error: unknown) => {
        this.#log.warn({ error, subscription: name }, 'an idle subscription could not be closed')
      })
    }
  }
}
