import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import { shuffled } from '../core/random.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { PeerDirectory, PeerEntry } from '../replication/peer-directory.ts'
import type { CallTarget } from './call.ts'
import { LocalTarget } from './local-target.ts'
import { RequestLink } from './request-link.ts'
import type { ServiceHost } from './service-host.ts'

export interface RespondersComponents {
  readonly transport: Pick<Transport, 'blame' | 'events' | 'open' | 'peers' | 'self'>
  readonly directory: Pick<PeerDirectory, 'events' | 'get' | 'list'>
  readonly host: Pick<ServiceHost, 'serves' | 'start'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Round-trip times are looked up again after so long, ms: the transport measures them every 2 s. */
const ROUND_TRIPS_MS = 1_000

interface Known {
  readonly services: readonly string[]
  readonly connected: boolean
  readonly addresses: readonly string[]
}

/** Who serves what, as presence tells it, and whom to ask. */
export class Responders {
  readonly #components: RespondersComponents
  readonly #local: LocalTarget
  readonly #known = new Map<PeerId, Known>()
  readonly #byService = new Map<string, Set<PeerId>>()
  readonly #links = new Map<PeerId, RequestLink>()
  #roundTrips = new Map<PeerId, number>()
  #measuredAt = -Infinity
  #ends: (() => void)[] = []

  constructor(components: RespondersComponents) {
    this.#components = components
    this.#local = new LocalTarget(components.transport.self.id, components.host)
  }

  /** After the directory, so that it has heard of a link before. */
  start(): void {
    const { directory, transport } = this.#components
    const update = (entry: PeerEntry): void => this.#update(entry)
    const look = ({ peer }: { peer: PeerId }): void => {
      const entry = directory.get(peer)
      if (entry !== undefined) this.#update(entry)
    }
    this.#ends = [
      directory.events.on('up', update),
      directory.events.on('suspect', update),
      directory.events.on('down', update),
      directory.events.on('heard', update),
      transport.events.on('peer:up', look),
      transport.events.on('peer:down', look)
    ]
    for (const entry of directory.list()) this.#update(entry)
  }

  stop(): void {
    for (const end of this.#ends.splice(0)) end()
    for (const link of this.#links.values()) link.stop()
  }

  /** Every node that serves it, neighbours first and else in random order. */
  all(service: string): CallTarget[] {
    const near = this.#candidates(service, true, NOBODY)
    const far = this.#candidates(service, false, NOBODY)
    const { random } = this.#components
    return [...shuffled(random, near), ...shuffled(random, far)].map((peer) => this.target(peer))
  }

  /**
   * The better of two that serve it, drawn at random: the one with fewer requests in flight, then the one that is
   * closer. Who is no neighbour is asked only when no neighbour serves it.
   */
  pick(service: string, except: ReadonlySet<PeerId>): CallTarget | undefined {
    const near = this.#candidates(service, true, except)
    const peers = near.length > 0 ? near : this.#candidates(service, false, except)
    const [first, second] = this.#draw(peers)
    if (first === undefined || second === undefined) return first
    const load = first.inFlight - second.inFlight
    if (load !== 0) return load < 0 ? first : second
    return this.#roundTrip(second.peer) < this.#roundTrip(first.peer) ? second : first
  }

  #draw(peers: readonly PeerId[]): readonly (CallTarget | undefined)[] {
    if (peers.length < 2) return peers.map((peer) => this.target(peer))
    const { random } = this.#components
    const first = random.int(peers.length)
    const other = random.int(peers.length - 1)
    const second = other < first ? other : other + 1
    return [first, second].map((index) => this.target(peers[index] as PeerId))
  }

  /** Of the two kinds: this node and its neighbours, or the others. */
  #candidates(service: string, near: boolean, except: ReadonlySet<PeerId>): PeerId[] {
    const peers: PeerId[] = []
    const self = this.#local.peer
    if (near && this.#components.host.serves(service) && !except.has(self)) peers.push(self)
    for (const peer of this.#byService.get(service) ?? []) {
      if (this.#known.get(peer)?.connected === near && !except.has(peer)) peers.push(peer)
    }
    return peers
  }

  /** A node by itself, whatever it serves; a neighbour, unless it serves something. */
  target(peer: PeerId): CallTarget {
    if (peer === this.#local.peer) return this.#local
    let link = this.#links.get(peer)
    if (link === undefined) {
      link = new RequestLink(this.#components, {
        peer,
        addresses: () => this.#known.get(peer)?.addresses ?? []
      })
      this.#links.set(peer, link)
    }
    return link
  }

  #update({ addresses, connected, id, services, state }: PeerEntry): void {
    const before = this.#known.get(id)
    if (before === undefined && services.length === 0) return
    const isUp = state === 'up'
    for (const service of before?.services ?? []) {
      const peers = this.#byService.get(service)
      peers?.delete(id)
      if (peers?.size === 0) this.#byService.delete(service)
    }
    if (!isUp || services.length === 0) {
      this.#known.delete(id)
      if (this.#links.get(id)?.idle === true) this.#links.delete(id)
      return
    }
    this.#known.set(id, { services, connected, addresses })
    for (const service of services) {
      const peers = this.#byService.get(service)
      if (peers === undefined) this.#byService.set(service, new Set([id]))
      else peers.add(id)
    }
  }

  #roundTrip(peer: PeerId): number {
    if (peer === this.#local.peer) return 0
    const { clock, transport } = this.#components
    const now = clock.monotonic()
    if (now - this.#measuredAt >= ROUND_TRIPS_MS) {
      this.#measuredAt = now
      this.#roundTrips = new Map(
        transport.peers().map(({ id, roundTripMs }) => [id, roundTripMs ?? Infinity])
      )
    }
    return this.#roundTrips.get(peer) ?? Infinity
  }
}

const NOBODY: ReadonlySet<PeerId> = new Set()
