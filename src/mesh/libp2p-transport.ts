import '../polyfill.ts'
import type { Libp2p } from '@libp2p/interface'

import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'

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
import { Discovery } from './discovery.ts'
import type { DiscoveryComponents } from './discovery.ts'
import { Dissemination } from './dissemination.ts'
import type { Refusal } from './encrypters.ts'
import { Libp2pFrameStream } from './frame-stream.ts'
import { ChannelGossip } from './gossip.ts'
import { createHost, parseAddress } from './libp2p-host.ts'
import type { Host } from './libp2p-host.ts'
import type { Link } from './link.ts'
import { LEAVE_BEHIND_MS, PEERS_MAX, STREAM_OPEN_MS } from './neighbourhood.ts'
import { Neighbours } from './neighbours.ts'
import type { Neighbour } from './neighbours.ts'
import { networkSecret, serviceTag } from './network-key.ts'
import type { NetworkKeys } from './network-key.ts'
import { Standing } from './standing.ts'
import { Identity } from './identity.ts'

/** Streams of one protocol that a neighbour may have open at once. */
const STREAMS_PER_PROTOCOL = 64

export type Libp2pTransportComponents = DiscoveryComponents

export interface Libp2pTransportInit {
  /** Seed of the node's Ed25519 key, 32 bytes. */
  readonly privateKey: Uint8Array
  /** Name of the mesh; nodes of other meshes are refused. */
  readonly mesh: string
  /** Multiaddrs to listen on; port 0 is any free one. */
  readonly listen: readonly string[]
  /** Multiaddrs to tell others instead of the ones listened on; none by default. */
  readonly announce?: readonly string[]
  /** Multiaddrs to dial, with or without a peer id at their end. */
  readonly join?: readonly string[]
  /** Find peers on the LAN by multicast. */
  readonly mdns: boolean
  /** Without a key the mesh is open to everybody who knows its name. */
  readonly networkKey?: NetworkKeys | undefined
  /** Neighbours tell each other of peers, so that one address is enough to meet all. Default: true. */
  readonly exchange?: boolean
  /** A neighbour that takes nothing for this long no longer holds up publishers, ms. Default: 10,000. */
  readonly leaveBehindMs?: number
}

/** The mesh over libp2p: TCP, Noise, yamux, mDNS, gossipsub for heads and push streams for whole frames. */
class Libp2pTransport implements Transport {
  readonly self: Identity
  readonly events: Emitter<TransportEvents>
  readonly #random: Random
  readonly #init: Libp2pTransportInit
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #links = new Map<PeerId, Link>()
  readonly #standing: Standing
  readonly #gossip: ChannelGossip
  readonly #dissemination: Dissemination
  readonly #discovery: Discovery
  readonly #protocols = new Map<string, (stream: FrameStream) => void>()
  readonly #lastSeen = new Map<PeerId, number>()
  #host: Host | undefined
  #neighbours: Neighbours | undefined
  #state: 'new' | 'running' | 'stopped' = 'new'

  constructor(components: Libp2pTransportComponents, init: Libp2pTransportInit) {
    const { clock } = components
    this.#random = components.random
    this.#init = init
    this.#clock = clock
    this.#logger = components.logger
    this.self = new Identity(init.privateKey)
    this.events = new Emitter((error) => this.#logger.error({ error }, 'an event listener failed'))
    for (const address of init.listen) parseAddress('listen', address)
    for (const address of init.announce ?? []) parseAddress('announce', address)
    this.#standing = new Standing(clock)
    this.#gossip = new ChannelGossip({
      mesh: init.mesh,
      logger: components.logger,
      score: (peer) => this.#standing.score(peer),
      onHead: (from, channel, bytes) => this.#dissemination.receiveHead(from, channel, bytes),
      onMeshShrank: (channel) => this.#dissemination.meshShrank(channel)
    })
    this.#dissemination = new Dissemination(
      { clock, logger: components.logger, gossip: this.#gossip, links: this.#links },
      {
        onDropped: (peer, channel, bytes) =>
          this.events.emit('frame:dropped', { peer, channel, bytes }),
        onRejected: (peer) => this.blame(peer, 'sent a bad frame')
      }
    )
    this.#discovery = new Discovery(components, {
      self: this.self.id,
      join: init.join ?? [],
      mdns: init.mdns,
      exchange: init.exchange ?? true
    })
  }

  async start(): Promise<void> {
    if (this.#state === 'running') return
    if (this.#state === 'stopped')
      throw new SkeinError('ERR_STOPPED', 'a stopped transport cannot start again')
    const host = await this.#createHost()
    this.#host = host
    const neighbours = this.#createNeighbours(host.libp2p)
    this.#neighbours = neighbours
    await neighbours.start()
    for (const [protocol, handler] of this.#protocols)
      await this.#register(host.libp2p, protocol, handler)
    try {
      await host.libp2p.start()
    } catch (error) {
      await neighbours.stop()
      throw new SkeinError(
        'ERR_LISTEN',
        `cannot listen on ${this.#init.listen.join(', ')}: the port is taken or forbidden, or the address is not of this machine; choose another one, or port 0 for any`,
        { details: { listen: [...this.#init.listen] }, cause: error }
      )
    }
    this.#state = 'running'
    for (const channel of this.#dissemination.joined) this.#gossip.join(channel)
    await this.#discovery.start(host, neighbours)
  }

  async stop(): Promise<void> {
    if (this.#state === 'stopped') return
    this.#state = 'stopped'
    this.#dissemination.stop()
    await this.#discovery.stop()
    await this.#neighbours?.stop()
    await this.#host?.libp2p.stop()
  }

  addresses(): readonly string[] {
    return this.#host?.libp2p.getMultiaddrs().map(String) ?? []
  }

  peers(): readonly TransportPeer[] {
    const known = new Map(this.#discovery.known().map((peer) => [peer.id, peer]))
    const ids = new Set([...known.keys(), ...(this.#neighbours?.all.keys() ?? [])])
    return [...ids].map((id) => {
      const neighbour = this.#neighbours?.all.get(id)
      return {
        id,
        connected: neighbour?.up ?? false,
        addresses: known.get(id)?.addresses ?? neighbour?.addresses ?? [],
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
    return {
      ...this.#dissemination.counters,
      dials: this.#discovery.dials,
      dialFailures: this.#discovery.dialFailures,
      bufferedBytes
    }
  }

  join(channel: string): void {
    if (this.#dissemination.joined.has(channel)) return
    this.#dissemination.joined.add(channel)
    if (this.#state !== 'running') return
    this.#gossip.join(channel)
    this.#dissemination.declare(channel, true)
  }

  leave(channel: string): void {
    if (!this.#dissemination.joined.delete(channel) || this.#state !== 'running') return
    this.#gossip.leave(channel)
    this.#dissemination.declare(channel, false)
  }

  advertise(channel: string): void {
    this.#dissemination.advertise(channel)
  }

  members(channel: string): readonly PeerId[] {
    const members: PeerId[] = []
    for (const link of this.#links.values()) if (link.channels.has(channel)) members.push(link.peer)
    return members
  }

  onFrame(handler: (frame: ReceivedFrame) => Verdict | Promise<Verdict>): void {
    this.#dissemination.handler = handler
  }

  broadcast(channel: string, frame: Frame): void {
    if (this.#state === 'running') this.#dissemination.broadcast(channel, frame)
  }

  tell(peer: PeerId, channel: string, frame: Frame): void {
    if (this.#state === 'running') this.#dissemination.tell(peer, channel, frame)
  }

  room(channel: string): Promise<void> | undefined {
    return this.#dissemination.room(channel)
  }

  handle(protocol: string, handler: (stream: FrameStream) => void): void {
    this.#protocols.set(protocol, handler)
    const libp2p = this.#host?.libp2p
    if (libp2p === undefined || this.#state === 'stopped') return
    this.#register(libp2p, protocol, handler).catch((error: unknown) => {
      this.#logger.error({ error, protocol }, 'a protocol could not be registered')
    })
  }

  async open(
    peer: PeerId,
    protocol: string,
    options: { signal?: AbortSignal; timeoutMs?: number; addresses?: readonly string[] } = {}
  ): Promise<FrameStream> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? STREAM_OPEN_MS)
    const signal = AbortSignal.any(
      options.signal === undefined ? [timeout] : [timeout, options.signal]
    )
    const connection =
      this.#neighbours?.connection(peer) ??
      (await this.#discovery.reach(peer, options.addresses ?? [], signal))
    if (connection === undefined) {
      throw new SkeinError('ERR_PEER_UNREACHABLE', `peer ${peer} is not connected`, {
        details: { peer }
      })
    }
    try {
      const stream = await connection.newStream(protocol, { signal })
      return new Libp2pFrameStream(stream, peer)
    } catch (error) {
      const details = { peer, protocol }
      if (options.signal?.aborted === true) {
        throw new SkeinError('ERR_ABORTED', 'opening the stream was aborted', {
          details,
          cause: error
        })
      }
      if (timeout.aborted) {
        throw new SkeinError('ERR_TIMEOUT', `peer ${peer} did not answer in time`, {
          details,
          cause: error
        })
      }
      throw new SkeinError('ERR_STREAM', `peer ${peer} did not open ${protocol}`, {
        details,
        cause: error
      })
    }
  }

  dial(address: string): void {
    this.#discovery.add('address', address)
  }

  blame(peer: PeerId, reason: string): void {
    this.#logger.debug({ peer, reason }, 'a peer misbehaved')
    if (!this.#standing.blame(peer)) return
    this.#logger.warn({ peer, reason }, 'a peer misbehaved too often and is cut off for a minute')
    this.#neighbours?.hangUp(peer, 'the peer misbehaved')
  }

  score(peer: PeerId): number {
    // gossip looks at the standing once a second only, so the standing itself counts too.
    return Math.min(this.#gossip.score(peer), this.#standing.score(peer))
  }

  #createHost(): Promise<Host> {
    const { mesh, networkKey } = this.#init
    const secrets = [networkSecret(networkKey?.current, mesh)]
    if (networkKey?.previous !== undefined) secrets.push(networkSecret(networkKey.previous, mesh))
    return createHost({
      seed: this.#init.privateKey,
      listen: this.#init.listen,
      announce: this.#init.announce ?? [],
      serviceTag: this.#init.mdns ? serviceTag(networkKey?.current, mesh) : undefined,
      encrypters: {
        secrets,
        instance: this.#random.bytes(16),
        onRefused: (refusal) => this.#refused(refusal),
        onSelf: (address) => this.#discovery.isSelf(address)
      },
      gossip: this.#gossip,
      logger: this.#logger,
      isOutcast: (peer) =>
        this.#standing.outcast(peer) ||
        ((this.#neighbours?.all.size ?? 0) >= PEERS_MAX &&
          this.#neighbours?.all.has(peer) === false),
      onFound: ({ id, addresses }) => this.#discovery.found(id, addresses)
    })
  }

  #createNeighbours(libp2p: Libp2p): Neighbours {
    return new Neighbours(
      {
        clock: this.#clock,
        logger: this.#logger,
        libp2p,
        dissemination: this.#dissemination,
        links: this.#links
      },
      {
        self: this.self.id,
        leaveBehindMs: this.#init.leaveBehindMs ?? LEAVE_BEHIND_MS,
        greeting: (to) => this.#discovery.introduce(to),
        onUp: (neighbour) => this.#up(neighbour),
        onDown: (neighbour) => this.#down(neighbour),
        onMember: (peer, channel, member) => {
          if (!this.#dissemination.joined.has(channel)) return
          this.events.emit(member ? 'channel:up' : 'channel:down', { peer, channel })
        },
        onSeen: (peer, channel) => this.events.emit('channel:seen', { peer, channel }),
        onPeers: (from, peers) => this.#discovery.introduced(from, peers),
        onDeaf: (peer) => this.events.emit('link:deaf', { peer }),
        onBehind: (peer, bufferedBytes) => this.events.emit('link:behind', { peer, bufferedBytes }),
        onMisbehaved: (peer, reason) => this.blame(peer, reason),
        gossipKnows: (peer, channel) => this.#gossip.knows(peer, channel),
        reopenGossip: (connection) => this.#gossip.reopen(connection)
      }
    )
  }

  #register(
    libp2p: Libp2p,
    protocol: string,
    handler: (stream: FrameStream) => void
  ): Promise<void> {
    return libp2p.handle(
      protocol,
      (stream, connection) =>
        handler(new Libp2pFrameStream(stream, connection.remotePeer.toString())),
      {
        force: true,
        maxInboundStreams: STREAMS_PER_PROTOCOL,
        maxOutboundStreams: STREAMS_PER_PROTOCOL
      }
    )
  }

  #refused({ peer, address, code, reason }: Refusal): void {
    this.#discovery.refused(address)
    this.#logger.debug({ peer, address, code }, reason)
    this.events.emit('peer:refused', { peer, address, code, reason })
  }

  #up(neighbour: Neighbour): void {
    this.#discovery.up(neighbour.peer)
    this.events.emit('peer:up', { peer: neighbour.peer, addresses: neighbour.addresses })
  }

  #down({ peer, up }: Neighbour): void {
    this.#lastSeen.set(peer, this.#clock.now())
    if (up) this.events.emit('peer:down', { peer })
    this.#discovery.down(peer)
  }
}

/** A transport over libp2p; it opens nothing before `start`. Throws ERR_OPTIONS on a malformed multiaddr. */
export function createLibp2pTransport(
  components: Libp2pTransportComponents,
  init: Libp2pTransportInit
): Transport {
  return new Libp2pTransport(components, init)
}
