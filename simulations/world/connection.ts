import type { Random } from '../../src/core/random.ts'
import type { NodeClock, VirtualTime } from './contract.ts'
import type { Endpoint } from './endpoint.ts'
import type { Impairments, LinkConditions } from './link-conditions.ts'
import { Pipe } from './pipe.ts'
import type { Silence } from './silence.ts'

/** What a shake of hands takes on the wire, bytes. */
const HANDSHAKE_BYTES = 200
/** A link that carries again is found to within this time, ms: the longest wait between two attempts. */
const HEARD_MS = 1500

export interface ConnectionComponents {
  readonly time: VirtualTime
  readonly random: Random
  readonly impairments: Impairments
}

/** A node, as far as a connection needs it. */
export interface Party {
  readonly name: string
  readonly clock: NodeClock
  /** Its process stands still. */
  readonly paused: boolean
}

interface End {
  readonly endpoint: Endpoint
  readonly silence: Silence
}

/** A TCP connection between two nodes, from the first packet of its dialler until both ends have closed it. */
export class Connection {
  /** The dialler first. */
  readonly parties: readonly [Party, Party]
  /** What each of them sends on. */
  readonly pipes: readonly [Pipe, Pipe]
  readonly #impairments: Impairments
  /** What goes from the first and from the second does not arrive. */
  readonly #silent = [false, false]
  #ends: readonly [End, End] | undefined
  #given = false

  constructor(components: ConnectionComponents, parties: readonly [Party, Party]) {
    this.parties = parties
    this.#impairments = components.impairments
    const [one, other] = parties
    this.pipes = [this.#pipe(components, one, other), this.#pipe(components, other, one)]
  }

  /** Still of use, or its end is on its way. */
  get open(): boolean {
    if (this.#ends === undefined) return !this.#given
    return this.#ends.some(({ endpoint }) => endpoint.open)
  }

  /** Both ends hold on to it. */
  get whole(): boolean {
    return this.#ends?.every(({ endpoint }) => endpoint.open) ?? false
  }

  /** There, back, and there again, as far as things get through; then calls back. */
  shakeHands(done: () => void): void {
    const [there, back] = this.pipes
    there.send(HANDSHAKE_BYTES, () => {
      back.send(HANDSHAKE_BYTES, () => there.send(HANDSHAKE_BYTES, done))
    })
  }

  /** The dialler does not wait any longer. */
  giveUp(): void {
    this.#given = true
    for (const pipe of this.pipes) pipe.close()
  }

  join(ends: readonly [End, End]): void {
    const [one, other] = ends
    one.endpoint.far = other.endpoint
    other.endpoint.far = one.endpoint
    this.#ends = ends
  }

  /** Conditions or a node's state have changed. */
  review(): void {
    for (const at of [0, 1] as const) {
      const pipe = this.pipes[at]
      const from = this.parties[at]
      const { cut } = pipe.conditions
      if (!cut) pipe.mended()
      const silent = cut || from.paused
      if (this.#ends === undefined || silent === this.#silent[at]) continue
      this.#silent[at] = silent
      const listener = this.#ends[1 - at] as End
      if (!listener.endpoint.open) continue
      if (silent) listener.silence.begin()
      else listener.silence.end(HEARD_MS)
    }
  }

  #pipe(components: ConnectionComponents, from: Party, to: Party): Pipe {
    const impairments = this.#impairments
    let conditions: LinkConditions | undefined
    let version = -1
    return new Pipe(
      { time: components.time, random: components.random, clock: to.clock },
      {
        conditions: () => {
          if (conditions === undefined || version !== impairments.version) {
            conditions = impairments.between(from.name, to.name)
            version = impairments.version
          }
          return conditions
        }
      }
    )
  }
}
