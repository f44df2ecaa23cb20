import { type Clock, type Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { type Random, jitter, shuffled } from '../core/random.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { LogRef, LogState, SequenceRange, Store } from '../store/contract.ts'
import { scopeOf } from '../wire/channel-scope.ts'
import { bucketsFor, logDigests } from '../wire/log-digest.ts'
import { type AskedChannel, type ChannelHeads, DIGEST_BYTES } from '../wire/sync-frames.ts'
import { heldRanges, missingIn, type HeldRange } from '../wire/vector.ts'
import type { Membership } from './membership.ts'
import type { Receiver } from './receiver.ts'
import type { ReceiptBook } from './sync-holder.ts'
import { SyncNeighbour, type PullStart } from './sync-neighbour.ts'
import { cutBelow, entryOf, isFresh, lackedOf } from './sync-ranges.ts'
import { SyncFloors } from './sync-floors.ts'
import { Wants, type Want } from './wants.ts'

export interface SyncComponents {
  readonly store: Pick<
    Store,
    'events' | 'channels' | 'condition' | 'log' | 'logs' | 'raiseFloor' | 'giveUp'
  >
  readonly transport: Pick<Transport, 'events' | 'peers' | 'open' | 'blame'>
  readonly membership: Membership
  readonly receiver: Pick<Receiver, 'events' | 'pulled'>
  readonly receipts: ReceiptBook
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface SyncInit {
  /** PeerId of this node. */
  readonly self: PeerId
  readonly ownSession: () => string
  /** A greater session of this node exists. */
  readonly supersede: (session: string) => boolean
  /** Age above which records of a channel are not kept here, ms. */
  readonly maxAgeMs: (channel: string) => number
  /** A neighbour holds these logs of this node's own inbox. */
  readonly onInboxHeld: (peer: PeerId, logs: readonly LogRef[]) => void
}

/** Counters since start. */
export interface SyncStats {
  pulls: number
  failures: number
  backfilled: number
}

/** What live traffic may still bring is waited for, ms: told by a neighbour, or shown by what follows. */
const LIVE_MS = 1_000
const GAP_MS = 100
/** A log nobody here knew is asked for when the other neighbours have had so long to say from where they hold it, ms. */
const SETTLE_MS = 150
/** A neighbour that failed to give a log is not asked for it again so soon, ms. */
const AVOID_MS = 10_000
/** A range that no neighbour is known to have is looked for again, ms. */
const SEARCH_MS = 2_000
/** Pulls under way at once, in all and of one neighbour. */
const ACTIVE_PULLS = 6
const ACTIVE_PER_PEER = 2
/** Records asked for at once: other channels get their turn in between. */
const PULL_BYTES = 4 * 1024 * 1024
/** Neighbours have so long to say where their logs are, when a channel is joined, ms. */
const JOIN_MS = 1_000
/** A random neighbour is asked for everything so often, ms, whatever was or was not told. */
const CHECK_MS = 30_000
/** Questions that follow each other are asked as one, ms; digests are made anew after so long. */
const ASK_MS = 20
const SAME_QUESTION_MS = 100

/**
 * Gets what is missing here from any neighbour that holds it. Nothing is sent unasked: neighbours tell what they
 * hold, this node pulls what it lacks and wants, each range from one of them at a time.
 */
export class Sync {
  readonly stats: SyncStats = { pulls: 0, failures: 0, backfilled: 0 }
  readonly #components: SyncComponents
  readonly #init: SyncInit
  readonly #neighbours = new Map<PeerId, SyncNeighbour>()
  readonly #wants = new Wants()
  /** Channels that are being joined. */
  readonly #joining = new Set<string>()
  /** Those who wait for answers. */
  readonly #waiting = new Set<() => void>()
  readonly #floors: SyncFloors
  #active = 0
  #timer: Timer | undefined
  #asking: Timer | undefined
  /** What was asked last, monotonic ms. */
  #asked: { at: number; channels: readonly AskedChannel[] } | undefined
  #checking: Timer | undefined
  #pumping = false
  #stopped = false
  readonly #cleanup: (() => void)[] = []

  constructor(components: SyncComponents, init: SyncInit) {
    this.#components = components
    this.#init = init
    this.#floors = new SyncFloors(components, init)
  }

  /** Logs of which something is missing that somebody may have, and pulls under way. */
  get pending(): { logs: number; pulls: number } {
    return { logs: this.#wants.size, pulls: this.#active }
  }

  /** Is something of the channel missing that somebody may have? */
  isPending(channel: string): boolean {
    return this.#wants.hasAny(channel)
  }

  /** Before the transport starts, so that no neighbour is missed. */
  start(): void {
    const { clock, membership, receiver, store, transport } = this.#components
    this.#cleanup.push(
      transport.events.on('peer:up', ({ peer }) => this.#peerUp(peer)),
      transport.events.on('peer:down', ({ peer }) => this.#peerDown(peer)),
      membership.events.on('changed', () => {
        this.#asked = undefined
        this.#askSoon()
      }),
      store.events.on('condition', () => this.#pumpSoon()),
      store.events.on('gap', ({ log, missing }) => {
        if (missing.length > 0) this.#missing(log, missing)
      }),
      receiver.events.on('announced', ({ from, last, log }) => {
        const want = this.#note(log, clock.monotonic() + LIVE_MS)
        want?.sources.set(from, { floor: 1, head: last, islands: [] })
      })
    )
    for (const { connected, id } of transport.peers()) if (connected) this.#peerUp(id)
    this.#checkLater()
  }

  stop(): void {
    this.#stopped = true
    for (const undo of this.#cleanup.splice(0)) undo()
    for (const timer of [this.#timer, this.#asking, this.#checking]) timer?.cancel()
    for (const neighbour of this.#neighbours.values()) neighbour.stop()
    this.#neighbours.clear()
  }

  /** Shows receipts for this node's inbox to a neighbour that holds messages of it. */
  showReceipts(peer: PeerId, receipts: readonly Uint8Array[]): void {
    this.#neighbours.get(peer)?.showReceipts(receipts)
  }

  /** Inboxes that this node sent to have changed: their custodians are asked for receipts. */
  askAgain(): void {
    this.#askSoon()
  }

  /**
   * This node has just joined a channel, and wants what comes from now on: resolves when the neighbours that answer
   * have said where their logs are now. What they hold up to there is not wanted.
   */
  async join(channel: string): Promise<void> {
    const asked = [...this.#neighbours.values()].filter((neighbour) => neighbour.open)
    if (asked.length === 0) return
    this.#joining.add(channel)
    try {
      for (const neighbour of asked) neighbour.ask()
      await this.#until(() => asked.every((neighbour) => neighbour.answered || !neighbour.open))
    } finally {
      this.#joining.delete(channel)
    }
  }

  /** Resolves when the condition holds, looked at after each answer, or the neighbours have had their time. */
  async #until(holds: () => boolean): Promise<void> {
    const { clock } = this.#components
    if (holds()) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#waiting.delete(look)
        timer.cancel()
        resolve()
      }
      const look = (): void => {
        if (holds()) done()
      }
      const timer = clock.after(JOIN_MS, done)
      this.#waiting.add(look)
    })
  }

  /** Neighbours, those included that cannot be asked yet. */
  get neighbours(): number {
    return this.#neighbours.size
  }

  /** The neighbours that can be asked for records, in random order. */
  open(): SyncNeighbour[] {
    const open = [...this.#neighbours.values()].filter((neighbour) => neighbour.open)
    return shuffled(this.#components.random, open)
  }

  /** Every connected neighbour has said what it holds. */
  get settled(): boolean {
    return [...this.#neighbours.values()].every((neighbour) => neighbour.answered)
  }

  // ---- neighbours ----

  #peerUp(peer: PeerId): void {
    if (this.#neighbours.has(peer) || this.#stopped) return
    const neighbour = new SyncNeighbour(this.#components, {
      peer,
      ask: () => this.#question(),
      onHeads: (channels) => this.#heads(neighbour, channels),
      onAnswered: () => {
        for (const look of this.#waiting) look()
      },
      onLost: () => {
        this.#pumpSoon()
        for (const look of this.#waiting) look()
      }
    })
    this.#neighbours.set(peer, neighbour)
    neighbour.start()
  }

  #peerDown(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    this.#neighbours.delete(peer)
    this.#wants.forget(peer)
    neighbour?.stop()
  }

  /** What to ask; the same for all who are asked in one moment. Older digests cost some logs more, and nothing else. */
  #question(): readonly AskedChannel[] {
    const now = this.#components.clock.monotonic()
    if (this.#asked === undefined || now - this.#asked.at > SAME_QUESTION_MS) {
      this.#asked = { at: now, channels: this.#digests() }
    }
    return this.#asked.channels
  }

  #digests(): AskedChannel[] {
    const { membership, store } = this.#components
    const channels: AskedChannel[] = []
    for (const channel of membership.channels()) {
      if (scopeOf(channel) === 'local') continue
      const logs = store.logs(channel)
      const digests = logDigests(logs.map(entryOf), bucketsFor(logs.length))
      channels.push({ channel, digests })
    }
    // Digests of nothing, so that custodians show what they hold, and the receipts with it.
    for (const channel of this.#sentTo()) {
      channels.push({ channel, digests: new Uint8Array(DIGEST_BYTES) })
    }
    return channels
  }

  /** Inboxes of others that hold messages from here. */
  #sentTo(): string[] {
    const { membership, store } = this.#components
    return store
      .channels()
      .filter(
        (channel) =>
          scopeOf(channel) === 'inbox' &&
          membership.since(channel) === undefined &&
          store
            .logs(channel)
            .some((log) => log.publisher === this.#init.self && heldRanges(log).length > 0)
      )
  }

  #askSoon(): void {
    if (this.#asking !== undefined || this.#stopped) return
    this.#asking = this.#components.clock.after(ASK_MS, () => {
      this.#asking = undefined
      for (const neighbour of this.#neighbours.values()) neighbour.ask()
    })
  }

  #checkLater(): void {
    const { clock, random } = this.#components
    this.#checking = clock.after(jitter(random, CHECK_MS), () => {
      this.open()[0]?.ask()
      this.#checkLater()
    })
  }

  // ---- what is missing ----

  #heads(neighbour: SyncNeighbour, channels: readonly ChannelHeads[]): void {
    const { membership, receipts } = this.#components
    const { peer } = neighbour
    for (const { channel, logs, receipts: shown } of channels) {
      for (const receipt of shown) receipts.accept(receipt, peer)
      if (membership.since(channel) === undefined) continue
      const held: LogRef[] = []
      for (const { held: theirs, publisher, session } of logs) {
        const log = { channel, publisher, session }
        held.push(log)
        this.#offered(neighbour, log, theirs)
      }
      if (channel === `@${this.#init.self}`) this.#init.onInboxHeld(peer, held)
    }
    this.#pumpSoon()
  }

  #offered(neighbour: SyncNeighbour, log: LogRef, theirs: HeldRange): void {
    const { clock, store } = this.#components
    if (log.publisher === this.#init.self && log.session >= this.#init.ownSession()) {
      if (log.session > this.#init.ownSession()) this.#init.supersede(log.session)
      return
    }
    const mine = store.log(log)
    if (mine !== undefined && lackedOf(mine, theirs) === undefined) {
      this.#wants.get(log)?.sources.delete(neighbour.peer)
      return
    }
    if (this.#joining.has(log.channel) && isFresh(mine)) {
      const first = mine?.islands[0]?.from ?? Infinity
      this.#floors.raise(log, Math.min(first, theirs.head + 1))
      return
    }
    const dueAt = clock.monotonic() + this.#patience(neighbour, log, mine)
    this.#wants.offer(log, { dueAt, peer: neighbour.peer, theirs })
  }

  /** How long what a neighbour has is waited for before it is asked for, ms. */
  #patience(neighbour: SyncNeighbour, { channel }: LogRef, mine: LogState | undefined): number {
    // What changed a moment ago is on its way here by gossip, unless it never goes that way.
    if (neighbour.answered) return scopeOf(channel) === 'mesh' ? LIVE_MS : 0
    return mine === undefined && !this.settled ? SETTLE_MS : 0
  }

  #missing(log: LogRef, missing: readonly SequenceRange[]): void {
    const state = this.#components.store.log(log)
    // From where on a log that just began is wanted has to be found out; messages wait for that.
    const begins =
      state !== undefined && state.head < state.floor && missing[0]?.from === state.floor
    this.#note(log, this.#components.clock.monotonic() + (begins ? 0 : GAP_MS))
  }

  #note(log: LogRef, dueAt: number): Want | undefined {
    if (this.#components.membership.since(log.channel) === undefined) return undefined
    const want = this.#wants.note(log, dueAt)
    this.#pumpSoon()
    return want
  }

  // ---- pulling ----

  /** In the next turn: what comes in one is looked at once. */
  #pumpSoon(): void {
    if (this.#stopped || this.#pumping) return
    this.#pumping = true
    this.#components.clock.after(0, () => {
      this.#pumping = false
      if (!this.#stopped) this.#pump()
    })
  }

  #pump(): void {
    const { clock, store } = this.#components
    // What cannot be stored would be asked for again and again. A change of the condition is told.
    if (store.condition !== 'open') return
    const now = clock.monotonic()
    for (const want of this.#wants.due(now)) {
      if (this.#active >= ACTIVE_PULLS) break
      this.#pursue(want, now)
    }
    // Those that are due and have to wait for a free neighbour are looked at again when one is.
    this.#timer?.cancel()
    const dueAt = this.#wants.nextDueAt(now)
    this.#timer = dueAt === undefined ? undefined : clock.after(dueAt - now, () => this.#pump())
  }

  /** Asks someone for what is missing of a log, or puts it off. */
  #pursue(want: Want, now: number): void {
    const mine = this.#components.store.log(want.log)
    const found = this.#source(want, mine, now)
    if (found === 'busy') return
    if (found !== undefined) {
      void this.#pull(want, found)
      return
    }
    const isWanted = this.#components.membership.since(want.log.channel) !== undefined
    const holes = mine === undefined ? [] : missingIn(mine)
    if (!isWanted || (holes.length === 0 && this.#isDone(want, mine))) {
      this.#wants.drop(want)
      return
    }
    // Messages in an inbox do not depend on each other: what a custodian has not is not waited for.
    if (this.#isOwnInbox(want.log)) this.#floors.skip(want.log, holes)
    want.dueAt = now + SEARCH_MS
  }

  #isOwnInbox({ channel }: LogRef): boolean {
    return channel === `@${this.#init.self}`
  }

  #isDone({ sources }: Want, mine: LogState | undefined): boolean {
    return [...sources.values()].every((theirs) => lackedOf(mine, theirs) === undefined)
  }

  /**
   * A neighbour to ask, and what for: one that says it holds something, else for a hole any that has not failed.
   * `busy`: all of those are asked for other things now.
   */
  #source(
    want: Want,
    mine: LogState | undefined,
    now: number
  ): { neighbour: SyncNeighbour; range: SequenceRange } | 'busy' | undefined {
    let best: { neighbour: SyncNeighbour; range: SequenceRange } | 'busy' | undefined
    const hole = mine === undefined ? undefined : missingIn(mine)[0]
    for (const neighbour of this.open()) {
      if ((want.avoided.get(neighbour.peer) ?? 0) > now) continue
      const theirs = want.sources.get(neighbour.peer)
      const offered = theirs === undefined ? hole : lackedOf(mine, theirs)
      // Its publisher is asked also for what it does not hold: then it says so to everybody.
      const range = offered ?? (neighbour.peer === want.log.publisher ? hole : undefined)
      if (range === undefined) continue
      if (neighbour.pulls >= ACTIVE_PER_PEER) best ??= 'busy'
      // The lowest first: who holds a log from further back gives all of it in order.
      else if (best === undefined || best === 'busy' || range.from < best.range.from) {
        best = { neighbour, range }
      }
    }
    return best
  }

  async #pull(
    want: Want,
    { neighbour, range }: { neighbour: SyncNeighbour; range: SequenceRange }
  ): Promise<void> {
    const { clock, logger, receiver, store } = this.#components
    const { log } = want
    const { peer } = neighbour
    want.active = peer
    this.#active++
    this.stats.pulls++
    let begins: PullStart | undefined
    let floor: number | undefined
    let came = false
    try {
      await neighbour.pull(
        {
          ...log,
          ...range,
          maxAgeMs: this.#floors.oldest(log).maxAgeMs,
          maxBytes: PULL_BYTES,
          backwards: false,
          awaited: scopeOf(log.channel) === 'mesh' && store.log(log) !== undefined
        },
        {
          onStart: (start) => {
            begins = start
            this.#began(want, range, { ...start, peer })
          },
          onRecords: (records) => {
            came = true
            // Also where the log is known: what was not written yet can be gone by then.
            floor ??= begins && this.#floors.first(log, begins, records[0]?.ageMs ?? 0)
            return receiver.pulled(records, { peer, log, floor })
          }
        }
      )
      // It gave nothing of what it may have had: others are asked first.
      if (!came) want.avoided.set(peer, clock.monotonic() + AVOID_MS)
    } catch (error) {
      if (!isSkeinError(error)) throw error
      this.stats.failures++
      want.avoided.set(peer, clock.monotonic() + AVOID_MS)
      logger.debug({ err: error, peer, log }, 'a range could not be pulled')
    } finally {
      this.#active--
      want.active = undefined
      want.dueAt = clock.monotonic()
      this.#wants.requeue(want)
      if (!this.#stopped) this.#pump()
    }
  }

  /** What the beginning of an answer says about what does not come. */
  #began(want: Want, range: SequenceRange, start: PullStart & { readonly peer: PeerId }): void {
    const before = start.from === 0 ? range.to : start.from - 1
    if (before < range.from) return
    if (start.exact) {
      this.#floors.tooOld(want.log, { from: range.from, to: before })
      return
    }
    const theirs = want.sources.get(start.peer)
    // It has not what it was asked for, whatever it said: what it has begins above.
    if (start.from === 0) want.sources.delete(start.peer)
    else if (theirs !== undefined) want.sources.set(start.peer, cutBelow(theirs, start.from))
  }
}
