import { systemClock } from '../../src/core/clock.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { PEERS } from '../../src/mesh/neighbourhood.ts'
import { buildReport } from '../report/build-report.ts'
import type { ScenarioNode } from '../scenario/contract.ts'
import { scheduleOf } from '../scenario/schedule.ts'
import type { Trace } from '../trace.ts'
import { type Life, SimulatedNode } from '../world/simulated-node.ts'
import { createWorld, type World } from '../world/world.ts'
import type { RunInit, RunResult } from './contract.ts'
import { Excuses } from './excuses.ts'
import { partSeed, Population } from './population.ts'
import { Recorder } from './recorder.ts'
import { assertRunnable, totalMsOf } from './runnable.ts'
import { startTimeline } from './timeline.ts'
import { Workload } from './workload.ts'

export interface VirtualRunInit extends RunInit {
  readonly logger?: Logger | undefined
}

/** Simulated time between two looks at the signal, ms. */
const SLICE_MS = 1000
/** In a big mesh presence alone would be most of the work: the interval grows with its size, ms a node. */
const PRESENCE_MS_PER_NODE = 600
const BIG_MESH = 50
/** Many nodes that start in one moment would all tell each other at once: they start one after the other, ms a node. */
const START_MS_PER_NODE = 20
/** Of many nodes none knows all. So few still hold together, and what goes round costs less. */
const BIG_MESH_NEIGHBOURS = 12
/** Where no bit flips, reading everything again and again finds nothing and takes most of a quiet hour. */
const SCRUB_BYTES = 16 * 1024
/** Between two looks at the memory of each node, simulated ms: of few, and of many. */
const SAMPLE_MS = 1000
const BIG_SAMPLE_MS = 10_000

/** Runs a scenario in virtual time. Throws ERR_SCENARIO for what this tier cannot do, ERR_ABORTED. */
export async function runVirtual(init: VirtualRunInit): Promise<RunResult> {
  const { replay, scenario, seed } = init
  assertRunnable(init, 'virtual')
  const began = systemClock.monotonic()
  const run = new Run(init)
  try {
    await run.go()
  } finally {
    run.end()
  }
  const { trace } = run
  const simulatedMs = totalMsOf(scenario)
  const wallMs = Math.round(systemClock.monotonic() - began)
  const facts = { scenario, seed, tier: 'virtual', trace, simulatedMs, wallMs } as const
  return { trace, report: buildReport(replay === undefined ? facts : { ...facts, replay }) }
}

class Run {
  readonly #init: VirtualRunInit
  readonly #world: World
  readonly #population = new Population<SimulatedNode>()
  readonly #recorder: Recorder
  readonly #excuses: Excuses
  #bug: { readonly error: unknown } | undefined

  constructor(init: VirtualRunInit) {
    this.#init = init
    const { scenario, seed } = init
    this.#world = createWorld({
      random: (part) => this.#random(part),
      network: scenario.network,
      neighbours: scenario.nodes.length > PEERS ? BIG_MESH_NEIGHBOURS : undefined
    })
    const { time } = this.#world
    this.#recorder = new Recorder(() => time.nowMs)
    this.#excuses = new Excuses(time, this.#recorder, scenario)
    for (const node of scenario.nodes) this.#population.add(this.#createNode(node))
    const apartMs = scenario.nodes.length > PEERS ? START_MS_PER_NODE : 0
    for (const [index, { joinMs, name }] of scenario.nodes.entries()) {
      time.schedule(joinMs + index * apartMs, () => this.#population.join(name))
    }
    const { network } = this.#world
    const [population, recorder] = [this.#population, this.#recorder]
    startTimeline({ time, network, population, recorder }, scheduleOf(scenario, seed))
    const workload = new Workload(
      { time, recorder, population, excuses: this.#excuses, random: (part) => this.#random(part) },
      init
    )
    workload.startLoad()
    workload.startReaders()
    this.#sampleMemory()
  }

  get trace(): Trace {
    return this.#recorder.trace
  }

  async go(): Promise<void> {
    const { onProgress, scenario, signal } = this.#init
    const { time } = this.#world
    const totalMs = totalMsOf(scenario)
    for (let until = 0; until < totalMs;) {
      if (signal?.aborted === true) {
        throw new SkeinError('ERR_ABORTED', 'the simulation was aborted', { cause: signal.reason })
      }
      until = Math.min(totalMs, until + SLICE_MS)
      await time.run(until)
      if (this.#bug !== undefined) throw this.#bug.error
      onProgress?.(until, totalMs)
    }
  }

  end(): void {
    for (const node of this.#population.nodes.values()) node.vanish()
  }

  #random(part: string): ReturnType<typeof seededRandom> {
    return seededRandom(partSeed(this.#init.seed, part))
  }

  #createNode(node: ScenarioNode): SimulatedNode {
    const { scenario, logger = silentLogger } = this.#init
    const { name } = node
    const count = scenario.nodes.length
    let disks = 0
    return new SimulatedNode(
      {
        ...this.#world,
        random: this.#random(`node ${name}`),
        logger: logger.child({ node: name }),
        createDisk: () => this.#world.createDisk(`${name} ${disks++}`, node.disk.sizeBytes)
      },
      {
        node,
        presenceIntervalMs:
          count > BIG_MESH
            ? Math.min(count * PRESENCE_MS_PER_NODE, LIMITS.presenceIntervalMaxMs)
            : undefined,
        scrubBytes: this.#scrubBytes(),
        onBorn: (peer) => this.#recorder.named(peer, name),
        onUp: (life) => {
          this.#recorder.add({ kind: 'started', node: name })
          this.#followTrims(life)
          this.#population.up(name, life)
        },
        onDown: (how) => {
          this.#population.down(name)
          this.#recorder.add({ kind: 'stopped', node: name, how })
        },
        onBug: (error) => {
          this.#bug ??= { error }
        }
      }
    )
  }

  /** Undefined where bits flip: the default. Many that look at a piece each all the time do little else. */
  #scrubBytes(): number | undefined {
    const { faults, nodes } = this.#init.scenario
    if (faults.some(({ kind }) => kind === 'corrupt')) return undefined
    return nodes.length > PEERS ? 0 : SCRUB_BYTES
  }

  #followTrims({ engine: { store, transport } }: Life): void {
    const self = transport.self.id
    store.events.on('trimmed', ({ channel }) => {
      for (const log of store.logs(channel)) {
        if (log.publisher === self) this.#excuses.trimmed({ ...log, channel }, log.floor)
      }
    })
  }

  #sampleMemory(): void {
    for (const node of this.#population.nodes.values()) {
      const bytes = node.memoryBytes(LIMITS.liveTailBytes)
      if (bytes > 0) this.#recorder.add({ kind: 'memory', node: node.name, bytes })
    }
    const isBig = this.#init.scenario.nodes.length > PEERS
    const waitMs = isBig ? BIG_SAMPLE_MS : SAMPLE_MS
    this.#world.time.schedule(waitMs, () => this.#sampleMemory())
  }
}
