import type { Clock, Timer } from '../../src/core/clock.ts'
import type { Random } from '../../src/core/random.ts'
import { shuffled } from '../../src/core/random.ts'
import type { PeerId, ReceivedFrame, Verdict } from '../../src/mesh/contract.ts'
import { DEGREE, type Gossip } from '../../src/mesh/dissemination.ts'
import type { Head, Heads } from './heads.ts'

/** gossipsub's own: a mesh of fewer is filled up to the degree, one of more is cut down to it. */
const LEAST = 6
const MOST = 12
const HEARTBEAT_MS = 1000
/** Who was pruned is not asked again so long. */
const BACKOFF_MS = 60_000
/** For so many heartbeats what is new is told to some members outside of the mesh: at least so many, or that share. */
const TOLD_BEATS = 3
const LAZY = 6
const LAZY_SHARE = 0.25
const REMEMBERED = 16_384
const CONTROL_BYTES = 64
/** A head that is under way to a node is not sent to it by others for so long. */
const COMING_MS = 200
/** Among many, heads go on so late that those who get the frame meanwhile need not be sent them: well before they are missed. */
const LAG_MS = 40

type FrameHandler = (frame: ReceivedFrame) => Verdict | Promise<Verdict>

/** Another node's gossip, as far as it is looked at: what it would throw away is not sent. */
interface GossipPeer {
  knows(head: Head): boolean
  /** The head is on its way, and will arrive. */
  expect(head: Head): void
  receive(from: PeerId, head: Head): void
  grafted(from: PeerId, channel: string): void
  pruned(from: PeerId, channel: string): void
}

export interface GossipMeshComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface GossipMeshInit {
  readonly self: PeerId
  /** Of all gossip of the world, another in each life. */
  readonly index: number
  readonly heads: Heads
  /** Of a frame that has come. */
  readonly idOf: (bytes: Uint8Array) => string
  readonly joined: (channel: string) => boolean
  readonly members: (channel: string) => readonly PeerId[]
  readonly peer: (id: PeerId) => GossipPeer | undefined
  /** Has `deliver` called at the peer when so many bytes have got there. True where they are sure to, soon. */
  readonly send: (to: PeerId, bytes: number, deliver: () => void) => boolean | undefined
  readonly judge: (from: PeerId, head: Head) => Verdict | Promise<Verdict>
  readonly onMeshShrank: (channel: string) => void
}

/**
 * gossipsub, as far as it shows: heads go along a mesh of bounded degree, and now and then members outside of it are
 * told what there is. It beats only while there is something to do. With few members everyone is in the mesh.
 */
export class GossipMesh implements Gossip, GossipPeer {
  readonly #clock: Clock
  readonly #random: Random
  readonly #init: GossipMeshInit
  readonly #meshes = new Map<string, Set<PeerId>>()
  readonly #backoff = new Map<string, number>()
  readonly #unsettled = new Set<string>()
  /** When what is under way to this node is not waited for any longer. */
  readonly #coming = new Map<string, number>()
  #recent: { readonly head: Head; beats: number }[] = []
  #timer: Timer | undefined
  /** Heads that have not gone on yet, and when they do. */
  #lagging: { readonly head: Head; readonly from: PeerId | undefined }[] = []
  #lag: Timer | undefined

  constructor({ clock, random }: GossipMeshComponents, init: GossipMeshInit) {
    this.#clock = clock
    this.#random = random
    this.#init = init
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#lag?.cancel()
    this.#lag = undefined
    this.#lagging = []
    this.#recent = []
    this.#unsettled.clear()
  }

  publish(channel: string, bytes: Uint8Array): void {
    const head = this.#init.heads.publish(channel, bytes)
    head.learn(this.#init.index)
    // Behind the frame, which is written when this turn is over: gossip has to hash and to encode first.
    this.#clock.soon(() => this.#goOn(head, undefined))
  }

  /** The same handler. The head of a whole frame that it accepts goes on from here, without having come. */
  following(handler: FrameHandler): FrameHandler {
    return (frame) => {
      const verdict = handler(frame)
      if (!frame.complete) return verdict
      if (verdict === 'accept') this.#took(frame)
      else if (typeof verdict !== 'string') {
        return verdict.then((outcome) => {
          if (outcome === 'accept') this.#took(frame)
          return outcome
        })
      }
      return verdict
    }
  }

  #took({ bytes, channel }: ReceivedFrame): void {
    if (this.#init.members(channel).length <= DEGREE) return
    const id = this.#init.idOf(bytes)
    const head = this.#init.heads.find(id)
    if (head === undefined || head.isKnown(this.#init.index)) return
    this.#coming.delete(id)
    head.learn(this.#init.index)
    this.#goOn(head, undefined)
  }

  meshPeers(channel: string): readonly PeerId[] {
    return [...(this.#meshes.get(channel) ?? [])]
  }

  knows(head: Head): boolean {
    if (head.isKnown(this.#init.index) || !this.#init.joined(head.channel)) return true
    return (this.#coming.get(head.id) ?? 0) > this.#clock.monotonic()
  }

  expect({ id }: Head): void {
    if (this.#coming.size > REMEMBERED) this.#coming.clear()
    this.#coming.set(id, this.#clock.monotonic() + COMING_MS)
  }

  receive(from: PeerId, head: Head): void {
    this.#coming.delete(head.id)
    if (this.knows(head)) return
    head.learn(this.#init.index)
    const verdict = this.#init.judge(from, head)
    if (verdict === 'accept') this.#goOn(head, from)
    else if (typeof verdict !== 'string') {
      void verdict.then((outcome) => {
        if (outcome === 'accept') this.#goOn(head, from)
      })
    }
  }

  /** Who is a member of a channel has changed. */
  membersChanged(channel: string, gone?: PeerId): void {
    if (!this.#init.joined(channel)) {
      this.#meshes.delete(channel)
      return
    }
    const mesh = this.#meshes.get(channel)
    if (gone !== undefined) mesh?.delete(gone)
    if (mesh === undefined && this.#init.members(channel).length <= DEGREE) return
    if (mesh !== undefined && mesh.size >= LEAST && mesh.size <= MOST) return
    this.#unsettled.add(channel)
    this.#beatLater()
  }

  grafted(from: PeerId, channel: string): void {
    if (!this.#init.joined(channel)) return
    const mesh = this.#mesh(channel)
    if (mesh.has(from)) return
    if (mesh.size >= MOST) this.#tellPruned(from, channel)
    else mesh.add(from)
  }

  pruned(from: PeerId, channel: string): void {
    if (this.#meshes.get(channel)?.delete(from) !== true) return
    this.#keepOff(from, channel)
    this.#init.onMeshShrank(channel)
    this.membersChanged(channel)
  }

  #goOn(head: Head, from: PeerId | undefined): void {
    if (this.#init.members(head.channel).length <= DEGREE) {
      this.#spread(head, from)
      return
    }
    this.#lagging.push({ head, from })
    this.#lag ??= this.#clock.after(LAG_MS, () => {
      this.#lag = undefined
      const lagging = this.#lagging
      this.#lagging = []
      for (const one of lagging) this.#spread(one.head, one.from)
    })
  }

  #spread(head: Head, from: PeerId | undefined): void {
    const { channel } = head
    const members = this.#init.members(channel)
    for (const to of this.#targets(channel, members)) if (to !== from) this.#send(to, head)
    if (members.length <= DEGREE) return
    this.#recent.push({ head, beats: TOLD_BEATS })
    this.#beatLater()
  }

  #targets(channel: string, members: readonly PeerId[]): readonly PeerId[] {
    if (members.length <= DEGREE) return members
    const mesh = this.#meshes.get(channel)
    if (mesh !== undefined && mesh.size >= LEAST) return [...mesh]
    return [...new Set([...(mesh ?? []), ...members.slice(0, DEGREE)])]
  }

  #send(to: PeerId, head: Head): void {
    const peer = this.#init.peer(to)
    if (peer === undefined || peer.knows(head)) return
    const { self } = this.#init
    const bytes = head.bytes.length + CONTROL_BYTES
    if (this.#init.send(to, bytes, () => peer.receive(self, head)) === true) peer.expect(head)
  }

  #beatLater(): void {
    if (this.#timer !== undefined) return
    const wait = HEARTBEAT_MS - (Math.floor(this.#clock.monotonic()) % HEARTBEAT_MS)
    this.#timer = this.#clock.after(wait, () => {
      this.#timer = undefined
      this.#beat()
    })
  }

  #beat(): void {
    const unsettled = [...this.#unsettled]
    this.#unsettled.clear()
    for (const channel of unsettled) this.#settle(channel)
    const recent = this.#recent
    this.#recent = recent.filter((one) => --one.beats > 0)
    const channels = new Map<string, Head[]>()
    for (const { head } of recent) {
      const heads = channels.get(head.channel)
      if (heads === undefined) channels.set(head.channel, [head])
      else heads.push(head)
    }
    for (const [channel, heads] of channels) this.#tell(channel, heads)
    if (this.#recent.length > 0 || this.#unsettled.size > 0) this.#beatLater()
  }

  #settle(channel: string): void {
    if (!this.#init.joined(channel)) return
    const mesh = this.#mesh(channel)
    const members = this.#init.members(channel)
    const present = new Set(members)
    const { size } = mesh
    for (const peer of mesh) if (!present.has(peer)) mesh.delete(peer)
    let shrank = mesh.size < size
    if (mesh.size < LEAST) {
      for (const peer of shuffled(this.#random, members)) {
        if (mesh.size >= DEGREE) break
        if (!mesh.has(peer) && !this.#isOff(peer, channel)) this.#graft(peer, channel, mesh)
      }
      if (mesh.size < LEAST && members.length > mesh.size) this.#unsettled.add(channel)
    } else if (mesh.size > MOST) {
      for (const peer of shuffled(this.#random, [...mesh]).slice(DEGREE)) {
        mesh.delete(peer)
        this.#tellPruned(peer, channel)
      }
      shrank = true
    }
    if (shrank) this.#init.onMeshShrank(channel)
  }

  #graft(to: PeerId, channel: string, mesh: Set<PeerId>): void {
    const peer = this.#init.peer(to)
    if (peer === undefined) return
    mesh.add(to)
    this.#init.send(to, CONTROL_BYTES, () => peer.grafted(this.#init.self, channel))
  }

  #tellPruned(to: PeerId, channel: string): void {
    this.#keepOff(to, channel)
    const peer = this.#init.peer(to)
    if (peer === undefined) return
    this.#init.send(to, CONTROL_BYTES, () => peer.pruned(this.#init.self, channel))
  }

  /** Who lacks a head asks for it: there and back before it comes. Nothing is sent to those who lack nothing. */
  #tell(channel: string, heads: readonly Head[]): void {
    const mesh = this.#meshes.get(channel)
    const others = this.#init.members(channel).filter((peer) => mesh?.has(peer) !== true)
    const count = Math.max(LAZY, Math.floor(others.length * LAZY_SHARE))
    for (const to of shuffled(this.#random, others).slice(0, count)) {
      const peer = this.#init.peer(to)
      const lacking = heads.filter((head) => peer?.knows(head) === false)
      if (lacking.length === 0) continue
      this.#init.send(to, CONTROL_BYTES, () => {
        // The way back and forth again is the same pair of nodes: one more trip stands for both.
        for (const head of lacking) this.#send(to, head)
      })
    }
  }

  #mesh(channel: string): Set<PeerId> {
    let mesh = this.#meshes.get(channel)
    if (mesh === undefined) this.#meshes.set(channel, (mesh = new Set()))
    return mesh
  }

  #keepOff(peer: PeerId, channel: string): void {
    if (this.#backoff.size > REMEMBERED) this.#backoff.clear()
    this.#backoff.set(`${channel}/${peer}`, this.#clock.monotonic() + BACKOFF_MS)
  }

  #isOff(peer: PeerId, channel: string): boolean {
    return (this.#backoff.get(`${channel}/${peer}`) ?? 0) > this.#clock.monotonic()
  }
}
