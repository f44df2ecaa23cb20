import { type Clock, type Timer, every } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { Receipt, ReplicaConfirm } from './batch.ts'
import type { OwnLog, SyncedCopy } from './replicas-frames.ts'
import { ReplicasLinks } from './replicas-links.ts'

export interface ReplicasComponents {
  readonly transport: Pick<Transport, 'blame' | 'events' | 'members' | 'open'>
  readonly clock: Clock
  readonly logger: Logger
}

const DEFAULT_TIMEOUT_MS = 10_000
/** Members are looked for again this often while someone waits, ms. */
const LOOK_MS = 250
/** Asked at first beyond those needed; after a while without success all members are. */
const SPARE_MEMBERS = 2
const ASK_ALL_MS = 1_000
/** Streams stay open so long after the last publish that waited, ms: publishing goes on, mostly. */
const LINGER_MS = 10_000

interface Waiter {
  readonly receipt: Receipt
  /** Monotonic ms. */
  readonly deadline: number
  readonly resolve: () => void
  readonly reject: (error: SkeinError) => void
}

/** Publishes that wait for as many copies for as long: in the order of their sequences and of their deadlines. */
interface Queue {
  readonly replicas: number
  readonly timeoutMs: number
  waiting: Waiter[]
  /** Waiters before it are done with. */
  head: number
}

interface WatchedLog extends OwnLog {
  /** What each member said last. It counts also when the member has gone: its disk has it. */
  readonly copies: Map<PeerId, SyncedCopy>
  readonly queues: Map<string, Queue>
}

/** Waits until other nodes have synced copies of what this node published. */
export class Replicas {
  /** Publishes confirmed by other nodes, and not in time; reports that came in. */
  readonly stats = { confirmed: 0, timedOut: 0, reports: 0 }
  readonly #components: ReplicasComponents
  readonly #links: ReplicasLinks
  /** By session and channel. */
  readonly #logs = new Map<string, WatchedLog>()
  #waiting = 0
  #idleSince = 0
  #timer: Timer | undefined
  #unsubscribe: (() => void) | undefined
  #stopped = false

  constructor(components: ReplicasComponents) {
    this.#components = components
    this.#links = new ReplicasLinks(components, (peer, copy) => this.#reported(peer, copy))
  }

  /** Publishes that wait now. */
  get waiting(): number {
    return this.#waiting
  }

  /** Streams to members that are open for it. */
  get watched(): number {
    return this.#links.size
  }

  /**
   * What `publish` stores, when so many other nodes have it on disk too. Throws ERR_OPTIONS and ERR_BUSY before it
   * publishes; rejects with ERR_REPLICAS at the timeout, which runs from now, and with ERR_STOPPED.
   */
  confirm(
    channel: string,
    { replicas, timeoutMs = DEFAULT_TIMEOUT_MS }: ReplicaConfirm,
    publish: () => Promise<Receipt[]>
  ): Promise<Receipt[]> {
    checkConfirm(replicas, timeoutMs)
    if (this.#waiting >= LIMITS.replicaWaiters) {
      throw new SkeinError(
        'ERR_BUSY',
        `${this.#waiting} messages wait for copies on other nodes; await publish() before the next one`
      )
    }
    const deadline = this.#components.clock.monotonic() + timeoutMs
    this.#waiting++
    return publish()
      .then(async (receipts) => {
        await Promise.all(
          edgesOf(receipts).map((receipt) =>
            this.#wait(channel, { receipt, deadline, replicas, timeoutMs })
          )
        )
        return receipts
      })
      .finally(() => {
        if (--this.#waiting === 0) this.#idleSince = this.#components.clock.monotonic()
      })
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    for (const log of this.#logs.values()) {
      for (const queue of log.queues.values()) {
        for (const { receipt, reject } of queue.waiting.slice(queue.head)) {
          reject(
            new SkeinError('ERR_STOPPED', 'the node stops before other nodes had the message', {
              details: { id: receipt.id, mayBeDelivered: true }
            })
          )
        }
      }
    }
    this.#close()
  }

  #wait(
    channel: string,
    what: { receipt: Receipt; deadline: number; replicas: number; timeoutMs: number }
  ): Promise<void> {
    const { receipt, deadline, replicas, timeoutMs } = what
    return new Promise((resolve, reject) => {
      const log = this.#logOf({ channel, session: receipt.session })
      const name = `${replicas} ${timeoutMs}`
      let queue = log.queues.get(name)
      if (queue === undefined) {
        queue = { replicas, timeoutMs, waiting: [], head: 0 }
        log.queues.set(name, queue)
      }
      queue.waiting.push({ receipt, deadline, resolve, reject })
      if (queue.waiting.length - queue.head > 1) return
      this.#look(log)
      this.#settle(log, queue)
    })
  }

  #logOf({ channel, session }: OwnLog): WatchedLog {
    const key = `${session} ${channel}`
    let log = this.#logs.get(key)
    if (log === undefined) {
      log = { channel, session, copies: new Map(), queues: new Map() }
      this.#logs.set(key, log)
    }
    if (this.#timer === undefined && !this.#stopped) this.#open()
    return log
  }

  #open(): void {
    const { clock, transport } = this.#components
    this.#timer = every(clock, LOOK_MS, () => this.#tick())
    this.#unsubscribe = transport.events.on('channel:up', ({ channel }) => {
      for (const log of this.#logs.values()) if (log.channel === channel) this.#look(log)
    })
  }

  #close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#unsubscribe?.()
    this.#links.close()
    this.#logs.clear()
  }

  #tick(): void {
    for (const log of this.#logs.values()) {
      for (const [name, queue] of log.queues) {
        this.#settle(log, queue)
        if (queue.head === queue.waiting.length) log.queues.delete(name)
      }
      this.#look(log)
    }
    const idleMs = this.#components.clock.monotonic() - this.#idleSince
    if (this.#waiting === 0 && idleMs >= LINGER_MS) this.#close()
  }

  /** Asks members of the log's channel, more of them the longer somebody waits. */
  #look({ channel, copies, queues, session }: WatchedLog): void {
    const { clock, transport } = this.#components
    if (queues.size === 0) return
    const now = clock.monotonic()
    let wanted = 0
    for (const { head, replicas, timeoutMs, waiting } of queues.values()) {
      const first = waiting[head]
      if (first === undefined) continue
      const waitedMs = now - (first.deadline - timeoutMs)
      wanted = Math.max(wanted, waitedMs > ASK_ALL_MS ? Infinity : replicas + SPARE_MEMBERS)
    }
    const members = transport.members(channel)
    // Who has told already goes on.
    const order = members.toSorted((a, b) => Number(copies.has(b)) - Number(copies.has(a)))
    for (const peer of order.slice(0, wanted)) this.#links.watch(peer, { channel, session })
  }

  #reported(peer: PeerId, copy: SyncedCopy): void {
    this.stats.reports++
    const log = this.#logs.get(`${copy.session} ${copy.channel}`)
    if (log === undefined) return
    log.copies.set(peer, copy)
    for (const queue of log.queues.values()) this.#settle(log, queue)
  }

  /** From the front: who has enough copies is confirmed, whose time is up is refused. */
  #settle(log: WatchedLog, queue: Queue): void {
    const now = this.#components.clock.monotonic()
    for (;;) {
      const waiter = queue.waiting[queue.head]
      if (waiter === undefined) break
      const have = copiesOf(log, waiter.receipt.sequence)
      if (have >= queue.replicas) {
        this.stats.confirmed++
        waiter.resolve()
      } else if (waiter.deadline <= now) {
        this.stats.timedOut++
        waiter.reject(tooFew(queue, have, waiter.receipt))
      } else break
      queue.head++
    }
    if (queue.head < 1024 && queue.head < queue.waiting.length) return
    queue.waiting = queue.waiting.slice(queue.head)
    queue.head = 0
  }
}

/** Nodes that have the message. */
function copiesOf({ copies }: WatchedLog, sequence: number): number {
  let have = 0
  for (const { from, upTo } of copies.values()) if (from <= sequence && sequence <= upTo) have++
  return have
}

/** Of each session the first and the last: a copy has no holes, so that who has both has what is between. */
function edgesOf(receipts: readonly Receipt[]): Receipt[] {
  if (receipts.length <= 1) return [...receipts]
  const edges = new Map<string, { first: Receipt; last: Receipt }>()
  for (const receipt of receipts) {
    const edge = edges.get(receipt.session)
    if (edge === undefined) edges.set(receipt.session, { first: receipt, last: receipt })
    else if (receipt.sequence < edge.first.sequence) edge.first = receipt
    else if (receipt.sequence > edge.last.sequence) edge.last = receipt
  }
  return [...edges.values()].flatMap(({ first, last }) =>
    first === last ? [first] : [first, last]
  )
}

function checkConfirm(replicas: number, timeoutMs: number): void {
  const isCount = Number.isInteger(replicas) && replicas >= 1 && replicas <= LIMITS.replicas
  if (isCount && Number.isInteger(timeoutMs) && timeoutMs > 0) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `confirm: replicas is a whole number from 1 to ${LIMITS.replicas} and timeoutMs a positive one; these are ${replicas} and ${timeoutMs}`,
    { details: { option: 'confirm' } }
  )
}

function tooFew(queue: Queue, have: number, receipt: Receipt): SkeinError {
  const { replicas, timeoutMs } = queue
  return new SkeinError(
    'ERR_REPLICAS',
    `the message is stored here, but ${have} of ${replicas} other nodes had a synced copy within ${timeoutMs} ms; it may still be delivered, so publish it again only under the same id`,
    { details: { wanted: replicas, have, id: receipt.id, mayBeDelivered: true } }
  )
}
