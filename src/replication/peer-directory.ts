import { type Clock, every, type Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { Store, ValueSpace } from '../store/contract.ts'
import type { Announcement } from '../wire/presence.ts'
import { resolvePeer } from './peer-directory-names.ts'
import { decodePeerRow, encodePeerRow } from './peer-directory-rows.ts'

export interface PeerDirectoryComponents {
  readonly transport: Pick<Transport, 'self' | 'events' | 'addresses'>
  readonly store: Pick<Store, 'values'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface PeerDirectoryInit {
  /** Of this node. */
  readonly name: string
  readonly custodian: boolean
}

/** `suspect`: its connection broke, or two announcements are overdue. `down`: it said goodbye, or is gone for longer. */
export type PeerState = 'up' | 'suspect' | 'down'

/** What is known of one peer; a snapshot. */
export interface PeerEntry extends Pick<
  Announcement,
  'custodian' | 'channels' | 'services' | 'groups' | 'subscriptions' | 'addresses'
> {
  readonly id: PeerId
  /** Undefined until it has announced itself. */
  readonly name: string | undefined
  readonly state: PeerState
  /** Wall clock, ms: when it changed to that state; one that was off when this node started, when it was last seen. */
  readonly since: number
  /** A neighbour. */
  readonly connected: boolean
  /** Wall clock, ms, of the last sign of life. */
  readonly lastSeen: number
  /** It changes whenever the peer starts; undefined until announced in this life. */
  readonly session: string | undefined
}

export interface PeerDirectoryEvents {
  up: PeerEntry
  suspect: PeerEntry
  down: PeerEntry
  /** It announced itself, goodbyes included. */
  heard: PeerEntry
}

/**
 * A neighbour whose connection dropped has so long to come back, ms: it is redialled after 1.5 s at the latest, and
 * a dial takes 1 s at most (`DIAL` of the transport).
 */
const RETURN_MS = 2_500
/** Intervals without an announcement after which a peer that is no neighbour is suspect, and down. */
const SUSPECT_INTERVALS = 2
const DOWN_INTERVALS = 3
/** A timer that comes so late shows that this process stood still: others may have spoken meanwhile, unheard. */
const STANDSTILL_MS = 1_000
/** What came in during a standstill is heard within this time, ms. */
const HEARING_MS = 2_000
/** Between two writes of what has changed, ms. */
const WRITE_MS = 5_000
/** Peers that stay up are written again after so long, ms: what a crash makes them look older. */
const REFRESH_MS = 10 * 60_000
/** Between two looks for peers that have been off for too long, ms. */
const FORGET_MS = 3_600_000
/** Where peers are remembered. */
const SPACE = 'directory'

type Facts = Omit<PeerEntry, 'id' | 'state' | 'since' | 'connected' | 'lastSeen'>

interface Peer {
  readonly id: PeerId
  facts: Facts
  state: PeerState
  since: number
  connected: boolean
  lastSeen: number
  /** It said goodbye and has not been met since. */
  gone: boolean
  /** Monotonic ms of the newest announcement, and when the next one is due. */
  heardAt: number
  intervalMs: number
  /** Monotonic ms at which its connection dropped, where nothing has been heard since. */
  lostAt: number | undefined
  /** `lastSeen` as it is written. */
  writtenSeen: number
}

const NO_FACTS: Facts = {
  name: undefined,
  session: undefined,
  custodian: false,
  channels: [],
  services: [],
  groups: [],
  subscriptions: [],
  addresses: []
}

/**
 * Every peer that was ever met, and whether it is up: connected or heard of lately. All spans are measured by the
 * monotonic clock. Peers that are off are remembered on disk.
 */
export class PeerDirectory implements Lifecycle {
  readonly #components: PeerDirectoryComponents
  readonly #init: PeerDirectoryInit
  readonly #emitter: Emitter<PeerDirectoryEvents>
  readonly #values: ValueSpace
  readonly #peers = new Map<PeerId, Peer>()
  /** Not connected and not down: time alone changes their state. */
  readonly #watched = new Set<Peer>()
  #present = 1
  #timer: Timer | undefined
  #timerAt = Infinity
  #stoodStill = false
  /** Changed or forgotten since they were written. */
  readonly #unwritten = new Set<PeerId>()
  #writing: Promise<void> = Promise.resolve()
  #ends: (() => void)[] = []
  #state: 'new' | 'open' | 'stopped' = 'new'

  constructor(
    components: PeerDirectoryComponents,
    init: PeerDirectoryInit,
    emitter: Emitter<PeerDirectoryEvents>
  ) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    this.#values = components.store.values(SPACE)
  }

  get events(): Events<PeerDirectoryEvents> {
    return this.#emitter
  }

  /** Peers that are not down, this node included. */
  get presentCount(): number {
    return this.#present
  }

  /** Peers known, on or off, this node not included. */
  get knownCount(): number {
    return this.#peers.size
  }

  /** Reads what is remembered; before the transport starts. Idempotent. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return
    this.#state = 'open'
    const { clock, transport } = this.#components
    this.#ends = [
      transport.events.on('peer:up', ({ peer, addresses }) => this.#connected(peer, addresses)),
      transport.events.on('peer:down', ({ peer }) => this.#disconnected(peer))
    ]
    const timers = [
      every(clock, WRITE_MS, () => this.#write()),
      every(clock, FORGET_MS, () => this.#forgetOld())
    ]
    this.#ends.push(...timers.map((timer) => () => timer.cancel()))
    await this.#load()
  }

  /** Writes what has changed; before the transport stops, which is no news of the peers. Idempotent. */
  async stop(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'stopped'
    for (const end of this.#ends.splice(0)) end()
    this.#timer?.cancel()
    for (const peer of this.#peers.values()) {
      if (this.#seen(peer) !== peer.writtenSeen) this.#unwritten.add(peer.id)
    }
    await this.#write()
  }

  /** All peers but this node. */
  list(): PeerEntry[] {
    return [...this.#peers.values()].map((peer) => this.#entry(peer))
  }

  /** Undefined where the peer was never met. Knows this node too. */
  get(id: PeerId): PeerEntry | undefined {
    if (id === this.#components.transport.self.id) return this.#self()
    const peer = this.#peers.get(id)
    return peer === undefined ? undefined : this.#entry(peer)
  }

  /**
   * The id of the one peer of that name, on or off, this node included; a PeerId is itself, known or not. Throws
   * ERR_PEER_UNKNOWN and ERR_PEER_AMBIGUOUS, with `details.candidates`.
   */
  resolve(nameOrId: string): PeerId {
    const named = [...this.#peers.values()].map(({ id, facts }) => ({ id, name: facts.name }))
    named.push({ id: this.#components.transport.self.id, name: this.#init.name })
    return resolvePeer(nameOrId, named)
  }

  /** A peer announced itself, and its signature was verified. */
  heard(id: PeerId, said: Announcement): void {
    if (this.#state !== 'open' || id === this.#components.transport.self.id) return
    const { clock } = this.#components
    const peer = this.#peer(id)
    const { bye, intervalMs } = said
    const { addresses, custodian, name } = peer.facts
    const isNews = name !== said.name || custodian !== said.custodian
    // As it was decoded, without a copy: a mesh has many peers.
    peer.facts = said.addresses.length > 0 ? said : { ...said, addresses }
    peer.heardAt = clock.monotonic()
    peer.intervalMs = intervalMs
    peer.lostAt = undefined
    peer.gone = bye === true
    peer.lastSeen = clock.now()
    if (isNews || Math.abs(peer.lastSeen - peer.writtenSeen) > REFRESH_MS) this.#unwritten.add(id)
    this.#emitter.emit('heard', this.#entry(peer))
    this.#settle(peer)
  }

  #connected(id: PeerId, addresses: readonly string[]): void {
    const peer = this.#peer(id)
    peer.connected = true
    peer.gone = false
    peer.lostAt = undefined
    peer.lastSeen = this.#components.clock.now()
    if (peer.facts.addresses.length === 0) peer.facts = { ...peer.facts, addresses }
    this.#settle(peer)
  }

  #disconnected(id: PeerId): void {
    const peer = this.#peers.get(id)
    if (peer === undefined || !peer.connected) return
    const { clock } = this.#components
    peer.connected = false
    peer.lostAt = clock.monotonic()
    peer.lastSeen = clock.now()
    this.#settle(peer)
  }

  #peer(id: PeerId): Peer {
    const known = this.#peers.get(id)
    if (known !== undefined) return known
    const peer = this.#add(id, NO_FACTS, this.#components.clock.now())
    this.#unwritten.add(id)
    if (this.#peers.size > LIMITS.knownPeers) this.#forgetOne(peer)
    return peer
  }

  #add(id: PeerId, facts: Facts, lastSeen: number): Peer {
    const peer: Peer = {
      id,
      facts,
      state: 'down',
      since: lastSeen,
      connected: false,
      lastSeen,
      gone: false,
      heardAt: -Infinity,
      intervalMs: 0,
      lostAt: undefined,
      writtenSeen: 0
    }
    this.#peers.set(id, peer)
    return peer
  }

  /** Gives the peer the state that is due, says so if it is another, and watches it if time will change it. */
  #settle(peer: Peer): void {
    const { state, until } = stateOf(peer, this.#components.clock.monotonic())
    const before = peer.state
    peer.state = state
    if (until === Infinity) this.#watched.delete(peer)
    else {
      this.#watched.add(peer)
      this.#wake(until)
    }
    if (state === before) return
    peer.since = this.#components.clock.now()
    if (before === 'down') this.#present++
    if (state === 'down') this.#present--
    if (state !== 'up') this.#unwritten.add(peer.id)
    this.#emitter.emit(state, this.#entry(peer))
  }

  #wake(at: number): void {
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    const { clock } = this.#components
    // A millisecond at least: fractions that are lost in a sum must not make it wake for nothing, again and again.
    const ms = Math.max(1, at - clock.monotonic())
    this.#timer = clock.after(ms, () => this.#sweep())
  }

  #sweep(): void {
    const now = this.#components.clock.monotonic()
    const isLate = now - this.#timerAt > STANDSTILL_MS
    this.#timerAt = Infinity
    // Once: a process that is always late must judge all the same.
    this.#stoodStill = isLate && !this.#stoodStill
    if (this.#stoodStill) {
      this.#wake(now + HEARING_MS)
      return
    }
    for (const peer of this.#watched) this.#settle(peer)
  }

  #seen(peer: Peer): number {
    return peer.connected ? this.#components.clock.now() : peer.lastSeen
  }

  #entry(peer: Peer): PeerEntry {
    const { connected, facts, id, since, state } = peer
    const { addresses, channels, custodian, groups, name, services, session, subscriptions } = facts
    const said = { name, session, custodian, channels, services, groups, subscriptions, addresses }
    return { ...said, id, state, since, connected, lastSeen: this.#seen(peer) }
  }

  #self(): PeerEntry {
    const { clock, transport } = this.#components
    return {
      ...NO_FACTS,
      ...this.#init,
      id: transport.self.id,
      state: 'up',
      since: clock.now(),
      connected: false,
      lastSeen: clock.now(),
      addresses: transport.addresses()
    }
  }

  async #load(): Promise<void> {
    const { clock } = this.#components
    const horizon = clock.now() - LIMITS.knownPeersMs
    const rows = (await this.#values.entries())
      .map(([id, bytes]) => ({ id, row: decodePeerRow(bytes) }))
      .toSorted((a, b) => (b.row?.lastSeen ?? 0) - (a.row?.lastSeen ?? 0))
    for (const { id, row } of rows) {
      const isKept = row !== undefined && row.lastSeen >= horizon
      if (!isKept || this.#peers.size >= LIMITS.knownPeers) this.#unwritten.add(id)
      else {
        const { custodian, lastSeen, name, subscriptions } = row
        const facts = { ...NO_FACTS, name, custodian, subscriptions }
        // Not after now: the clock may have been wrong.
        this.#add(id, facts, Math.min(lastSeen, clock.now())).writtenSeen = lastSeen
      }
    }
  }

  #forgetOld(): void {
    const horizon = this.#components.clock.now() - LIMITS.knownPeersMs
    for (const peer of this.#peers.values()) {
      if (peer.state === 'down' && peer.lastSeen < horizon) this.#forget(peer)
    }
  }

  /** Whoever has been off for longest, or else was heard of least lately. */
  #forgetOne(newest: Peer): void {
    let oldest: Peer | undefined
    for (const peer of this.#peers.values()) {
      if (peer === newest || peer.connected) continue
      const isOff = peer.state === 'down'
      const wasOff = oldest?.state === 'down'
      const isOlder = isOff === wasOff ? peer.lastSeen < (oldest?.lastSeen ?? Infinity) : isOff
      if (oldest === undefined || isOlder) oldest = peer
    }
    if (oldest !== undefined) this.#forget(oldest)
  }

  #forget(peer: Peer): void {
    if (peer.state !== 'down') this.#present--
    this.#peers.delete(peer.id)
    this.#watched.delete(peer)
    this.#unwritten.add(peer.id)
  }

  /** One at a time. What cannot be written now is written with what comes next. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const ids = [...this.#unwritten]
      this.#unwritten.clear()
      if (ids.length === 0) return
      const written = await Promise.allSettled(ids.map((id) => this.#writeOne(id)))
      for (const [index, id] of ids.entries()) {
        if (written[index]?.status === 'rejected') this.#unwritten.add(id)
      }
      const failed = written.find((result) => result.status === 'rejected')
      if (failed === undefined) return
      if (!isSkeinError(failed.reason)) throw failed.reason
      this.#components.logger.debug({ err: failed.reason }, 'peers could not be remembered yet')
    })
    return this.#writing
  }

  async #writeOne(id: PeerId): Promise<void> {
    const peer = this.#peers.get(id)
    if (peer === undefined) return this.#values.delete(id)
    const { custodian, name, subscriptions } = peer.facts
    const lastSeen = this.#seen(peer)
    const row = {
      ...(name === undefined ? {} : { name }),
      lastSeen,
      custodian,
      subscriptions: [...subscriptions]
    }
    await this.#values.put(id, encodePeerRow(row))
    peer.writtenSeen = lastSeen
  }
}

/** The state that is due at monotonic `now`, and until when it holds if nothing is heard. */
function stateOf(peer: Peer, now: number): { state: PeerState; until: number } {
  const { connected, gone, heardAt, intervalMs, lostAt } = peer
  if (gone) return { state: 'down', until: Infinity }
  if (connected) return { state: 'up', until: Infinity }
  const [suspectAt, downAt] =
    lostAt === undefined
      ? [heardAt + SUSPECT_INTERVALS * intervalMs, heardAt + DOWN_INTERVALS * intervalMs]
      : [lostAt, lostAt + RETURN_MS]
  if (now < suspectAt) return { state: 'up', until: suspectAt }
  if (now < downAt) return { state: 'suspect', until: downAt }
  return { state: 'down', until: Infinity }
}
