import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'

import type { PeerId } from './contract.ts'
import { encodeControl, frameHeader, FRAME_OVERHEAD } from './push-codec.ts'

/** What a link writes to: a push stream to one neighbour. */
export interface PushSink {
  /** False while the stream can take no more for now; `Link.wake` is to be called when it can again. */
  readonly writable: boolean
  /** Bytes taken and not yet given to the network. */
  readonly buffered: number
  write(parts: readonly Uint8Array[]): void
}

interface QueuedFrame {
  readonly channel: string
  readonly via: number
  readonly headLength: number
  readonly bytes: Uint8Array
}

interface Declaration {
  readonly declared: string
  readonly member: boolean
}

type Item = QueuedFrame | Declaration | { readonly control: Uint8Array }

/** Written at once: several frames share one encryption and one system call, and one write never blocks others long. */
const BATCH_BYTES = 256 * 1024
/** Channel names one neighbour may give: above what a node joins and advertises, a bound for memory all the same. */
export const CHANNELS_PER_LINK = 2 * LIMITS.advertisedChannels
/** Where `room` begins to hold back. */
const HALF = LIMITS.neighbourBufferBytes / 2

export interface LinkComponents {
  readonly clock: Clock
}

export interface LinkInit {
  readonly peer: PeerId
  /** Short number of the neighbour, from 1; 0 stands for this node itself. */
  readonly index: number
  /** A neighbour that takes nothing for this long no longer holds up publishers, ms. */
  readonly leaveBehindMs: number
}

/** The way to one neighbour: a bounded queue of frames, and what is known of the neighbour's wishes. */
export class Link {
  readonly peer: PeerId
  readonly index: number
  /** Channels the neighbour is a member of. */
  readonly channels = new Set<string>()
  /** Channels that exist at the neighbour: every one it named. */
  readonly advertised = new Set<string>()
  readonly #clock: Clock
  readonly #leaveBehindMs: number
  /** What the neighbour asked not to be sent: by channel, the neighbours that it came from. */
  readonly #pruned = new Map<string, Set<number>>()
  /** Channels of which the neighbour was asked not to send something. */
  readonly #declined = new Set<string>()
  readonly #indices = new Map<string, number>()
  /** Channels that the neighbour was told this node is a member of. */
  readonly #membership = new Set<string>()
  #sink: PushSink | undefined
  #queue: Item[] = []
  #head = 0
  #queuedBytes = 0
  #scheduled = false
  #progressAt: number
  #leftBehind = false
  #closed = false
  #waiters: Array<() => void> = []

  constructor(components: LinkComponents, init: LinkInit) {
    this.#clock = components.clock
    this.peer = init.peer
    this.index = init.index
    this.#leaveBehindMs = init.leaveBehindMs
    this.#progressAt = components.clock.monotonic()
  }

  /** Bytes that wait for this neighbour. */
  get buffered(): number {
    return this.#queuedBytes + (this.#sink?.buffered ?? 0)
  }

  /** Channels that exist at the neighbour, those it is a member of included. */
  known(): string[] {
    return [...new Set([...this.channels, ...this.advertised])]
  }

  get leftBehind(): boolean {
    return this.#leftBehind
  }

  get attached(): boolean {
    return this.#sink !== undefined
  }

  /** Goes on with a new stream; what `greeting` returns is written before anything that waits. */
  attach(sink: PushSink, greeting: () => readonly Uint8Array[]): void {
    this.#indices.clear()
    this.#membership.clear()
    this.#sink = sink
    sink.write(greeting())
    this.#progressAt = this.#clock.monotonic()
    this.pump()
  }

  /** The stream is gone; frames wait for the next one, control frames are dropped: they belonged to the stream. */
  detach(sink: PushSink): void {
    if (this.#sink !== sink) return
    this.#sink = undefined
    this.#queue = this.#queue.slice(this.#head).filter((item) => 'bytes' in item)
    this.#head = 0
  }

  /** The neighbour is gone for good. */
  close(): void {
    this.#closed = true
    this.#sink = undefined
    this.#queue = []
    this.#head = 0
    this.#queuedBytes = 0
    this.#release()
  }

  /** The bytes that give a channel its number on this link, and say whether this node is a member. */
  declare(channel: string, member: boolean): Uint8Array {
    if (member) this.#membership.add(channel)
    else this.#membership.delete(channel)
    return encodeControl.channel(this.#indexOf(channel), member, channel)
  }

  /** Declares a channel behind what waits: its number is given in the order of the stream. */
  sendDeclaration(channel: string, member: boolean): void {
    if (this.#sink === undefined) return
    this.#queue.push({ declared: channel, member })
    this.wake()
  }

  sendControl(bytes: Uint8Array): void {
    if (this.#sink === undefined) return
    this.#queue.push({ control: bytes })
    this.wake()
  }

  /** False when the neighbour's buffer is full and the frame was dropped. */
  sendFrame(frame: QueuedFrame): boolean {
    if (this.#closed) return false
    const size = frame.bytes.length + FRAME_OVERHEAD
    if (this.buffered + size > LIMITS.neighbourBufferBytes) return false
    this.#queue.push(frame)
    this.#queuedBytes += size
    this.wake()
    return true
  }

  /** A promise of room while more than half of the buffer is taken; undefined when there is room or no hope for it. */
  room(): Promise<void> | undefined {
    if (this.#leftBehind || this.#closed || this.buffered <= HALF) return undefined
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  /** True when the neighbour has just been left behind. */
  checkProgress(): boolean {
    const late = this.#clock.monotonic() - this.#progressAt > this.#leaveBehindMs
    if (this.#leftBehind || this.buffered <= HALF || !late) return false
    this.#leftBehind = true
    this.#release()
    return true
  }

  /** Asks the neighbour not to forward what comes to it from one of its own neighbours. */
  decline(channel: string, via: number): void {
    const isFull = this.#declined.size >= CHANNELS_PER_LINK && !this.#declined.has(channel)
    if (this.#sink === undefined || isFull) return
    this.#declined.add(channel)
    this.sendControl(encodeControl.prune(via, channel))
  }

  /** Asks the neighbour to forward everything again, on the channel or on all, where it was asked not to. */
  welcome(channel?: string): void {
    if (this.#sink === undefined) return
    if (channel === undefined) {
      if (this.#declined.size === 0) return
      this.#declined.clear()
    } else if (!this.#declined.delete(channel)) return
    this.sendControl(encodeControl.unprune(channel ?? ''))
  }

  isPruned(channel: string, via: number): boolean {
    return this.#pruned.get(channel)?.has(via) ?? false
  }

  prune(channel: string, via: number): void {
    let set = this.#pruned.get(channel)
    if (set === undefined) {
      if (this.#pruned.size >= CHANNELS_PER_LINK) return
      this.#pruned.set(channel, (set = new Set()))
    }
    set.add(via)
  }

  /** Forwards everything again on the channel, or on all. */
  unprune(channel?: string): void {
    if (channel === undefined) this.#pruned.clear()
    else this.#pruned.delete(channel)
  }

  /** The neighbour with that number is gone; another may get the number. */
  forgetVia(via: number): void {
    for (const set of this.#pruned.values()) set.delete(via)
  }

  /** Writes as much as the stream takes, when this turn is over: what is broadcast in one turn is written at once. */
  wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.pump()
    })
  }

  /** Writes as much as the stream takes. */
  pump(): void {
    const sink = this.#sink
    if (sink === undefined) return
    while (this.#head < this.#queue.length && sink.writable) {
      sink.write(this.#nextBatch())
      this.#progressAt = this.#clock.monotonic()
      this.#leftBehind = false
    }
    if (this.#head === this.#queue.length) {
      this.#queue = []
      this.#head = 0
    } else if (this.#head > 1024) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
    if (this.buffered <= HALF) {
      this.#progressAt = this.#clock.monotonic()
      this.#release()
    }
  }

  #nextBatch(): Uint8Array[] {
    const parts: Uint8Array[] = []
    let size = 0
    while (this.#head < this.#queue.length && size < BATCH_BYTES) {
      const item = this.#queue[this.#head] as Item
      if ('control' in item) {
        parts.push(item.control)
        size += item.control.length
      } else if ('declared' in item) {
        const declaration = this.declare(item.declared, item.member)
        parts.push(declaration)
        size += declaration.length
      } else {
        const bytes = item.bytes.length + FRAME_OVERHEAD
        if (size > 0 && size + bytes > BATCH_BYTES) break
        if (!this.#indices.has(item.channel)) {
          parts.push(this.declare(item.channel, this.#membership.has(item.channel)))
        }
        const index = this.#indexOf(item.channel)
        parts.push(frameHeader(index, item.via, item.headLength, item.bytes.length), item.bytes)
        size += bytes
        this.#queuedBytes -= bytes
      }
      this.#head++
    }
    return parts
  }

  #indexOf(channel: string): number {
    let index = this.#indices.get(channel)
    if (index === undefined) {
      // At the bound all names are given anew: an index takes its latest name, in the order of the stream.
      if (this.#indices.size >= CHANNELS_PER_LINK) this.#indices.clear()
      index = this.#indices.size
      this.#indices.set(channel, index)
    }
    return index
  }

  #release(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const resolve of waiters) resolve()
  }
}
