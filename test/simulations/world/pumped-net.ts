import { seededRandom } from '../../../src/core/random.ts'
import type { Transport } from '../../../src/mesh/contract.ts'
import type { VirtualNetwork, VirtualTime } from '../../../simulations/world/contract.ts'
import { createVirtualNetwork } from '../../../simulations/world/virtual-network.ts'
import { createVirtualTime } from '../../../simulations/world/virtual-time.ts'
import { type Net, seed } from '../../mesh/harness.ts'

/** Simulated time between two turns in which a test may look at what has come about, ms. */
const STEP_MS = 20
const ALL = 1_000_000

/** A virtual network in which time goes on by itself, for tests that wait. */
export function pumpedNet(): Net {
  const time = createVirtualTime()
  const network = createVirtualNetwork({ time, random: seededRandom(1) })
  const pump = new Pump(time)
  let all: Transport[] = []
  return {
    async create(count, links) {
      pump.start()
      const names = Array.from({ length: count }, (_, i) => `n${i}`)
      cutOthers(network, names, links)
      all = names.map((name) =>
        network.transport({ name, privateKey: seed(), clock: time.clock() })
      )
      for (const transport of all) await transport.start()
      return all
    },
    cut: () => network.impair(ALL, { kind: 'all' }, { kind: 'cut' }),
    heal: () => network.repair(ALL),
    async stop() {
      await Promise.all(all.map((transport) => transport.stop()))
      await pump.stop()
    }
  }
}

class Pump {
  readonly #time: VirtualTime
  #running: Promise<void> | undefined
  #stopped = false

  constructor(time: VirtualTime) {
    this.#time = time
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopped) await this.#time.run(this.#time.nowMs + STEP_MS)
  }
}

function cutOthers(
  network: VirtualNetwork,
  names: readonly string[],
  links: ReadonlyArray<readonly [number, number]> | undefined
): void {
  if (links === undefined) return
  const linked = new Set(links.map(([a, b]) => `${Math.min(a, b)} ${Math.max(a, b)}`))
  for (const [i, one] of names.entries()) {
    for (const [j, other] of names.entries()) {
      if (i >= j || linked.has(`${i} ${j}`)) continue
      const groups = [[one], [other]]
      network.impair(
        i * names.length + j,
        { kind: 'between', groups, direction: 'both' },
        { kind: 'cut' }
      )
    }
  }
}
