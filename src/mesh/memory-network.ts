import { type Clock, type Timer, every } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import { silentLogger } from '../core/logger.ts'
import type { Logger } from '../core/logger.ts'

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
} from './contract.ts'
import { Dissemination } from './dissemination.ts'
import { Identity } from './identity.ts'
import { Link } from './link.ts'
import { MemoryPipe } from './memory-pipe.ts'
import { memoryStreamPair } from './memory-stream.ts'
import { LEAVE_BEHIND_MS, TICK_MS } from './neighbourhood.ts'
import { frameId } from './network-key.ts'
import { encodeControl } from './push-codec.ts'
import { PushReceiver } from './push-receiver.ts'
import { SeenFrames } from './seen-frames.ts'
import { Standing } from './standing.ts'

/** At a stop what waits has so many link delays to arrive. */
const DRAIN_TURNS = 50
const GOSSIP_SEEN_MS = 60_000
const GOSSIP_SEEN = 16_384

export interface MemoryNetworkComponents {
  readonly clock: Clock
  readonly logger?: Logger
}

export interface MemoryNetworkInit {
  /** One-way delay of every link, ms. Default: 0, the clock's next turn. */
  readonly latencyMs?: number
}

interface MemoryTransportInit {
  /** Seed of the node's Ed25519 key, 32 bytes. */
  readonly privateKey: Uint8Array
}

/** A network within one process: every started transport is linked to every other, except where a link is cut. */
export interface MemoryNetwork {
  transport(init: MemoryTransportInit): Transport
  /** Cuts the link between two peers, started or not. */
  cut(a: PeerId, b: PeerId): void
  heal(a: PeerId, b: PeerId): void
  /** The peer reads nothing until thawed; its links stay up. */
  freeze(peer: PeerId): void
  thaw(peer: PeerId): void
}

const pair = (a: PeerId, b: PeerId): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

class Network implements MemoryNetwork {
  readonly clock: Clock
  readonly logger: Logger
  readonly latencyMs: number
  readonly #running = new Map<PeerId, MemoryTransport>()
  readonly #cut = new Set<string>()
  readonly #frozen = new Set<PeerId>()

  constructor(components: MemoryNetworkComponents, init: MemoryNetworkInit) {
    this.clock = components.clock
    this.logger = components.logger ?? silentLogger
    this.latencyMs = init.latencyMs ?? 0
  }

  transport(init: MemoryTransportInit): Transport {
    return new MemoryTransport(this, init)
  }

  cut(a: PeerId, b: PeerId): void {
    this.#cut.add(pair(a, b))
    this.#running.get(a)?.disconnect(b)
    this.#running.get(b)?.disconnect(a)
  }

  heal(a: PeerId, b: PeerId): void {
    if (this.#cut.delete(pair(a, b))) this.connect(a, b)
  }

  freeze(peer: PeerId): void {
    this.#frozen.add(peer)
  }

  thaw(peer: PeerId): void {
    this.#frozen.delete(peer)
    this.#running.get(peer)?.thawed()
  }

  isFrozen(peer: PeerId): boolean {
    return this.#frozen.has(peer)
  }

  peer(id: PeerId): MemoryTransport | undefined {
    return this.#running.get(id)
  }

  after(callback: () => void): void {
    if (this.latencyMs === 0) this.clock.soon(callback)
    else this.clock.after(this.latencyMs, callback)
  }

  add(transport: MemoryTransport): void {
    const { id } = transport.self
    if (this.#running.has(id)) {
      throw new SkeinError('ERR_IDENTITY_IN_USE', `another transport of the network is ${id}`)
    }
    this.#running.set(id, transport)
    for (const other of this.#running.keys()) this.connect(id, other)
  }

  remove(transport: MemoryTransport): void {
    const { id } = transport.self
    if (this.#running.get(id) !== transport) return
    this.#running.delete(id)
    for (const other of this.#running.values()) other.disconnect(id)
  }

  connect(a: PeerId, b: PeerId): void {
    this.after(() => {
      const [one, other] = [this.#running.get(a), this.#running.get(b)]
      if (a === b || one === undefined || other === undefined || this.#cut.has(pair(a, b))) return
      if (one.isConnected(b) || one.refuses(b) || other.refuses(a)) return
      one.connect(other)
      other.connect(one)
    })
  }
}

interface Neighbour {
  readonly link: Link
  /** What this node writes to the neighbour. */
  readonly pipe: MemoryPipe
  readonly streams: Set<FrameStream>
  receiver: PushReceiver
  roundTripMs: number | undefined
  judging: number
}

class MemoryTransport implements Transport {
  readonly self: Identity
  readonly events: Emitter<TransportEvents>
  readonly #network: Network
  readonly #clock: Clock
  readonly #links = new Map<PeerId, Link>()
  readonly #neighbours = new Map<PeerId, Neighbour>()
  readonly #standing: Standing
  readonly #dissemination: Dissemination
  readonly #heads: SeenFrames
  readonly #protocols = new Map<string, (stream: FrameStream) => void>()
  readonly #lastSeen = new Map<PeerId, number>()
  #running = false
  #timer: Timer | undefined

  constructor(network: Network, init: MemoryTransportInit) {
    const { clock, logger } = network
    this.#network = network
    this.#clock = clock
    this.self = new Identity(init.privateKey)
    this.events = new Emitter((error) => logger.error({ error }, 'an event listener failed'))
    this.#standing = new Standing(clock)
    this.#heads = new SeenFrames(clock, GOSSIP_SEEN_MS, GOSSIP_SEEN)
    const gossip = {
      publish: (channel: string, head: Uint8Array) =>
        this.#gossip(channel, head.slice(), undefined),
      meshPeers: (channel: string) => this.members(channel)
    }
    this.#dissemination = new Dissemination(
      { clock, logger, gossip, links: this.#links },
      {
        onDropped: (peer, channel, bytes) =>
          this.events.emit('frame:dropped', { peer, channel, bytes }),
        onRejected: (peer) => this.blame(peer)
      }
    )
  }

  async start(): Promise<void> {
    if (this.#running) return
    this.#network.add(this)
    this.#running = true
    this.#timer = every(this.#clock, TICK_MS, () => this.#checkProgress())
  }

  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    this.#timer?.cancel()
    this.#dissemination.stop()
    for (let turn = 0; turn < DRAIN_TURNS && this.stats().bufferedBytes > 0; turn++) {
      await new Promise<void>((resolve) => this.#network.after(resolve))
    }
    this.#network.remove(this)
    for (const peer of this.#neighbours.keys()) this.disconnect(peer)
  }

  addresses(): readonly string[] {
    return this.#running ? [`/memory/${this.self.id}`] : []
  }

  peers(): readonly TransportPeer[] {
    const ids = new Set([...this.#lastSeen.keys(), ...this.#neighbours.keys()])
    return [...ids].map((id) => {
      const neighbour = this.#neighbours.get(id)
      return {
        id,
        connected: neighbour !== undefined,
        addresses: [`/memory/${id}`],
        lastSeen: neighbour === undefined ? this.#lastSeen.get(id) : this.#clock.now(),
        channels: [...(neighbour?.link.channels ?? [])],
        advertised: neighbour?.link.known() ?? [],
        roundTripMs: neighbour?.roundTripMs
      }
    })
  }

  stats(): TransportStats {
    let bufferedBytes = 0
    for (const link of this.#links.values()) bufferedBytes += link.buffered
    return { ...this.#dissemination.counters, dials: 0, dialFailures: 0, bufferedBytes }
  }

  join(channel: string): void {
    if (this.#dissemination.joined.has(channel)) return
    this.#dissemination.joined.add(channel)
    this.#dissemination.declare(channel, true)
  }

  leave(channel: string): void {
    if (!this.#dissemination.joined.delete(channel)) return
    this.#dissemination.declare(channel, false)
  }

  advertise(channel: string): void {
    this.#dissemination.advertise(channel)
  }

  members(channel: string): readonly PeerId[] {
    return [...this.#links.values()]
      .filter((link) => link.channels.has(channel))
      .map(({ peer }) => peer)
  }

  onFrame(handler: (frame: ReceivedFrame) => Verdict | Promise<Verdict>): void {
    this.#dissemination.handler = handler
  }

  broadcast(channel: string, frame: Frame): void {
    if (this.#running) this.#dissemination.broadcast(channel, frame)
  }

  tell(peer: PeerId, channel: string, frame: Frame): void {
    if (this.#running) this.#dissemination.tell(peer, channel, frame)
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
    options: { signal?: AbortSignal } = {}
  ): Promise<FrameStream> {
    if (options.signal?.aborted === true) {
      throw new SkeinError('ERR_ABORTED', 'opening the stream was aborted')
    }
    const neighbour = this.#neighbours.get(peer)
    const other = this.#network.peer(peer)
    if (neighbour === undefined || other === undefined) {
      throw new SkeinError('ERR_PEER_UNREACHABLE', `peer ${peer} is not connected`, {
        details: { peer }
      })
    }
    const handler = other.#protocols.get(protocol)
    if (handler === undefined) {
      throw new SkeinError('ERR_STREAM', `peer ${peer} does not answer ${protocol}`)
    }
    const [near, far] = memoryStreamPair(protocol, [peer, this.self.id], (deliver) =>
      this.#network.after(deliver)
    )
    neighbour.streams.add(near)
    other.#neighbours.get(this.self.id)?.streams.add(far)
    this.#network.after(() => handler(far))
    return near
  }

  dial(address: string): void {
    if (/^\/memory\/\w+$/.test(address)) return
    throw new SkeinError(
      'ERR_OPTIONS',
      `address: '${address}' is not of the form /memory/<peer id>`
    )
  }

  blame(peer: PeerId): void {
    if (!this.#standing.blame(peer)) return
    this.disconnect(peer)
    this.#network.peer(peer)?.disconnect(this.self.id)
  }

  score(peer: PeerId): number {
    return this.#standing.score(peer)
  }

  isConnected(peer: PeerId): boolean {
    return this.#neighbours.has(peer)
  }

  refuses(peer: PeerId): boolean {
    return this.#standing.outcast(peer)
  }

  thawed(): void {
    for (const peer of this.#neighbours.keys()) {
      this.#network.peer(peer)?.resume(this.self.id)
    }
  }

  /** The peer can read again. */
  resume(peer: PeerId): void {
    this.#neighbours.get(peer)?.pipe.resume()
  }

  /** One half of a new link; the other side makes its own. */
  connect(other: MemoryTransport): void {
    const peer = other.self.id
    let index = 1
    while ([...this.#links.values()].some((link) => link.index === index)) index++
    const link = new Link({ clock: this.#clock }, { peer, index, leaveBehindMs: LEAVE_BEHIND_MS })
    const pipe = new MemoryPipe({
      after: (deliver) => this.#network.after(deliver),
      reads: () => !this.#network.isFrozen(peer) && other.#reads(this.self.id),
      deliver: (bytes) => other.#deliver(this.self.id, bytes),
      onDrain: () => link.pump()
    })
    const neighbour: Neighbour = {
      link,
      pipe,
      streams: new Set(),
      receiver: this.#receiver(peer, link),
      roundTripMs: undefined,
      judging: 0
    }
    this.#neighbours.set(peer, neighbour)
    this.#links.set(peer, link)
    link.attach(pipe, () => [
      ...this.#dissemination.declarations(link),
      encodeControl.ping(this.#clock.monotonic())
    ])
    this.events.emit('peer:up', { peer, addresses: other.addresses() })
  }

  disconnect(peer: PeerId): void {
    const neighbour = this.#neighbours.get(peer)
    if (neighbour === undefined) return
    this.#neighbours.delete(peer)
    this.#links.delete(peer)
    this.#lastSeen.set(peer, this.#clock.now())
    neighbour.pipe.close()
    neighbour.link.close()
    for (const stream of neighbour.streams) {
      stream.abort(new SkeinError('ERR_STREAM', 'the link went down'))
    }
    this.#dissemination.linkDown(neighbour.link)
    for (const channel of neighbour.link.channels) this.#member(peer, channel, false)
    this.events.emit('peer:down', { peer })
  }

  #checkProgress(): void {
    for (const [peer, link] of this.#links) {
      if (!link.checkProgress()) continue
      this.events.emit('link:behind', { peer, bufferedBytes: link.buffered })
    }
  }

  #receiver(peer: PeerId, link: Link): PushReceiver {
    return new PushReceiver(
      { dissemination: this.#dissemination },
      {
        link,
        onMember: (channel, member) => this.#member(peer, channel, member),
        onSeen: (channel) => this.events.emit('channel:seen', { peer, channel }),
        onPeers: () => undefined,
        onPong: (time) => {
          const neighbour = this.#neighbours.get(peer)
          if (neighbour !== undefined) neighbour.roundTripMs = this.#clock.monotonic() - time
        },
        onJudging: (bytes) => {
          const neighbour = this.#neighbours.get(peer)
          if (neighbour === undefined) return
          neighbour.judging = bytes
          this.#network.peer(peer)?.resume(this.self.id)
        }
      }
    )
  }

  #member(peer: PeerId, channel: string, member: boolean): void {
    if (!this.#dissemination.joined.has(channel)) return
    this.events.emit(member ? 'channel:up' : 'channel:down', { peer, channel })
  }

  #reads(from: PeerId): boolean {
    return (this.#neighbours.get(from)?.judging ?? 0) < 1024 * 1024
  }

  #deliver(from: PeerId, bytes: Uint8Array): void {
    try {
      this.#neighbours.get(from)?.receiver.push(bytes)
    } catch (error) {
      if (!isSkeinError(error, 'ERR_STREAM')) throw error
      this.blame(from)
    }
  }

  /** Heads flood along the members, each peer once. */
  #gossip(channel: string, head: Uint8Array, from: PeerId | undefined): void {
    this.#heads.add(frameId(head))
    for (const peer of this.members(channel)) {
      if (peer === from) continue
      this.#network.after(() => {
        const other = this.#neighbours.has(peer) ? this.#network.peer(peer) : undefined
        void other?.receiveHead(this.self.id, channel, head)
      })
    }
  }

  async receiveHead(from: PeerId, channel: string, head: Uint8Array): Promise<void> {
    if (!this.#dissemination.joined.has(channel) || this.#network.isFrozen(this.self.id)) return
    if (this.#heads.has(frameId(head))) return
    this.#heads.add(frameId(head))
    const verdict = await this.#dissemination.receiveHead(from, channel, head)
    if (verdict === 'accept') this.#gossip(channel, head, from)
  }
}

/** A network in memory for tests of the layers above; it keeps no state outside the returned object. */
export function createMemoryNetwork(
  components: MemoryNetworkComponents,
  init: MemoryNetworkInit = {}
): MemoryNetwork {
  return new Network(components, init)
}
