import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../src/core/clock.ts'
import type { Random } from '../../src/core/random.ts'
import type { LinkConditions } from '../world/link-conditions.ts'

export interface LaneComponents {
  readonly clock: Clock
  readonly random: Random
}

export interface LaneInit {
  readonly from: Socket
  readonly to: Socket
  readonly conditions: () => LinkConditions
}

interface Chunk {
  readonly bytes: Buffer
  readonly dueMs: number
}

/** What may be on its way at once, bytes: above, its sender waits as at a full window. */
const WINDOW_BYTES = 1024 * 1024

/** What goes one way through a connection: in order, as late and as slow as the link is, and not at all while it is cut. */
export class Lane {
  readonly #components: LaneComponents
  readonly #init: LaneInit
  readonly #chunks: Chunk[] = []
  #bytes = 0
  /** When the link has carried what is on its way. */
  #freeMs = 0
  #lastDueMs = 0
  #timer: Timer | undefined
  #blocked = false
  #sourceClosed = false

  constructor(components: LaneComponents, init: LaneInit) {
    this.#components = components
    this.#init = init
    const { from, to } = init
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.once('close', () => {
      this.#sourceClosed = true
      this.#flush()
    })
    to.on('drain', () => {
      this.#blocked = false
      this.#flush()
    })
  }

  /** The conditions of the link are others than before. */
  change(): void {
    this.#regulate()
    this.#flush()
  }

  #take(bytes: Buffer): void {
    const { clock, random } = this.#components
    const { bytesPerSecond, jitterUs, latencyUs } = this.#init.conditions()
    const now = clock.monotonic()
    const carryMs = bytesPerSecond === undefined ? 0 : (bytes.length * 1000) / bytesPerSecond
    this.#freeMs = Math.max(now, this.#freeMs) + carryMs
    const lateUs = latencyUs + (jitterUs > 0 ? random.int(jitterUs + 1) : 0)
    this.#lastDueMs = Math.max(this.#lastDueMs, this.#freeMs + lateUs / 1000)
    this.#chunks.push({ bytes, dueMs: this.#lastDueMs })
    this.#bytes += bytes.length
    this.#regulate()
    this.#flush()
  }

  /** Takes nothing from its source while the link is cut or full. */
  #regulate(): void {
    const { from } = this.#init
    if (this.#init.conditions().cut || this.#bytes > WINDOW_BYTES) from.pause()
    else from.resume()
  }

  #flush(): void {
    this.#timer?.cancel()
    const { conditions, to } = this.#init
    // The end of a connection does not pass a cut either.
    if (conditions().cut || this.#blocked) return
    const { clock } = this.#components
    const before = this.#bytes
    while (!this.#blocked) {
      const [chunk] = this.#chunks
      if (chunk === undefined) break
      const waitMs = chunk.dueMs - clock.monotonic()
      if (waitMs > 0) {
        this.#timer = clock.after(waitMs, () => this.#flush())
        break
      }
      this.#chunks.shift()
      this.#bytes -= chunk.bytes.length
      // Nobody is there any more: lost.
      if (!to.destroyed) this.#blocked = !to.write(chunk.bytes)
    }
    if (before > WINDOW_BYTES) this.#regulate()
    if (this.#sourceClosed && this.#chunks.length === 0) to.destroySoon()
  }
}
