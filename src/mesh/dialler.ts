import type { Clock, Timer } from '../core/clock.ts'
import { jitter } from '../core/random.ts'
import type { Random } from '../core/random.ts'

import type { PeerId } from './contract.ts'

/** First wait after a failed dial. */
const FIRST_MS = 100
/** Longest wait for a peer that was alive within the last hour: a healed cut is noticed within 2 s. */
const RECENT_CAP_MS = 1500
/** And for one that was not. */
const OLD_CAP_MS = 30_000
/** A refusal is an answer: the peer is alive and will not change its mind soon. */
const REFUSED_MS = 30_000
const RECENT_MS = 3_600_000
/** A dial into a cut must not take longer than the cap. Every fourth one is patient, for long distances. */
const RECENT_TIMEOUT_MS = 1000
const PATIENT_TIMEOUT_MS = 6000
/** A connection that ends sooner than this did not last: it is no reason to dial at once. */
const LASTING_MS = 5000
/** Peers not seen for a week are forgotten. */
const FORGET_MS = 7 * 24 * 3_600_000
/** The peer with the greater id waits this long for the other's dial, so that a pair gets one connection. */
const YIELD_MS = 150

/** A peer as it is kept across restarts. */
export interface RememberedPeer {
  readonly id: PeerId
  readonly addresses: readonly string[]
  /** Wall clock, ms. */
  readonly lastSeen: number
}

export interface DialResult {
  /** Who answered; undefined when nobody did. */
  readonly peer: PeerId | undefined
  /** The other side answered and will not have us: other network key, blamed. */
  readonly refused: boolean
}

export interface DiallerComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface DiallerInit {
  readonly self: PeerId
  /** Never rejects. */
  readonly dial: (addresses: readonly string[], timeoutMs: number) => Promise<DialResult>
  readonly isConnected: (peer: PeerId) => boolean
  /** May more peers be dialled, or is the neighbourhood full? */
  readonly wants: () => boolean
}

interface Target {
  peer: PeerId | undefined
  readonly addresses: Set<string>
  /** Given by the operator: never forgotten. */
  fixed: boolean
  lastSeen: number
  attempt: number
  dialling: boolean
  timer: Timer | undefined
  /** Monotonic time before which a refusal is respected. */
  notBefore: number
  /** Monotonic time of the last connection. */
  connectedAt: number | undefined
}

/** Dials every peer it knows of, and dials again with capped, jittered waits for as long as the node runs. */
export class Dialler {
  readonly #clock: Clock
  readonly #random: Random
  readonly #init: DiallerInit
  readonly #peers = new Map<PeerId, Target>()
  readonly #fixed = new Map<string, Target>()
  #running = false

  constructor(components: DiallerComponents, init: DiallerInit) {
    this.#clock = components.clock
    this.#random = components.random
    this.#init = init
  }

  start(): void {
    this.#running = true
    for (const target of this.#all()) this.#schedule(target, 0)
  }

  stop(): void {
    this.#running = false
    for (const target of this.#all()) {
      target.timer?.cancel()
      target.timer = undefined
    }
  }

  /** An address that the operator gave, with or without a peer id at its end. */
  addFixed(address: string): void {
    if (this.#fixed.has(address)) return
    const id = /\/p2p\/([^/]+)$/.exec(address)?.[1]
    const target = this.#target(id, this.#clock.now())
    target.fixed = true
    target.addresses.add(address)
    this.#fixed.set(address, target)
    this.#schedule(target, 0)
  }

  /** A peer was found, or is remembered. */
  found(peer: RememberedPeer): void {
    if (peer.id === this.#init.self || peer.addresses.length === 0) return
    if (peer.lastSeen < this.#clock.now() - FORGET_MS) return
    const target = this.#target(peer.id, peer.lastSeen)
    // The latest addresses win: a restarted peer may have another port.
    for (const plain of peer.addresses) {
      const address = plain.includes('/p2p/') ? plain : `${plain}/p2p/${peer.id}`
      target.addresses.delete(address)
      target.addresses.add(address)
    }
    while (target.addresses.size > 16) {
      const [oldest] = target.addresses
      target.addresses.delete(oldest as string)
    }
    if (this.#init.isConnected(peer.id) || (target.attempt === 0 && target.timer !== undefined))
      return
    target.attempt = 0
    this.#schedule(target, this.#yield(peer.id))
  }

  connected(peer: PeerId): void {
    for (const target of this.#of(peer)) {
      target.lastSeen = this.#clock.now()
      target.connectedAt = this.#clock.monotonic()
      target.timer?.cancel()
      target.timer = undefined
    }
  }

  /** Dials again at once; after a connection that did not last, only as after a failed dial. */
  disconnected(peer: PeerId): void {
    for (const target of this.#of(peer)) {
      target.lastSeen = this.#clock.now()
      const { connectedAt } = target
      target.connectedAt = undefined
      if (connectedAt !== undefined && this.#clock.monotonic() - connectedAt >= LASTING_MS) {
        target.attempt = 0
        this.#schedule(target, this.#yield(peer))
      } else {
        this.#retry(target, RECENT_CAP_MS)
      }
    }
  }

  /** The link of this machine changed: all waits begin anew. */
  reset(): void {
    for (const target of this.#all()) {
      target.attempt = 0
      target.notBefore = 0
      this.#schedule(target, jitter(this.#random, FIRST_MS))
    }
  }

  /** An address that leads back to this node. */
  forget(address: string): void {
    const plain = address.replace(/\/p2p\/[^/]+$/, '')
    for (const [key, target] of this.#fixed) {
      if (key === address || key === plain) {
        target.timer?.cancel()
        this.#fixed.delete(key)
      }
    }
  }

  known(): readonly RememberedPeer[] {
    return [...this.#peers.values()]
      .filter((target) => target.addresses.size > 0)
      .map((target) => ({
        id: target.peer as PeerId,
        addresses: [...target.addresses],
        lastSeen: target.lastSeen
      }))
  }

  #of(peer: PeerId): Target[] {
    return [...this.#all()].filter((target) => target.peer === peer)
  }

  #yield(peer: PeerId): number {
    return peer < this.#init.self ? YIELD_MS : 0
  }

  #retry(target: Target, cap: number): void {
    const wait = Math.min(cap, FIRST_MS * 2 ** target.attempt)
    target.attempt = Math.min(target.attempt + 1, 30)
    this.#schedule(target, jitter(this.#random, wait))
  }

  #all(): Set<Target> {
    return new Set([...this.#peers.values(), ...this.#fixed.values()])
  }

  #target(peer: PeerId | undefined, lastSeen: number): Target {
    const known = peer === undefined ? undefined : this.#peers.get(peer)
    if (known !== undefined) {
      known.lastSeen = Math.max(known.lastSeen, lastSeen)
      return known
    }
    const target: Target = {
      peer,
      addresses: new Set(),
      fixed: false,
      lastSeen,
      attempt: 0,
      dialling: false,
      timer: undefined,
      notBefore: 0,
      connectedAt: undefined
    }
    if (peer !== undefined) this.#peers.set(peer, target)
    return target
  }

  #schedule(target: Target, ms: number): void {
    if (!this.#running || target.dialling) return
    target.timer?.cancel()
    const wait = Math.max(ms, target.notBefore - this.#clock.monotonic())
    target.timer = this.#clock.after(wait, () => {
      target.timer = undefined
      void this.#dial(target)
    })
  }

  async #dial(target: Target): Promise<void> {
    const { peer } = target
    if (!this.#running || (peer !== undefined && this.#init.isConnected(peer))) return
    const now = this.#clock.now()
    if (!target.fixed && target.lastSeen < now - FORGET_MS) {
      if (peer !== undefined) this.#peers.delete(peer)
      return
    }
    const recent = target.lastSeen >= now - RECENT_MS
    const cap = recent ? RECENT_CAP_MS : OLD_CAP_MS
    if (!target.fixed && !this.#init.wants()) {
      this.#schedule(target, jitter(this.#random, OLD_CAP_MS))
      return
    }
    const patient = !recent || target.attempt % 4 === 3
    target.dialling = true
    const result = await this.#init.dial(
      [...target.addresses].reverse(),
      patient ? PATIENT_TIMEOUT_MS : RECENT_TIMEOUT_MS
    )
    target.dialling = false
    if (result.peer !== undefined) {
      target.peer = result.peer
      target.lastSeen = this.#clock.now()
      if (this.#init.isConnected(result.peer)) return
    }
    if (result.refused)
      target.notBefore = this.#clock.monotonic() + jitter(this.#random, REFUSED_MS)
    this.#retry(target, cap)
  }
}
