import { SkeinError } from '../../src/core/errors.ts'
import { type Random, shuffled } from '../../src/core/random.ts'
import type { PeerId, Transport } from '../../src/mesh/contract.ts'
import type { DialResult } from '../../src/mesh/dialler.ts'
import { PEERS, PEERS_MAX } from '../../src/mesh/neighbourhood.ts'
import type { Impairment, LinkSet } from '../scenario/step.ts'
import { Connection } from './connection.ts'
import type {
  NodeClock,
  VirtualNetwork,
  VirtualNetworkInit,
  VirtualTime,
  WorldComponents
} from './contract.ts'
import { Heads } from './heads.ts'
import { Impairments } from './link-conditions.ts'
import { VirtualTransport } from './virtual-transport.ts'
import { createSharedFrameIds } from './shared-records.ts'
import type { VirtualWires } from './virtual-wires.ts'

const LATENCY_MS = 1
const JITTER_MS = 1
/** Nodes that could not hear each other before do so after up to this time: between two questions of discovery. */
const DISCOVERY_MS = 2000

/** A network without nodes. */
export function createVirtualNetwork(
  components: WorldComponents,
  init: VirtualNetworkInit = {}
): VirtualNetwork {
  return new Network(components, init)
}

class Network implements VirtualNetwork, VirtualWires {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #impairments: Impairments
  readonly #neighbours: number
  readonly #neighboursMost: number
  readonly #keepsAnnouncements: boolean
  /** The latest life of each. */
  readonly #lives = new Map<PeerId, VirtualTransport>()
  readonly #running = new Map<PeerId, VirtualTransport>()
  readonly #connections = new Set<Connection>()
  #discovering = false
  readonly heads = new Heads()
  readonly idOf = createSharedFrameIds()
  #lifeCount = 0

  constructor({ random, time }: WorldComponents, init: VirtualNetworkInit) {
    this.#time = time
    this.#random = random
    const { bytesPerSecond, jitterMs = JITTER_MS, latencyMs = LATENCY_MS } = init
    this.#neighbours = init.neighbours ?? PEERS
    this.#neighboursMost = Math.round((this.#neighbours * PEERS_MAX) / PEERS)
    this.#keepsAnnouncements = init.announcements === 'neighbours'
    this.#impairments = new Impairments({ latencyMs, jitterMs, bytesPerSecond })
  }

  transport({
    clock,
    name,
    privateKey
  }: {
    readonly name: string
    readonly privateKey: Uint8Array
    readonly clock: NodeClock
  }): Transport {
    const transport = new VirtualTransport(
      { clock, random: this.#random, wires: this },
      {
        name,
        privateKey,
        neighbours: this.#neighbours,
        neighboursMost: this.#neighboursMost,
        keepsAnnouncements: this.#keepsAnnouncements
      }
    )
    this.#lives.set(transport.self.id, transport)
    return transport
  }

  impair(id: number, links: LinkSet, impairment: Impairment): void {
    this.#impairments.add(id, links, impairment)
    this.#review()
  }

  repair(id: number): void {
    this.#impairments.delete(id)
    this.#review()
    this.#discoverLater()
  }

  kill(peer: PeerId): void {
    this.#lives.get(peer)?.die()
    this.#lives.delete(peer)
  }

  pause(peer: PeerId): void {
    this.#setPaused(peer, true)
  }

  resume(peer: PeerId): void {
    this.#setPaused(peer, false)
  }

  topology(): ReadonlyArray<readonly [string, string]> {
    const links: (readonly [string, string])[] = []
    for (const connection of this.#connections) {
      const { open, parties, whole } = connection
      if (whole) links.push([parties[0].name, parties[1].name])
      else if (!open) this.#connections.delete(connection)
    }
    return links
  }

  add(transport: VirtualTransport): void {
    const { id } = transport.self
    if (this.#running.has(id)) {
      throw new SkeinError('ERR_IDENTITY_IN_USE', `another transport of the network is ${id}`)
    }
    this.#running.set(id, transport)
    const { latencyUs } = this.#impairments.between(transport.name, transport.name)
    this.#time.schedule(latencyUs / 1000, () => this.#introduce(transport, true))
  }

  remove(transport: VirtualTransport): void {
    const { id } = transport.self
    if (this.#running.get(id) === transport) this.#running.delete(id)
  }

  nextIndex(): number {
    return this.#lifeCount++
  }

  running(peer: PeerId): VirtualTransport | undefined {
    return this.#running.get(peer)
  }

  dial(from: VirtualTransport, address: string, timeoutMs: number): Promise<DialResult> {
    const nobody = { peer: undefined, refused: false }
    const peer = address.slice(address.lastIndexOf('/') + 1)
    const to = this.#running.get(peer)
    return new Promise((resolve) => {
      if (to === undefined || to === from) {
        const { latencyUs } = this.#impairments.between(from.name, from.name)
        from.clock.after((2 * latencyUs) / 1000, () => resolve(nobody))
        return
      }
      const components = {
        time: this.#time,
        random: this.#random,
        impairments: this.#impairments
      }
      const connection = new Connection(components, [from, to])
      this.#connections.add(connection)
      const timer = from.clock.after(timeoutMs, () => {
        connection.giveUp()
        this.#connections.delete(connection)
        resolve(nobody)
      })
      connection.shakeHands(() => {
        timer.cancel()
        resolve(this.#connect(connection, [from, to]))
      })
    })
  }

  #connect(
    connection: Connection,
    [from, to]: readonly [VirtualTransport, VirtualTransport]
  ): DialResult {
    const [one, other] = [from.self.id, to.self.id]
    const refused = from.refuses(other) || to.refuses(one)
    const alive = this.#running.get(one) === from && this.#running.get(other) === to && !from.paused
    const twice = from.isConnected(other)
    if (refused || !alive || twice) {
      connection.giveUp()
      this.#connections.delete(connection)
      return { peer: twice ? other : undefined, refused }
    }
    const near = from.connect(other, connection.pipes[0])
    const far = to.connect(one, connection.pipes[1])
    connection.join([near, far])
    from.greet(near.endpoint)
    to.greet(far.endpoint)
    connection.review()
    return { peer: other, refused: false }
  }

  #setPaused(peer: PeerId, paused: boolean): void {
    const transport = this.#lives.get(peer)
    if (transport === undefined || transport.paused === paused) return
    transport.paused = paused
    if (!paused) transport.resumed()
    this.#review()
  }

  #review(): void {
    for (const connection of this.#connections) {
      if (connection.open) connection.review()
      else this.#connections.delete(connection)
    }
  }

  /** Who could not hear each other may do so now. */
  #discoverLater(): void {
    if (this.#discovering) return
    this.#discovering = true
    this.#time.schedule(this.#random.int(DISCOVERY_MS), () => {
      this.#discovering = false
      for (const transport of this.#running.values()) {
        if (transport.neighbourCount < this.#neighbours / 2) this.#introduce(transport, false)
      }
    })
  }

  #introduce(transport: VirtualTransport, anew: boolean): void {
    if (this.#running.get(transport.self.id) !== transport) return
    for (const other of this.#heardOf()) {
      if (other === transport || !this.#hear(transport.name, other.name)) continue
      transport.found(other, anew)
      other.found(transport, anew)
    }
  }

  /**
   * Each of a big network hears of a few of those only that have room: half of what it connects to, for as many others
   * will hear of it.
   */
  #heardOf(): readonly VirtualTransport[] {
    const all = [...this.#running.values()]
    if (all.length <= this.#neighbours + 1) return all
    const some = shuffled(
      this.#random,
      all.filter(({ neighbourCount }) => neighbourCount < this.#neighboursMost)
    )
    return some.slice(0, Math.ceil(this.#neighbours / 2))
  }

  #hear(one: string, other: string): boolean {
    return !this.#impairments.between(one, other).cut && !this.#impairments.between(other, one).cut
  }
}
