import type { Clock, Timer } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'

import type { Frame, PeerId, ReceivedFrame, Verdict } from './contract.ts'
import type { Link } from './link.ts'
import { frameId } from './network-key.ts'
import { SeenFrames } from './seen-frames.ts'

/** Neighbours that get whole frames of a channel; gossip's own degree. */
export const DEGREE = 8
/** A head whose frame is not here after this long shows that an edge was pruned too much. */
const MISSING_MS = 200
/** Heads of frames that were pushed to all go out at most this often: well below `MISSING_MS`. */
const ANNOUNCE_MS = 20
/** Ids of frames are remembered at least this long: gossipsub remembers its own for two minutes. */
const SEEN_MS = 60_000
/** And at most this many, twice: 2 x 64k ids are about 12 MiB. */
const SEEN_COUNT = 65_536
/** Heads waiting for their frame at most. */
const WAITING_COUNT = 4096
/** A neighbour is asked to stop forwarding at most this often per edge. */
const PRUNE_AGAIN_MS = 100

/** What dissemination needs of gossip: who pushes to whom, and heads for everybody. */
export interface Gossip {
  publish(channel: string, head: Uint8Array): void
  meshPeers(channel: string): readonly PeerId[]
}

export interface DisseminationComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly gossip: Gossip
  readonly links: ReadonlyMap<PeerId, Link>
}

export interface DisseminationInit {
  readonly onDropped: (peer: PeerId, channel: string, bytes: number) => void
  readonly onRejected: (peer: PeerId) => void
  /** Identity of a frame by its head; default `frameId`. Nodes that share a process may share what they found. */
  readonly idOf?: ((bytes: Uint8Array, headLength: number) => string) | undefined
}

/** A whole frame as it came from a neighbour. */
export interface Arrival {
  readonly channel: string
  readonly via: number
  readonly headLength: number
  readonly bytes: Uint8Array
}

interface GossipHead {
  readonly from: PeerId
  readonly channel: string
  readonly bytes: Uint8Array
  readonly id: string
}

/**
 * Carries whole frames along the edges of gossip's mesh and drops the edges that only bring copies: a receiver
 * of a copy tells the sender to stop forwarding what comes from that neighbour. Heads travel by gossip, so a
 * frame that an absent edge kept away is noticed, and the edge comes back.
 */
export class Dissemination {
  readonly joined = new Set<string>()
  readonly counters = {
    framesSent: 0,
    framesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    framesDropped: 0,
    framesRejected: 0
  }
  handler: (frame: ReceivedFrame) => Verdict | Promise<Verdict> = () => 'ignore'
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #gossip: Gossip
  readonly #links: ReadonlyMap<PeerId, Link>
  readonly #init: DisseminationInit
  /** Channels that exist here, joined or not, the oldest first. */
  readonly #advertised = new Set<string>()
  readonly #seen: SeenFrames
  readonly #judging = new Map<string, Promise<Verdict>>()
  readonly #waiting = new Map<string, { from: PeerId; channel: string; at: number }>()
  readonly #pruneSent = new Map<string, number>()
  readonly #announced = new Map<string, { at: number; head: Uint8Array | undefined }>()
  #timer: Timer | undefined

  constructor(components: DisseminationComponents, init: DisseminationInit) {
    this.#clock = components.clock
    this.#logger = components.logger
    this.#gossip = components.gossip
    this.#links = components.links
    this.#init = init
    this.#seen = new SeenFrames(components.clock, SEEN_MS, SEEN_COUNT)
  }

  stop(): void {
    this.#announced.clear()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#waiting.clear()
  }

  advertise(channel: string): void {
    if (this.#advertised.has(channel)) return
    for (const oldest of this.#advertised) {
      if (this.#advertised.size < LIMITS.advertisedChannels) break
      this.#advertised.delete(oldest)
    }
    this.#advertised.add(channel)
    if (!this.joined.has(channel)) this.declare(channel, false)
  }

  /** Tells all neighbours that the channel exists here, and whether this node is a member. */
  declare(channel: string, member: boolean): void {
    for (const link of this.#links.values()) link.sendDeclaration(channel, member)
  }

  /** What a new stream to a neighbour has to say of all channels here. */
  declarations(link: Link): Uint8Array[] {
    const others = [...this.#advertised].filter((channel) => !this.joined.has(channel))
    return [
      ...[...this.joined].map((channel) => link.declare(channel, true)),
      ...others.map((channel) => link.declare(channel, false))
    ]
  }

  broadcast(channel: string, frame: Frame): void {
    // A copy: gossip keeps heads for seconds, and a view would keep the whole frame with it.
    const head = Uint8Array.prototype.slice.call(frame.bytes, 0, frame.headLength)
    this.#seen.add(this.#idOf(frame.bytes, frame.headLength))
    const pushed =
      frame.bytes.length <= LIMITS.pushBytes &&
      this.#push(this.#targets(channel), channel, { ...frame, via: 0 })
    this.#announce(channel, head, pushed)
  }

  tell(peer: PeerId, channel: string, frame: Frame): void {
    const link = this.#links.get(peer)
    if (link?.channels.has(channel) === true) this.#push([link], channel, { ...frame, via: 0 })
  }

  room(channel: string): Promise<void> | undefined {
    let waiting: Array<Promise<void>> | undefined
    for (const link of this.#targets(channel)) {
      const room = link.room()
      if (room !== undefined) (waiting ??= []).push(room)
    }
    return waiting === undefined ? undefined : Promise.all(waiting).then(() => undefined)
  }

  /** A whole frame came; resolves or returns when it is judged. */
  receive(link: Link, arrival: Arrival): void | Promise<void> {
    this.counters.framesReceived++
    this.counters.bytesReceived += arrival.bytes.length
    if (!this.joined.has(arrival.channel)) return
    const id = this.#idOf(arrival.bytes, arrival.headLength)
    if (this.#seen.has(id)) {
      this.#duplicate(link, arrival)
      return
    }
    const running = this.#judging.get(id)
    if (running === undefined) return this.#judge(link, arrival, id)
    return running.then((verdict) =>
      verdict === 'reject' ? this.receive(link, arrival) : this.#duplicate(link, arrival)
    )
  }

  /** A head came by gossip. `id` is that of its frame, where it is known already. */
  receiveHead(
    from: PeerId,
    channel: string,
    bytes: Uint8Array,
    id = frameId(bytes)
  ): Verdict | Promise<Verdict> {
    if (this.#seen.has(id)) return 'accept'
    const head = { from, channel, bytes, id }
    const running = this.#judging.get(id)
    if (running === undefined) return this.#judgeHead(head)
    return running.then((verdict) => (verdict === 'reject' ? this.#judgeHead(head) : verdict))
  }

  /** A link went down: frames that came over it must find another way. */
  linkDown(gone: Link): void {
    for (const link of this.#links.values()) {
      if (link === gone) continue
      link.forgetVia(gone.index)
      link.welcome()
    }
  }

  /** A neighbour left gossip's mesh. One that came takes nothing away: what comes over it is new to nobody's edges. */
  meshShrank(channel: string): void {
    if (this.#members(channel).length <= DEGREE) return
    for (const link of this.#links.values()) link.unprune(channel)
  }

  #idOf(bytes: Uint8Array, headLength: number): string {
    return this.#init.idOf?.(bytes, headLength) ?? frameId(bytes.subarray(0, headLength))
  }

  #members(channel: string): Link[] {
    const members: Link[] = []
    for (const link of this.#links.values()) if (link.channels.has(channel)) members.push(link)
    return members
  }

  /** The neighbours that gossip would push to, filled up to its degree, so that nobody waits for a gossip heartbeat. */
  #targets(channel: string): readonly Link[] {
    const members = this.#members(channel)
    if (members.length <= DEGREE) return members
    const targets = new Set<Link>()
    for (const peer of this.#gossip.meshPeers(channel)) {
      const link = this.#links.get(peer)
      if (link?.channels.has(channel) === true) targets.add(link)
    }
    for (const link of members) {
      if (targets.size >= DEGREE) break
      targets.add(link)
    }
    return [...targets]
  }

  /**
   * Gossips a head. That of a frame which every target took matters only when something goes wrong on the way, so
   * under load one in `ANNOUNCE_MS` goes out, and always the last: whoever has it knows that earlier ones are missing.
   */
  #announce(channel: string, head: Uint8Array, pushed: boolean): void {
    const now = this.#clock.monotonic()
    const state = this.#announced.get(channel)
    if (
      !pushed ||
      state === undefined ||
      (now - state.at >= ANNOUNCE_MS && state.head === undefined)
    ) {
      this.#announced.set(channel, { at: now, head: undefined })
      this.#gossip.publish(channel, head)
      return
    }
    if (state.head === undefined) {
      this.#clock.after(state.at + ANNOUNCE_MS - now, () => this.#announceLast(channel))
    }
    state.head = head
  }

  #announceLast(channel: string): void {
    const head = this.#announced.get(channel)?.head
    if (head === undefined) return
    this.#announced.set(channel, { at: this.#clock.monotonic(), head: undefined })
    this.#gossip.publish(channel, head)
  }

  /** True when every target took it. */
  #push(targets: readonly Link[], channel: string, frame: Omit<Arrival, 'channel'>): boolean {
    const item = { ...frame, channel }
    let all = true
    for (const link of targets) {
      if (link.sendFrame(item)) {
        this.counters.framesSent++
        this.counters.bytesSent += frame.bytes.length
      } else {
        all = false
        this.counters.framesDropped++
        this.#init.onDropped(link.peer, channel, frame.bytes.length)
      }
    }
    return all
  }

  #judge(link: Link, arrival: Arrival, id: string): void | Promise<void> {
    const { channel, bytes } = arrival
    const verdict = this.#ask({ channel, from: link.peer, bytes, complete: true })
    if (typeof verdict === 'string') return this.#settle(link, arrival, id, verdict)
    this.#judging.set(id, verdict)
    return verdict.then((outcome) => {
      this.#judging.delete(id)
      this.#settle(link, arrival, id, outcome)
    })
  }

  #settle(link: Link, arrival: Arrival, id: string, verdict: Verdict): void {
    if (verdict === 'reject') {
      this.counters.framesRejected++
      this.#init.onRejected(link.peer)
      return
    }
    this.#seen.add(id)
    this.#waiting.delete(id)
    if (verdict === 'ignore') return
    const targets = this.#targets(arrival.channel).filter(
      (target) => target !== link && !target.isPruned(arrival.channel, link.index)
    )
    const pushed = this.#push(targets, arrival.channel, { ...arrival, via: link.index })
    if (!pushed) {
      const head = Uint8Array.prototype.slice.call(arrival.bytes, 0, arrival.headLength)
      this.#announce(arrival.channel, head, false)
    }
  }

  #judgeHead(head: GossipHead): Verdict | Promise<Verdict> {
    const { bytes, channel, from } = head
    const verdict = this.#ask({ channel, from, bytes, complete: false })
    if (typeof verdict === 'string') return this.#settleHead(head, verdict)
    return verdict.then((outcome) => this.#settleHead(head, outcome))
  }

  #settleHead({ channel, from, id }: GossipHead, verdict: Verdict): Verdict {
    if (verdict === 'reject') {
      this.counters.framesRejected++
      this.#init.onRejected(from)
    }
    if (verdict === 'accept' && this.#waiting.size < WAITING_COUNT && !this.#seen.has(id)) {
      this.#waiting.set(id, { from, channel, at: this.#clock.monotonic() })
      this.#timer ??= this.#clock.after(MISSING_MS, () => this.#checkWaiting())
    }
    return verdict
  }

  /** A handler that throws is a fault of ours, not of the neighbour: the frame is dropped and may come again. */
  #ask(frame: ReceivedFrame): Verdict | Promise<Verdict> {
    const failed = (error: unknown): Verdict => {
      this.#logger.error({ error, channel: frame.channel }, 'the frame handler failed')
      return 'ignore'
    }
    try {
      const verdict = this.handler(frame)
      return typeof verdict === 'string' ? verdict : verdict.catch(failed)
    } catch (error) {
      return failed(error)
    }
  }

  /** The copy shows an edge that is not needed, unless the sender is the source: its own frames always come. */
  #duplicate(link: Link, arrival: Arrival): void {
    if (arrival.via === 0) return
    const key = `${link.peer}/${arrival.via}/${arrival.channel}`
    const now = this.#clock.monotonic()
    const last = this.#pruneSent.get(key)
    if (last !== undefined && now - last < PRUNE_AGAIN_MS) return
    if (this.#pruneSent.size >= WAITING_COUNT) this.#pruneSent.clear()
    this.#pruneSent.set(key, now)
    link.decline(arrival.channel, arrival.via)
  }

  #checkWaiting(): void {
    this.#timer = undefined
    const due = this.#clock.monotonic() - MISSING_MS
    for (const [id, head] of this.#waiting) {
      if (head.at > due) break
      this.#waiting.delete(id)
      if (!this.#seen.has(id)) this.#links.get(head.from)?.welcome(head.channel)
    }
    if (this.#waiting.size > 0) {
      this.#timer = this.#clock.after(MISSING_MS / 4, () => this.#checkWaiting())
    }
  }
}
