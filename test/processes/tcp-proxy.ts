import { systemClock } from '../../src/core/clock.ts'
import { systemRandom } from '../../src/core/random.ts'
import { Proxy } from '../../simulations/real/proxy.ts'
import { Impairments } from '../../simulations/world/link-conditions.ts'

const CUT = 0

/** The simulator's proxy, cut and mended by hand, in both directions. */
export class TcpProxy {
  readonly #impairments = new Impairments({
    latencyMs: 0,
    jitterMs: 0,
    bytesPerSecond: undefined
  })
  readonly #proxy: Proxy

  constructor(target: () => number) {
    const conditions = () => this.#impairments.between('', '')
    this.#proxy = new Proxy(
      { clock: systemClock, random: systemRandom },
      { port: target, there: conditions, back: conditions }
    )
  }

  get port(): number {
    return this.#proxy.port
  }

  start(): Promise<void> {
    return this.#proxy.start()
  }

  cut(): void {
    this.#impairments.add(CUT, { kind: 'all' }, { kind: 'cut' })
    this.#proxy.change()
  }

  /** Breaks what is connected, as a device does that loses its carrier. */
  drop(): void {
    this.#proxy.drop()
  }

  /** What was connected before the cut goes on where it was; what was tried during the cut is gone. */
  heal(): void {
    this.#impairments.delete(CUT)
    this.#proxy.change()
  }

  stop(): Promise<void> {
    return this.#proxy.stop()
  }
}
