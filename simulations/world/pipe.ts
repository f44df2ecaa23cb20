import type { Random } from '../../src/core/random.ts'
import type { NodeClock, VirtualTime } from './contract.ts'
import type { LinkConditions } from './link-conditions.ts'

const US = 1000
const MILLION = 1_000_000
/** Of one TCP segment. */
const SEGMENT_BYTES = 1460
/** A segment without others behind it is sent again after this time, and then after twice as long each time. */
const RETRANSMIT_US = 200_000
/** The longest time between two attempts to get through, for a link that has just been mended. */
const PROBE_US = 1_500_000
/** A second copy comes within this time, us. */
const DUPLICATE_US = 50_000

export interface PipeComponents {
  readonly time: VirtualTime
  readonly random: Random
  /** Of the receiver's life: nothing arrives after it, and while it is paused things wait. */
  readonly clock: NodeClock
}

export interface PipeInit {
  readonly conditions: () => LinkConditions
}

interface Item {
  readonly order: number
  readonly bytes: number
  readonly deliver: () => void
}

/**
 * One direction of a connection, as TCP makes it: everything arrives, in order, or nothing any more. Loss is delay, a
 * cut is a wait for its end. Whole frames may come twice or late where the conditions say so, as by other ways.
 */
export class Pipe {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #clock: NodeClock
  readonly #init: PipeInit
  #order = 0
  #freeAt = 0
  #lastArrival = 0
  #stalled: Item[] = []
  /** Order of the next one to deliver, and what came before it was its turn. */
  #due = 0
  readonly #early = new Map<number, Item>()
  #flushing = false
  #closed = false

  constructor(components: PipeComponents, init: PipeInit) {
    this.#time = components.time
    this.#random = components.random
    this.#clock = components.clock
    this.#init = init
  }

  get conditions(): LinkConditions {
    return this.#init.conditions()
  }

  /** What is sent now arrives soon, and nothing happens to it on the way. */
  get clear(): boolean {
    const { bytesPerSecond, cut, lossPerMillion, reorderPerMillion } = this.conditions
    if (this.#closed || cut || this.#stalled.length > 0) return false
    return bytesPerSecond === undefined && lossPerMillion + reorderPerMillion === 0
  }

  /** Nothing arrives any more. */
  close(): void {
    this.#closed = true
    this.#stalled = []
    this.#early.clear()
  }

  /** Calls back on the receiver's clock when it is there. */
  send(bytes: number, deliver: () => void): void {
    if (this.#closed) return
    const item = { order: this.#order++, bytes, deliver }
    const conditions = this.#init.conditions()
    if (conditions.cut || this.#stalled.length > 0) this.#stall(item)
    else this.#transmit(item, conditions)
  }

  /** As `send`, of what is whole by itself and may come twice or late. */
  sendFrame(bytes: number, deliver: () => void): void {
    const { cut, duplicatePerMillion, latencyUs, reorderPerMillion, reorderUs } = this.conditions
    if (this.#closed) return
    if (cut || (duplicatePerMillion === 0 && reorderPerMillion === 0)) {
      this.send(bytes, deliver)
      return
    }
    if (this.#chance(reorderPerMillion)) this.#astray(latencyUs + reorderUs, deliver)
    else this.send(bytes, deliver)
    if (this.#chance(duplicatePerMillion)) {
      this.#astray(latencyUs + this.#random.int(DUPLICATE_US), deliver)
    }
  }

  /** Bytes get through again. */
  mended(): void {
    if (this.#flushing || this.#stalled.length === 0) return
    this.#flushing = true
    this.#time.schedule(this.#random.int(PROBE_US) / US, () => {
      this.#flushing = false
      const conditions = this.conditions
      if (conditions.cut) return
      const stalled = this.#stalled.sort((a, b) => a.order - b.order)
      this.#stalled = []
      for (const item of stalled) this.#transmit(item, conditions)
    })
  }

  #transmit(item: Item, conditions: LinkConditions): void {
    const now = Math.round(this.#time.nowMs * US)
    let at = now
    if (conditions.bytesPerSecond !== undefined) {
      const takes = Math.ceil((item.bytes * MILLION) / conditions.bytesPerSecond)
      this.#freeAt = Math.max(now, this.#freeAt) + takes
      at = this.#freeAt
    }
    at += conditions.latencyUs
    if (conditions.jitterUs > 0) at += this.#random.int(conditions.jitterUs + 1)
    if (conditions.lossPerMillion > 0) at += this.#lossUs(item.bytes, conditions)
    at = Math.max(at, this.#lastArrival)
    this.#lastArrival = at
    this.#clock.after((at - now) / US, () => this.#arrive(item))
  }

  /** What lost segments cost: of several, a round trip; of a single one, a timeout, and twice that each further time. */
  #lossUs(bytes: number, { latencyUs, lossPerMillion }: LinkConditions): number {
    const segments = Math.ceil(bytes / SEGMENT_BYTES)
    for (let segment = 1; segment < segments; segment++) {
      if (this.#chance(lossPerMillion)) return 2 * latencyUs + RETRANSMIT_US / 4
    }
    let wait = 0
    for (let next = RETRANSMIT_US; this.#chance(lossPerMillion); next *= 2) wait += next
    return wait
  }

  #arrive(item: Item): void {
    if (this.#closed) return
    if (this.#stalled.length > 0 || this.conditions.cut) {
      this.#stall(item)
      return
    }
    // What was held up by a cut is sent again, and may be overtaken by what was under way.
    this.#early.set(item.order, item)
    for (let next = item; next.order === this.#due;) {
      this.#early.delete(this.#due++)
      next.deliver()
      const following = this.#early.get(this.#due)
      if (following === undefined) return
      next = following
    }
  }

  #stall(item: Item): void {
    this.#stalled.push(item)
    if (!this.conditions.cut) this.mended()
  }

  #astray(us: number, deliver: () => void): void {
    this.#clock.after(us / US, () => {
      if (!this.#closed && !this.conditions.cut) deliver()
    })
  }

  #chance(perMillion: number): boolean {
    return perMillion > 0 && this.#random.int(MILLION) < perMillion
  }
}
