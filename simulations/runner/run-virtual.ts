import { systemClock } from '../../src/core/clock.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { buildReport } from '../report/build-report.ts'
import type { Report } from '../report/contract.ts'
import type { Scenario, ScenarioNode } from '../scenario/contract.ts'
import { scheduleOf } from '../scenario/schedule.ts'
import { selectNodes } from '../scenario/selectors.ts'
import type { Trace } from '../trace.ts'
import { SimulatedNode } from '../world/simulated-node.ts'
import { createWorld, type World } from '../world/world.ts'
import type { SimulatedHandler } from './app.ts'
import { Excuses } from './excuses.ts'
import { Letters } from './letters.ts'
import { partSeed, Population } from './population.ts'
import { startPublisher } from './publisher.ts'
import { createInboxReader, createSubscriber } from './readers.ts'
import { Recorder } from './recorder.ts'
import { OutboxWatch, startSender } from './sender.ts'
import { startTimeline } from './timeline.ts'

export interface VirtualRunInit {
  readonly scenario: Scenario
  readonly seed: number
  /** Of the scenario's subscriptions, by label. */
  readonly handlers?: Readonly<Record<string, SimulatedHandler>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Called at least every simulated second. */
  readonly onProgress?: ((simulatedMs: number, totalMs: number) => void) | undefined
  readonly logger?: Logger | undefined
  /** Stands in the report; default see `RunFacts.replay`. */
  readonly replay?: string | undefined
}

export interface VirtualRun {
  readonly report: Report
  readonly trace: Trace
}

/** Simulated time between two looks at the signal, ms. */
const SLICE_MS = 1000
/** In a big mesh presence alone would be most of the work: the interval grows with its size, ms a node. */
const PRESENCE_MS_PER_NODE = 100
const BIG_MESH = 50
/** Where no bit flips, reading everything again and again finds nothing and takes most of a quiet hour. */
const SCRUB_BYTES = 16 * 1024

/** Runs a scenario in virtual time. Throws ERR_SCENARIO for what this tier cannot do, ERR_ABORTED. */
export async function runVirtual(init: VirtualRunInit): Promise<VirtualRun> {
  const { replay, scenario, seed } = init
  assertPossible(scenario)
  assertHandlers(init)
  const began = systemClock.monotonic()
  const run = new Run(init)
  try {
    await run.go()
  } finally {
    run.end()
  }
  const { trace } = run
  const simulatedMs = totalOf(scenario)
  const wallMs = Math.round(systemClock.monotonic() - began)
  const facts = { scenario, seed, tier: 'virtual', trace, simulatedMs, wallMs } as const
  return { trace, report: buildReport(replay === undefined ? facts : { ...facts, replay }) }
}

class Run {
  readonly #init: VirtualRunInit
  readonly #world: World
  readonly #population = new Population()
  readonly #recorder: Recorder
  readonly #letters: Letters
  readonly #excuses: Excuses
  #bug: { readonly error: unknown } | undefined

  constructor(init: VirtualRunInit) {
    this.#init = init
    const { scenario, seed } = init
    this.#world = createWorld({ random: (part) => this.#random(part), network: scenario.network })
    const { time } = this.#world
    this.#recorder = new Recorder(() => time.nowMs)
    this.#letters = new Letters(this.#recorder)
    this.#excuses = new Excuses(time, this.#recorder, scenario)
    for (const node of scenario.nodes) this.#population.add(this.#createNode(node))
    for (const { joinMs, name } of scenario.nodes) {
      time.schedule(joinMs, () => this.#population.join(name))
    }
    const { network } = this.#world
    const [population, recorder] = [this.#population, this.#recorder]
    startTimeline({ time, network, population, recorder }, scheduleOf(scenario, seed))
    this.#startPublishers()
    this.#startSubscribers()
    this.#startSenders()
    this.#sampleMemory()
  }

  get trace(): Trace {
    return this.#recorder.trace
  }

  async go(): Promise<void> {
    const { onProgress, scenario, signal } = this.#init
    const { time } = this.#world
    const totalMs = totalOf(scenario)
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
        presenceIntervalMs: count > BIG_MESH ? count * PRESENCE_MS_PER_NODE : undefined,
        scrubBytes: scenario.faults.some(({ kind }) => kind === 'corrupt')
          ? undefined
          : SCRUB_BYTES,
        onBorn: (peer) => this.#recorder.named(peer, name),
        onUp: (life) => {
          this.#recorder.add({ kind: 'started', node: name })
          this.#excuses.follow(life)
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

  #startPublishers(): void {
    const { scenario } = this.#init
    for (const [place, load] of scenario.publishers.entries()) {
      for (const name of this.#select(load.nodes)) {
        const random = this.#random(`publisher ${place} ${name}`)
        const own = { time: this.#world.time, recorder: this.#recorder, random }
        const components = { ...own, excuses: this.#excuses }
        startPublisher(components, this.#population.node(name), load)
      }
    }
  }

  #startSubscribers(): void {
    const { handlers, scenario } = this.#init
    const components = { time: this.#world.time, recorder: this.#recorder }
    const taken = new Set<string>()
    for (const load of scenario.subscriptions) {
      for (const node of this.#select(load.nodes)) {
        const remembers = scenario.nodes.find(({ name }) => name === node)?.disk.kind !== 'memory'
        let id = `${node}/${load.label}`
        for (let again = 2; taken.has(id); again++) id = `${node}/${load.label}:${again}`
        taken.add(id)
        const handler = handlers?.[load.label]
        this.#population.occupy(
          node,
          createSubscriber(components, { load, node, remembers, id, handler })
        )
      }
    }
  }

  #startSenders(): void {
    const { scenario } = this.#init
    const recipients = new Set<string>()
    const senders = new Set<string>()
    for (const [place, load] of scenario.sends.entries()) {
      for (const from of this.#select(load.from)) {
        for (const to of this.#select(load.to)) {
          if (from === to) continue
          recipients.add(to)
          senders.add(from)
          const random = this.#random(`sender ${place} ${from} ${to}`)
          const own = { time: this.#world.time, recorder: this.#recorder, random }
          const components = { ...own, letters: this.#letters }
          startSender(components, this.#population.node(from), { load, to })
        }
      }
    }
    for (const name of recipients) {
      this.#population.occupy(name, createInboxReader(this.#world.time, this.#letters, name))
    }
    for (const name of senders) {
      this.#population.occupy(name, new OutboxWatch(this.#letters, name))
    }
  }

  #sampleMemory(): void {
    for (const node of this.#population.nodes.values()) {
      const bytes = node.memoryBytes(LIMITS.liveTailBytes)
      if (bytes > 0) this.#recorder.add({ kind: 'memory', node: node.name, bytes })
    }
    this.#world.time.schedule(SLICE_MS, () => this.#sampleMemory())
  }

  #select(nodes: readonly string[]): string[] {
    return selectNodes(nodes, this.#init.scenario, { seed: this.#init.seed })
  }
}

function totalOf({ drainMs, endMs }: Scenario): number {
  return endMs + drainMs
}

function assertPossible({ name, subscriptions, tiers }: Scenario): void {
  const impossible = (what: string): SkeinError =>
    new SkeinError('ERR_SCENARIO', `scenario '${name}': ${what}`)
  if (!tiers.includes('virtual')) {
    throw impossible("it is for real processes only ('tier: [real]')")
  }
  const grouped = subscriptions.find(({ group }) => group !== undefined)
  if (grouped !== undefined) {
    throw impossible(`subscription '${grouped.label}' has a group, which nodes do not know yet`)
  }
}

function assertHandlers({ handlers = {}, scenario }: VirtualRunInit): void {
  const labels = [...new Set(scenario.subscriptions.map(({ label }) => label))]
  const unknown = Object.keys(handlers).find((label) => !labels.includes(label))
  if (unknown === undefined) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `handlers: no subscription has the label '${unknown}'; there are ${labels.join(', ')}`,
    { details: { option: 'handlers' } }
  )
}
