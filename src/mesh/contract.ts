import type { Events } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'

/** PeerId as text. */
export type PeerId = string

/** One frame for all members of a channel. The transport does not look inside. */
export interface Frame {
  readonly bytes: Uint8Array
  /** The first bytes of the frame, which make sense alone: an announcement of the whole. */
  readonly headLength: number
}

/** A frame that came from a neighbour. */
export interface ReceivedFrame {
  readonly channel: string
  /** The neighbour it came from, not its author. */
  readonly from: PeerId
  /** The whole frame, or only its head. */
  readonly bytes: Uint8Array
  /** False: only the head is here. */
  readonly complete: boolean
}

/** accept: good, pass it on. ignore: not for us to judge, drop it without blame. reject: wrong, blame the neighbour. */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** A stream of whole frames between two peers, with back-pressure in both directions. */
export interface FrameStream {
  readonly peer: PeerId
  readonly protocol: string
  /** Ends when the other side closed its half; throws ERR_STREAM when the stream broke. */
  readonly frames: AsyncIterable<Uint8Array>
  /** Resolves when there is room for more; rejects with ERR_STREAM when the stream is gone. */
  send(frame: Uint8Array): Promise<void>
  /** Closes this half after what was sent. */
  close(): Promise<void>
  /** Ends both halves at once. */
  abort(reason: Error): void
}

/** A peer this node is connected to, was connected to, or tries to reach. */
export interface TransportPeer {
  readonly id: PeerId
  readonly connected: boolean
  readonly addresses: readonly string[]
  /** Wall clock, ms, of the last sign of life; undefined if never met in this life. */
  readonly lastSeen: number | undefined
  /** Channels it said it is a member of. */
  readonly channels: readonly string[]
  /** Channels that exist there as far as it said: those it is a member of, was a member of, or advertised. */
  readonly advertised: readonly string[]
  /** Round-trip time of the last ping, ms. */
  readonly roundTripMs: number | undefined
}

export interface TransportEvents {
  'peer:up': { peer: PeerId; addresses: readonly string[] }
  'peer:down': { peer: PeerId }
  /** A peer joined a channel that this node is a member of. */
  'channel:up': { peer: PeerId; channel: string }
  'channel:down': { peer: PeerId; channel: string }
  /**
   * A neighbour said for the first time since it came up that a channel exists there, as a member or not, and
   * whether this node joined the channel or not.
   */
  'channel:seen': { peer: PeerId; channel: string }
  /** A link looked open but carried nothing and was hung up, to be dialled again. */
  'link:deaf': { peer: PeerId }
  /** A neighbour takes no frames: from now on it does not hold up publishers, and fetches what it misses. */
  'link:behind': { peer: PeerId; bufferedBytes: number }
  /** Someone was refused: other network key, own identity, limits. `code` is the error both sides get. */
  'peer:refused': { peer: PeerId | undefined; address: string; code: string; reason: string }
  /** A frame was not handed to a neighbour because its buffer is full. */
  'frame:dropped': { peer: PeerId; channel: string; bytes: number }
}

/** Figures for metrics; all counters since start. */
export interface TransportStats {
  readonly framesSent: number
  readonly framesReceived: number
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly framesDropped: number
  readonly framesRejected: number
  readonly dials: number
  readonly dialFailures: number
  /** Bytes waiting in all outbound push buffers. */
  readonly bufferedBytes: number
}

/**
 * The network as the layers above see it: members of channels, frames for all of them, and frame streams
 * between two peers. Delivery is best effort; loss, repetition and reordering across neighbours are allowed,
 * silent corruption is not. Implemented by libp2p, in memory, and by the simulator.
 */
export interface Transport extends Lifecycle {
  readonly self: { readonly id: PeerId; readonly publicKey: Uint8Array }
  readonly events: Events<TransportEvents>

  /** Addresses others can dial, with the peer id; empty before `start`. */
  addresses(): readonly string[]
  peers(): readonly TransportPeer[]
  stats(): TransportStats

  /** Idempotent. Members receive what is broadcast on the channel. */
  join(channel: string): void
  leave(channel: string): void
  /**
   * Tells neighbours, present and later ones, that the channel exists here; does not join it. Idempotent, also
   * before `start`. Above `LIMITS.advertisedChannels` the oldest is forgotten.
   */
  advertise(channel: string): void
  /** Connected peers that are members of the channel. */
  members(channel: string): readonly PeerId[]

  /** The one receiver of frames; set before `start`. It is called once for each copy that is worth judging. */
  onFrame(handler: (frame: ReceivedFrame) => Verdict | Promise<Verdict>): void
  /** Sends to the members. Never blocks; with no members it is a no-op. */
  broadcast(channel: string, frame: Frame): void
  /** Sends to one of the members, which forwards what is new to it. Never blocks; a no-op where it is none. */
  tell(peer: PeerId, channel: string, frame: Frame): void
  /** Undefined while every neighbour of the channel has room; else a promise of room. */
  room(channel: string): Promise<void> | undefined

  /** Answers streams that peers open. */
  handle(protocol: string, handler: (stream: FrameStream) => void): void
  /**
   * Opens a stream to a neighbour; a peer that is none is dialled once at `addresses`, where the network has any.
   * Rejects with ERR_PEER_UNREACHABLE, ERR_STREAM, ERR_TIMEOUT or ERR_ABORTED.
   */
  open(
    peer: PeerId,
    protocol: string,
    options?: { signal?: AbortSignal; timeoutMs?: number; addresses?: readonly string[] }
  ): Promise<FrameStream>

  /** Starts to dial an address and goes on until stopped. Throws ERR_OPTIONS on a malformed one. */
  dial(address: string): void
  /** Lowers a peer's standing after it misbehaved at a higher layer. */
  blame(peer: PeerId, reason: string): void
  /** The peer's standing with gossip; below 0 means it has misbehaved. */
  score(peer: PeerId): number
}
