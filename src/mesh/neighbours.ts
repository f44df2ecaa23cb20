import '../polyfill.ts'
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'

import { delay, every } from '../core/clock.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { MIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'

import type { PeerId } from './contract.ts'
import type { Dissemination } from './dissemination.ts'
import { Link } from './link.ts'
import type { PushSink } from './link.ts'
import { DEAF_MS, DRAIN_MS, DRAIN_STEP_MS, PING_MS, TICK_MS } from './neighbourhood.ts'
import { encodeControl } from './push-codec.ts'
import type { PeerAddresses } from './push-codec.ts'
import { PushReceiver } from './push-receiver.ts'

export const PUSH_PROTOCOL = '/skein/push/1.0.0'
/** Where the watchdog's tick comes so much later, this process slept, and not the neighbours. */
const SLEPT_MS = 3000
/** Time for a push stream to open. */
const OPEN_MS = 5000
const REOPEN_MS = 250
/** A neighbour on which no push stream can be opened is hung up after so many tries. */
const OPEN_TRIES = 4
/** At a stop: time to close. */
const CLOSE_MS = 300
/** Written to a push stream ahead of its window. */
const STREAM_BUFFER_BYTES = 256 * 1024
/** Frames of one neighbour that wait for their verdict before its stream is paused. */
const JUDGING_BYTES = 2 * MIB
/** A second connection is closed when the first has carried the push stream this long. */
const SETTLE_MS = 500
/** Streams of upper layers on it may take this long to end. */
const LINGER_MS = 30_000
/** After this long without the neighbour in gossip's topic, gossip's stream is reopened, then the link. */
const GOSSIP_REPAIR_MS = 3000
const GOSSIP_HANG_UP_MS = 10_000

interface Attachment {
  readonly connection: Connection
  readonly stream: Stream
  readonly sink: PushSink
  readonly since: number
}

/** A peer with at least one open connection. */
export interface Neighbour {
  readonly peer: PeerId
  readonly link: Link
  readonly connections: Set<Connection>
  addresses: readonly string[]
  roundTripMs: number | undefined
  /** It has greeted: it speaks our push protocol, and its addresses are known. */
  up: boolean
  heardAt: number
  pingedAt: number
  /** Time of the last ping that it answered. */
  readUntil: number
  tries: number
  opening: boolean
  attachment: Attachment | undefined
  /** Since when gossip lacks this neighbour in a channel. */
  strayedAt: number | undefined
  repaired: boolean
}

export interface NeighboursComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly libp2p: Libp2p
  readonly dissemination: Dissemination
  /** The same map that dissemination reads. */
  readonly links: Map<PeerId, Link>
}

export interface NeighboursInit {
  readonly self: PeerId
  readonly leaveBehindMs: number
  /** Own addresses and those of neighbours, for a peer that has just come up. */
  readonly greeting: (to: PeerId) => readonly PeerAddresses[]
  /** The neighbour has greeted. */
  readonly onUp: (neighbour: Neighbour) => void
  /** Also for one that never came up. */
  readonly onDown: (neighbour: Neighbour) => void
  readonly onMember: (peer: PeerId, channel: string, member: boolean) => void
  readonly onSeen: (peer: PeerId, channel: string) => void
  readonly onPeers: (from: Neighbour, peers: readonly PeerAddresses[]) => void
  readonly onDeaf: (peer: PeerId) => void
  readonly onBehind: (peer: PeerId, bufferedBytes: number) => void
  readonly onMisbehaved: (peer: PeerId, reason: string) => void
  /** Does gossip have the peer in the channel? */
  readonly gossipKnows: (peer: PeerId, channel: string) => boolean
  readonly reopenGossip: (connection: Connection) => void
}

/** The bytes that came in on a connection, where the stack lets us see them. */
interface Observable {
  maConn?: { addEventListener(type: 'message', listener: () => void): void }
}

function streamSink(stream: Stream): PushSink {
  return {
    get writable() {
      return (
        stream.writeStatus === 'writable' &&
        !stream.writableNeedsDrain &&
        stream.writeBufferLength < STREAM_BUFFER_BYTES
      )
    },
    get buffered() {
      return stream.writeBufferLength
    },
    write: (parts) => {
      if (stream.writeStatus === 'writable') stream.send(new Uint8ArrayList(...parts))
    }
  }
}

/** The neighbours: one link each, over the best of its connections, watched by a heartbeat. */
export class Neighbours {
  readonly all = new Map<PeerId, Neighbour>()
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #libp2p: Libp2p
  readonly #dissemination: Dissemination
  readonly #links: Map<PeerId, Link>
  readonly #init: NeighboursInit
  readonly #indices = new Set<number>()
  #ticker: Timer | undefined
  #tickedAt = 0
  #running = false

  constructor(components: NeighboursComponents, init: NeighboursInit) {
    this.#clock = components.clock
    this.#logger = components.logger
    this.#libp2p = components.libp2p
    this.#dissemination = components.dissemination
    this.#links = components.links
    this.#init = init
  }

  /** To be called before libp2p starts. */
  async start(): Promise<void> {
    this.#running = true
    this.#libp2p.addEventListener('connection:open', (event) => this.#opened(event.detail))
    this.#libp2p.addEventListener('connection:close', (event) => this.#closed(event.detail))
    await this.#libp2p.handle(
      PUSH_PROTOCOL,
      (stream, connection) => this.#inbound(stream, connection),
      { maxInboundStreams: 4, maxOutboundStreams: 4 }
    )
    this.#tickedAt = this.#clock.monotonic()
    this.#ticker = every(this.#clock, TICK_MS, () => this.#tick())
  }

  /** Writes what waits, within bounds, and closes all connections. */
  async stop(): Promise<void> {
    this.#ticker?.cancel()
    await this.#drain()
    this.#running = false
    const connections = [...this.all.values()].flatMap((neighbour) => [...neighbour.connections])
    await Promise.all(
      connections.map((connection) =>
        connection
          .close({ signal: AbortSignal.timeout(CLOSE_MS) })
          .catch((error: unknown) => connection.abort(error as Error))
      )
    )
  }

  /** Waits until the neighbours have read all: closing a socket before would throw away what they did not. */
  async #drain(): Promise<void> {
    const now = this.#clock.monotonic()
    for (const { link } of this.all.values()) link.sendControl(encodeControl.ping(now))
    const waiting = (): boolean => [...this.all.values()].some(({ readUntil }) => readUntil < now)
    while (waiting() && this.#clock.monotonic() < now + DRAIN_MS) {
      await delay(this.#clock, DRAIN_STEP_MS)
    }
  }

  /** The connection to open streams on. */
  connection(peer: PeerId): Connection | undefined {
    const neighbour = this.all.get(peer)
    return neighbour === undefined ? undefined : this.#best(neighbour)
  }

  /** Ends all connections to a peer at once. */
  hangUp(peer: PeerId, reason: string): void {
    for (const connection of this.all.get(peer)?.connections ?? []) {
      connection.abort(new SkeinError('ERR_STREAM', reason))
    }
  }

  #opened(connection: Connection): void {
    if (!this.#running) {
      connection.abort(new SkeinError('ERR_STOPPED', 'the node is stopping'))
      return
    }
    const peer = connection.remotePeer.toString()
    const neighbour = this.all.get(peer) ?? this.#add(peer)
    neighbour.connections.add(connection)
    neighbour.heardAt = this.#clock.monotonic()
    ;(connection as unknown as Observable).maConn?.addEventListener('message', () => {
      neighbour.heardAt = this.#clock.monotonic()
    })
    this.#attach(neighbour)
  }

  #add(peer: PeerId): Neighbour {
    let index = 1
    while (this.#indices.has(index)) index++
    this.#indices.add(index)
    const link = new Link(
      { clock: this.#clock },
      { peer, index, leaveBehindMs: this.#init.leaveBehindMs }
    )
    const now = this.#clock.monotonic()
    const neighbour: Neighbour = {
      peer,
      link,
      connections: new Set(),
      addresses: [],
      roundTripMs: undefined,
      up: false,
      heardAt: now,
      pingedAt: 0,
      readUntil: 0,
      tries: 0,
      opening: false,
      attachment: undefined,
      strayedAt: undefined,
      repaired: false
    }
    this.all.set(peer, neighbour)
    this.#links.set(peer, link)
    return neighbour
  }

  #closed(connection: Connection): void {
    const neighbour = this.all.get(connection.remotePeer.toString())
    if (neighbour?.connections.delete(connection) !== true) return
    const best = this.#best(neighbour)
    if (best === undefined) {
      this.#remove(neighbour)
      return
    }
    this.#attach(neighbour)
    this.#init.reopenGossip(best)
  }

  #remove(neighbour: Neighbour): void {
    const { peer, link } = neighbour
    this.all.delete(peer)
    this.#links.delete(peer)
    this.#indices.delete(link.index)
    link.close()
    this.#dissemination.linkDown(link)
    for (const channel of link.channels) this.#init.onMember(peer, channel, false)
    this.#init.onDown(neighbour)
  }

  /**
   * Both sides choose alike: the connection that the lesser peer id dialled, and the youngest of several, since
   * an older one may belong to a life of the neighbour that is over.
   */
  #best(neighbour: Neighbour): Connection | undefined {
    const wanted = this.#init.self < neighbour.peer ? 'outbound' : 'inbound'
    let best: Connection | undefined
    for (const connection of neighbour.connections) {
      if (connection.status !== 'open') continue
      const better =
        best === undefined ||
        (best.direction === connection.direction
          ? connection.timeline.open >= best.timeline.open
          : connection.direction === wanted)
      if (better) best = connection
    }
    return best
  }

  /** Sees to it that the push stream runs over the best connection. */
  #attach(neighbour: Neighbour): void {
    const best = this.#best(neighbour)
    if (!this.#running || best === undefined || neighbour.opening) return
    if (neighbour.attachment?.connection === best) return
    neighbour.opening = true
    void this.#open(neighbour, best).then((opened) => {
      neighbour.opening = false
      if (opened) {
        this.#attach(neighbour)
        return
      }
      neighbour.tries++
      if (neighbour.tries >= OPEN_TRIES) this.hangUp(neighbour.peer, 'no push stream can be opened')
      else this.#clock.after(REOPEN_MS, () => this.#attach(neighbour))
    })
  }

  async #open(neighbour: Neighbour, connection: Connection): Promise<boolean> {
    let stream: Stream
    try {
      const signal = AbortSignal.timeout(OPEN_MS)
      stream = await connection.newStream(PUSH_PROTOCOL, { signal })
    } catch (error) {
      this.#logger.debug({ error, peer: neighbour.peer }, 'a push stream did not open')
      return false
    }
    if (!this.#running || !neighbour.connections.has(connection)) return false
    const { link } = neighbour
    const sink = streamSink(stream)
    const former = neighbour.attachment
    neighbour.attachment = { connection, stream, sink, since: this.#clock.monotonic() }
    // Not at once: the stream itself first writes what it holds, and says when it is through.
    stream.addEventListener('drain', () => link.wake())
    stream.addEventListener('idle', () => link.wake())
    stream.addEventListener('close', () => {
      link.detach(sink)
      if (neighbour.attachment?.stream !== stream) return
      neighbour.attachment = undefined
      this.#attach(neighbour)
    })
    link.attach(sink, () => [
      encodeControl.peers(this.#init.greeting(neighbour.peer)),
      ...this.#dissemination.declarations(link),
      encodeControl.ping(this.#clock.monotonic())
    ])
    neighbour.tries = 0
    if (former !== undefined) this.#closeStream(former.stream, neighbour.peer)
    return true
  }

  /** A stream that breaks while it closes is closed too. */
  #closeStream(stream: Stream, peer: PeerId): void {
    stream.close().catch((error: unknown) => {
      this.#logger.debug({ error: String(error), peer }, 'a push stream broke while it closed')
    })
  }

  #inbound(stream: Stream, connection: Connection): void {
    const neighbour = this.all.get(connection.remotePeer.toString())
    if (neighbour === undefined) {
      stream.abort(new SkeinError('ERR_STOPPED', 'the connection is gone'))
      return
    }
    const { peer, link } = neighbour
    const receiver = new PushReceiver(
      { dissemination: this.#dissemination },
      {
        link,
        onMember: (channel, member) => {
          if (this.all.get(peer) === neighbour) this.#init.onMember(peer, channel, member)
        },
        onSeen: (channel) => {
          if (this.all.get(peer) === neighbour) this.#init.onSeen(peer, channel)
        },
        onPeers: (peers) => {
          this.#init.onPeers(neighbour, peers)
          if (neighbour.up || this.all.get(peer) !== neighbour) return
          neighbour.up = true
          this.#init.onUp(neighbour)
        },
        onPong: (time) => {
          neighbour.readUntil = time
          neighbour.roundTripMs = this.#clock.monotonic() - time
        },
        onJudging: (bytes) => {
          if (bytes > JUDGING_BYTES && stream.readStatus === 'readable') stream.pause()
          if (bytes < JUDGING_BYTES / 2 && stream.readStatus === 'paused') stream.resume()
        }
      }
    )
    stream.addEventListener('message', ({ data }) => {
      neighbour.heardAt = this.#clock.monotonic()
      try {
        for (const chunk of data instanceof Uint8Array ? [data] : data) receiver.push(chunk)
      } catch (error) {
        if (!isSkeinError(error, 'ERR_STREAM')) throw error
        this.#init.onMisbehaved(peer, error.message)
        stream.abort(error)
      }
    })
    stream.addEventListener('remoteCloseWrite', () => this.#closeStream(stream, peer))
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    const slept = now - this.#tickedAt > TICK_MS + SLEPT_MS
    this.#tickedAt = now
    for (const neighbour of this.all.values()) {
      // This process slept: what neighbours said meanwhile is still to be read.
      if (slept) neighbour.heardAt = now
      if (now - neighbour.heardAt > DEAF_MS) {
        this.#init.onDeaf(neighbour.peer)
        this.hangUp(neighbour.peer, 'the link is deaf')
        continue
      }
      if (now - neighbour.pingedAt >= PING_MS - TICK_MS / 2) {
        neighbour.pingedAt = now
        neighbour.link.sendControl(encodeControl.ping(now))
      }
      if (neighbour.link.checkProgress()) {
        this.#logger.warn(
          { peer: neighbour.peer },
          'a neighbour takes no frames and is left behind'
        )
        this.#init.onBehind(neighbour.peer, neighbour.link.buffered)
      }
      this.#closeSurplus(neighbour, now)
      this.#checkGossip(neighbour, now)
    }
  }

  /** Of two connections one is closed, by the side with the lesser peer id, once the other carries the link. */
  #closeSurplus(neighbour: Neighbour, now: number): void {
    const kept = neighbour.attachment
    if (neighbour.connections.size < 2 || kept === undefined) return
    if (this.#init.self > neighbour.peer || now - kept.since < SETTLE_MS) return
    for (const connection of neighbour.connections) {
      if (connection === kept.connection) continue
      const busy = connection.streams.some(
        ({ protocol }) => protocol.startsWith('/skein/') && protocol !== PUSH_PROTOCOL
      )
      if (busy && now - kept.since < LINGER_MS) continue
      connection.close().catch((error: unknown) => connection.abort(error as Error))
    }
  }

  /** A member that gossip does not have in the channel: its gossip stream broke, and gossip does not open it again. */
  #checkGossip(neighbour: Neighbour, now: number): void {
    const strayed = [...this.#dissemination.joined].some(
      (channel) =>
        neighbour.link.channels.has(channel) && !this.#init.gossipKnows(neighbour.peer, channel)
    )
    if (!strayed) {
      neighbour.strayedAt = undefined
      neighbour.repaired = false
      return
    }
    neighbour.strayedAt ??= now
    const since = now - neighbour.strayedAt
    const best = this.#best(neighbour)
    if (since > GOSSIP_HANG_UP_MS) {
      this.#logger.info({ peer: neighbour.peer }, 'gossip lost a neighbour; the link is renewed')
      this.hangUp(neighbour.peer, 'gossip lost the neighbour')
    } else if (since > GOSSIP_REPAIR_MS && !neighbour.repaired && best !== undefined) {
      neighbour.repaired = true
      this.#init.reopenGossip(best)
    }
  }
}
