import { delay, type Timer } from '../../src/core/clock.ts'
import { isSkeinError, SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import type { Random } from '../../src/core/random.ts'
import type {
  Frame,
  FrameStream,
  PeerId,
  ReceivedFrame,
  Transport,
  TransportEvents,
  TransportPeer,
  TransportStats,
  Verdict
} from '../../src/mesh/contract.ts'
import { Dialler, type DialResult } from '../../src/mesh/dialler.ts'
import { Dissemination } from '../../src/mesh/dissemination.ts'
import { Identity } from '../../src/mesh/identity.ts'
import { Link } from '../../src/mesh/link.ts'
import {
  DRAIN_MS,
  DRAIN_STEP_MS,
  LEAVE_BEHIND_MS,
  STREAM_OPEN_MS,
  TICK_MS
} from '../../src/mesh/neighbourhood.ts'
import { encodeControl } from '../../src/mesh/push-codec.ts'
import { PushReceiver } from '../../src/mesh/push-receiver.ts'
import { Standing } from '../../src/mesh/standing.ts'
import type { NodeClock } from './contract.ts'
import { Endpoint } from './endpoint.ts'
import { GossipMesh } from './gossip-mesh.ts'
import type { Pipe } from './pipe.ts'
import { keepingAnnouncements } from './kept-announcements.ts'
import { plainFrame } from './shared-records.ts'
import { Silence } from './silence.ts'
import type {
  VirtualTransportComponents,
  VirtualTransportInit,
  VirtualWires
} from './virtual-wires.ts'

const ADDRESS = /^\/virtual\/[^/]+\/p2p\/[^/]+$/

interface Neighbour {
  readonly peer: PeerId
  readonly endpoint: Endpoint
  readonly silence: Silence
  addresses: readonly string[]
  /** It has greeted. */
  up: boolean
  roundTripMs?: number
}

/** The mesh over virtual connections: links, dissemination, dialling and standing are those of every node. */
export class VirtualTransport implements Transport {
  readonly name: string
  readonly self: Identity
  readonly events: Emitter<TransportEvents>
  readonly clock: NodeClock
  readonly gossip: GossipMesh
  readonly address: string
  paused = false
  readonly #random: Random
  readonly #wires: VirtualWires
  readonly #most: number
  readonly #keepsAnnouncements: boolean
  readonly #links = new Map<PeerId, Link>()
  /** By channel, until one of them changes. */
  readonly #members = new Map<string, readonly PeerId[]>()
  readonly #neighbours = new Map<PeerId, Neighbour>()
  readonly #indices = new Set<number>()
  readonly #found = new Set<PeerId>()
  readonly #standing: Standing
  readonly #dissemination: Dissemination
  readonly #dialler: Dialler
  readonly #protocols = new Map<string, (stream: FrameStream) => void>()
  readonly #lastSeen = new Map<PeerId, number>()
  #state: 'new' | 'running' | 'stopping' | 'over' = 'new'
  #progress: Timer | undefined
  #dials = 0
  #dialFailures = 0

  constructor(components: VirtualTransportComponents, init: VirtualTransportInit) {
    const { clock, random } = components
    this.clock = clock
    this.#random = random
    this.#wires = components.wires
    this.name = init.name
    this.#most = init.neighboursMost
    this.#keepsAnnouncements = init.keepsAnnouncements
    this.self = new Identity(init.privateKey)
    this.address = `/virtual/${init.name}/p2p/${this.self.id}`
    this.events = new Emitter((error) => {
      throw error
    })
    this.#standing = new Standing(clock)
    this.gossip = this.#createGossip()
    this.#dissemination = new Dissemination(
      { clock, logger: silentLogger, gossip: this.gossip, links: this.#links },
      {
        onDropped: (peer, channel, bytes) =>
          this.events.emit('frame:dropped', { peer, channel, bytes }),
        onRejected: (peer) => this.blame(peer),
        idOf: components.wires.idOf
      }
    )
    this.#dialler = new Dialler(
      { clock, random },
      {
        self: this.self.id,
        dial: (addresses, timeoutMs) => this.#dial(addresses[0] as string, timeoutMs),
        isConnected: (peer) => this.#neighbours.has(peer),
        wants: () => this.#neighbours.size < init.neighbours
      }
    )
  }

  async start(): Promise<void> {
    if (this.#state === 'running' || this.#state === 'over') return
    this.#wires.add(this)
    this.#state = 'running'
    this.#dialler.start()
  }

  async stop(): Promise<void> {
    if (this.#state !== 'running') return
    this.#state = 'stopping'
    this.#dissemination.stop()
    this.#dialler.stop()
    const until = this.clock.monotonic() + DRAIN_MS
    while (this.#bufferedBytes() > 0 && this.clock.monotonic() < until) {
      await delay(this.clock, DRAIN_STEP_MS)
    }
    this.#end()
    for (const { peer } of this.#neighbours.values()) this.#hangUp(peer)
  }

  /** The process is gone. */
  die(): void {
    this.#dissemination.stop()
    this.#dialler.stop()
    this.#end()
    for (const { endpoint, silence } of this.#neighbours.values()) {
      silence.stop()
      endpoint.die()
    }
  }

  addresses(): readonly string[] {
    return this.#state === 'running' ? [this.address] : []
  }

  peers(): readonly TransportPeer[] {
    const ids = new Set([...this.#lastSeen.keys(), ...this.#neighbours.keys()])
    return [...ids].map((id) => {
      const neighbour = this.#neighbours.get(id)
      const link = this.#links.get(id)
      return {
        id,
        connected: neighbour?.up ?? false,
        addresses: neighbour?.addresses ?? [],
        lastSeen: neighbour === undefined ? this.#lastSeen.get(id) : this.clock.now(),
        channels: [...(link?.channels ?? [])],
        advertised: link?.known() ?? [],
        roundTripMs: neighbour?.roundTripMs
      }
    })
  }

  stats(): TransportStats {
    return {
      ...this.#dissemination.counters,
      dials: this.#dials,
      dialFailures: this.#dialFailures,
      bufferedBytes: this.#bufferedBytes()
    }
  }

  join(channel: string): void {
    if (this.#dissemination.joined.has(channel)) return
    this.#dissemination.joined.add(channel)
    this.#dissemination.declare(channel, true)
    this.gossip.membersChanged(channel)
  }

  leave(channel: string): void {
    if (!this.#dissemination.joined.delete(channel)) return
    this.#dissemination.declare(channel, false)
    this.gossip.membersChanged(channel)
  }

  advertise(channel: string): void {
    this.#dissemination.advertise(channel)
  }

  members(channel: string): readonly PeerId[] {
    let members = this.#members.get(channel)
    if (members === undefined) {
      members = [...this.#links.values()]
        .filter((link) => link.channels.has(channel))
        .map((link) => link.peer)
      this.#members.set(channel, members)
    }
    return members
  }

  onFrame(handler: (frame: ReceivedFrame) => Verdict | Promise<Verdict>): void {
    const judge = this.#keepsAnnouncements ? keepingAnnouncements(handler) : handler
    this.#dissemination.handler = this.gossip.following(judge)
  }

  broadcast(channel: string, frame: Frame): void {
    if (this.#state === 'running') this.#dissemination.broadcast(channel, plainFrame(frame))
  }

  tell(peer: PeerId, channel: string, frame: Frame): void {
    if (this.#state === 'running') this.#dissemination.tell(peer, channel, plainFrame(frame))
  }

  room(channel: string): Promise<void> | undefined {
    return this.#dissemination.room(channel)
  }

  handle(protocol: string, handler: (stream: FrameStream) => void): void {
    this.#protocols.set(protocol, handler)
  }

  async open(
    peer: PeerId,
    protocol: string,
    options: { signal?: AbortSignal; timeoutMs?: number } = {}
  ): Promise<FrameStream> {
    const { signal, timeoutMs = STREAM_OPEN_MS } = options
    if (signal?.aborted === true) throw new SkeinError('ERR_ABORTED', 'opening was aborted')
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) {
      throw new SkeinError('ERR_PEER_UNREACHABLE', `peer ${peer} is not connected`, {
        details: { peer }
      })
    }
    return neighbour.endpoint.openStream(protocol, timeoutMs, signal)
  }

  dial(address: string): void {
    if (!ADDRESS.test(address)) {
      const form = '/virtual/<name>/p2p/<peer id>'
      throw new SkeinError('ERR_OPTIONS', `address: '${address}' is not of the form ${form}`)
    }
    this.#dialler.addFixed(address)
  }

  blame(peer: PeerId): void {
    if (this.#standing.blame(peer)) this.#hangUp(peer)
  }

  score(peer: PeerId): number {
    return this.#standing.score(peer)
  }

  /** A peer has shown up, as by multicast. `anew`: it has just started. */
  found(other: VirtualTransport, anew: boolean): void {
    const { id } = other.self
    if (this.#state !== 'running' || (this.#found.has(id) && !anew)) return
    this.#found.add(id)
    if (this.#neighbours.has(id)) return
    this.#dialler.found({ id, addresses: [other.address], lastSeen: this.clock.now() })
  }

  /** Not even a second connection is taken from it. */
  refuses(peer: PeerId): boolean {
    return (
      this.#standing.outcast(peer) || (this.neighbourCount >= this.#most && !this.isConnected(peer))
    )
  }

  isConnected(peer: PeerId): boolean {
    return this.#neighbours.has(peer)
  }

  get neighbourCount(): number {
    return this.#neighbours.size
  }

  /** This end of a new connection. Another one to the same peer, of which the end was not heard yet, is over. */
  connect(peer: PeerId, out: Pipe): { endpoint: Endpoint; silence: Silence } {
    const former = this.#neighbours.get(peer)
    if (former !== undefined) this.#lose(former, false)
    let index = 1
    while (this.#indices.has(index)) index++
    this.#indices.add(index)
    const link = new Link({ clock: this.clock }, { peer, index, leaveBehindMs: LEAVE_BEHIND_MS })
    const silence = new Silence({ clock: this.clock, random: this.#random }, () => {
      this.events.emit('link:deaf', { peer })
      this.#lose(neighbour, true)
    })
    const endpoint: Endpoint = new Endpoint({
      peer,
      clock: this.clock,
      link,
      out,
      receiver: this.#receiver(link, () => neighbour),
      handler: (protocol) => this.#protocols.get(protocol),
      onMalformed: (error) => {
        if (!isSkeinError(error, 'ERR_STREAM')) throw error
        this.blame(peer)
        this.#lose(neighbour, true)
      },
      onBlocked: () => this.#watchProgress()
    })
    const neighbour: Neighbour = { peer, endpoint, silence, addresses: [], up: false }
    endpoint.closedByPeer = () => this.#lose(neighbour, false)
    this.#neighbours.set(peer, neighbour)
    this.#links.set(peer, link)
    return neighbour
  }

  /** Both ends of the new connection are there. */
  greet(endpoint: Endpoint): void {
    const { link } = endpoint
    link.attach(endpoint, () => [
      encodeControl.peers([{ id: this.self.id, addresses: [this.address] }]),
      ...this.#dissemination.declarations(link),
      encodeControl.ping(this.clock.monotonic())
    ])
  }

  /** Its process runs again. */
  resumed(): void {
    for (const { silence } of this.#neighbours.values()) silence.restart()
  }

  #createGossip(): GossipMesh {
    return new GossipMesh(
      { clock: this.clock, random: this.#random },
      {
        self: this.self.id,
        index: this.#wires.nextIndex(),
        heads: this.#wires.heads,
        idOf: (bytes) => this.#wires.idOf(bytes, bytes.length),
        joined: (channel) => this.#dissemination.joined.has(channel),
        members: (channel) => this.members(channel),
        peer: (id) => (this.#neighbours.has(id) ? this.#wires.running(id)?.gossip : undefined),
        send: (to, bytes, deliver) => this.#neighbours.get(to)?.endpoint.tell(bytes, deliver),
        judge: (from, { bytes, channel, id }) =>
          this.#dissemination.receiveHead(from, channel, bytes, id),
        onMeshShrank: (channel) => this.#dissemination.meshShrank(channel)
      }
    )
  }

  #receiver(link: Link, neighbour: () => Neighbour): PushReceiver {
    const { peer } = link
    const present = (): boolean => this.#links.get(peer) === link
    return new PushReceiver(
      { dissemination: this.#dissemination },
      {
        link,
        onMember: (channel, member) => {
          if (present()) this.#member(peer, channel, member)
        },
        onSeen: (channel) => {
          if (present()) this.events.emit('channel:seen', { peer, channel })
        },
        onPeers: ([one]) => {
          if (one !== undefined && present()) this.#up(neighbour(), one.addresses)
        },
        onPong: (time) => {
          neighbour().roundTripMs = this.clock.monotonic() - time
        },
        onJudging: (bytes) => neighbour().endpoint.judging(bytes)
      }
    )
  }

  #up(neighbour: Neighbour, addresses: readonly string[]): void {
    const { peer } = neighbour
    neighbour.addresses = addresses
    if (neighbour.up) return
    neighbour.up = true
    this.#found.add(peer)
    this.#dialler.found({ id: peer, addresses, lastSeen: this.clock.now() })
    this.#dialler.connected(peer)
    this.events.emit('peer:up', { peer, addresses })
  }

  #member(peer: PeerId, channel: string, member: boolean): void {
    this.#members.delete(channel)
    this.gossip.membersChanged(channel, member ? undefined : peer)
    if (!this.#dissemination.joined.has(channel)) return
    this.events.emit(member ? 'channel:up' : 'channel:down', { peer, channel })
  }

  async #dial(address: string, timeoutMs: number): Promise<DialResult> {
    this.#dials++
    const result = await this.#wires.dial(this, address, timeoutMs)
    if (result.peer === undefined) this.#dialFailures++
    return result
  }

  #hangUp(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour !== undefined) this.#lose(neighbour, true)
  }

  #lose(neighbour: Neighbour, tellOther: boolean): void {
    const { endpoint, peer, silence, up } = neighbour
    silence.stop()
    endpoint.close(tellOther)
    if (this.#neighbours.get(peer) !== neighbour) return
    const { link } = endpoint
    this.#neighbours.delete(peer)
    this.#links.delete(peer)
    this.#members.clear()
    this.#indices.delete(link.index)
    this.#lastSeen.set(peer, this.clock.now())
    link.close()
    this.#dissemination.linkDown(link)
    for (const channel of link.channels) this.#member(peer, channel, false)
    if (up) this.events.emit('peer:down', { peer })
    this.#dialler.disconnected(peer)
  }

  #end(): void {
    this.#state = 'over'
    this.#progress?.cancel()
    this.gossip.stop()
    this.#wires.remove(this)
  }

  #bufferedBytes(): number {
    let bytes = 0
    for (const link of this.#links.values()) bytes += link.buffered
    return bytes
  }

  /** Looks after neighbours only while one of them does not take what it is sent. */
  #watchProgress(): void {
    this.#progress ??= this.clock.after(TICK_MS, () => {
      this.#progress = undefined
      for (const [peer, link] of this.#links) {
        if (!link.checkProgress()) continue
        this.events.emit('link:behind', { peer, bufferedBytes: link.buffered })
      }
      if (this.#state === 'running' && this.#bufferedBytes() > 0) this.#watchProgress()
    })
  }
}
