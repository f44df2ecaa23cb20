import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { delay, systemClock } from '../../src/core/clock.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { type Random, seededRandom } from '../../src/core/random.ts'
import type { NodeOptions } from '../../src/node/options.ts'
import { buildReport } from '../report/build-report.ts'
import type { RunInit, RunResult } from '../runner/contract.ts'
import { Excuses } from '../runner/excuses.ts'
import { partSeed, Population } from '../runner/population.ts'
import { Recorder } from '../runner/recorder.ts'
import { assertRunnable, totalMsOf } from '../runner/runnable.ts'
import { startTimeline } from '../runner/timeline.ts'
import { Workload } from '../runner/workload.ts'
import type { ScenarioNode } from '../scenario/contract.ts'
import { scheduleOf } from '../scenario/schedule.ts'
import { checkTrace } from '../checkers/check.ts'
import type { Trace } from '../trace.ts'
import { ProxiedNetwork } from './proxied-network.ts'
import { RealNode } from './real-node.ts'
import { WallTime } from './wall-time.ts'

/** Between two looks at memory, links and outboxes, ms. */
const SAMPLE_MS = 1000
/** Between two looks at the signal, ms. */
const SLICE_MS = 100
/** The nodes of the beginning must have found each other by then, ms. */
const SETUP_MS = 60_000
/** The end is not waited for where nothing has happened for so long and every rule holds, ms. */
const REST_MS = 2000
/** A process that does not answer in this time is not waited for, ms. */
const ANSWER_MS = 2000

/**
 * Runs a scenario with one process for each node, over TCP. Its time begins when the nodes of the beginning are
 * connected with each other. Throws ERR_SCENARIO for what this tier cannot do, ERR_ABORTED, and ERR_INTERNAL where a
 * node ends that nobody has ended.
 */
export async function runReal(init: RunInit): Promise<RunResult> {
  const { replay, scenario, seed } = init
  assertRunnable(init, 'real')
  const began = systemClock.monotonic()
  const folder = await mkdtemp(join(tmpdir(), 'skein-sim-'))
  const run = new Run(init, folder)
  const atExit = (): void => run.abandon()
  process.once('exit', atExit)
  try {
    await run.go()
  } finally {
    await run.end()
    process.removeListener('exit', atExit)
  }
  const { trace } = run
  const { simulatedMs } = run
  const wallMs = Math.round(systemClock.monotonic() - began)
  const facts = { scenario, seed, tier: 'real', trace, simulatedMs, wallMs } as const
  return { trace, report: buildReport(replay === undefined ? facts : { ...facts, replay }) }
}

class Run {
  readonly #init: RunInit
  readonly #folder: string
  readonly #time: WallTime
  readonly #network: ProxiedNetwork
  readonly #population = new Population<RealNode>()
  readonly #recorder: Recorder
  readonly #excuses: Excuses
  readonly #workload: Workload
  readonly #mesh = `sim-${randomBytes(6).toString('hex')}`
  #bug: { readonly error: unknown } | undefined

  constructor(init: RunInit, folder: string) {
    this.#init = init
    this.#folder = folder
    const { scenario } = init
    const time = new WallTime(systemClock, (error) => this.#report(error))
    this.#time = time
    const components = { clock: systemClock, random: this.#random('network') }
    this.#network = new ProxiedNetwork(components, scenario.network)
    const recorder = new Recorder(() => time.nowMs)
    this.#recorder = recorder
    const excuses = new Excuses(time, recorder, scenario)
    this.#excuses = excuses
    const [population, random] = [this.#population, (part: string) => this.#random(part)]
    this.#workload = new Workload({ time, recorder, excuses, population, random }, init)
  }

  get trace(): Trace {
    return this.#recorder.trace
  }

  /** So long it ran, ms. */
  get simulatedMs(): number {
    return Math.min(totalMsOf(this.#init.scenario), Math.round(this.#time.nowMs))
  }

  async go(): Promise<void> {
    const { onProgress, scenario } = this.#init
    await this.#setUp()
    const [time, network, population, recorder] = this.#parts
    startTimeline({ time, network, population, recorder }, scheduleOf(scenario, this.#init.seed))
    this.#workload.startLoad()
    time.begin()
    const totalMs = totalMsOf(scenario)
    let sampledMs = 0
    for (let now = 0; now < totalMs; now = time.nowMs) {
      this.#assertGood()
      await delay(systemClock, Math.min(SLICE_MS, totalMs - now))
      onProgress?.(Math.min(totalMs, time.nowMs), totalMs)
      if (time.nowMs - sampledMs < SAMPLE_MS) continue
      sampledMs = time.nowMs
      if (this.#isAtRest()) break
      for (const node of population.nodes.values()) void this.#sample(node)
    }
    await this.#all((node) => this.#sample(node))
    this.#assertGood()
  }

  #isAtRest(): boolean {
    const { endMs, expect } = this.#init.scenario
    const { nowMs } = this.#time
    const last = this.trace.findLast(({ kind }) => kind !== 'memory' && kind !== 'topology')
    if (nowMs < Math.max(endMs, last?.at ?? 0) + REST_MS) return false
    return checkTrace(this.trace, expect).violations.length === 0
  }

  /** Leaves nothing behind. */
  async end(): Promise<void> {
    this.#time.end()
    await Promise.all([...this.#population.nodes.values()].map((node) => node.vanish()))
    await this.#network.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  /** As `end`, at once: this process ends. */
  abandon(): void {
    for (const node of this.#population.nodes.values()) void node.vanish()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get #parts() {
    return [this.#time, this.#network, this.#population, this.#recorder] as const
  }

  /** Everything that is there from the beginning, at work but without load. */
  async #setUp(): Promise<void> {
    const { nodes } = this.#init.scenario
    await this.#network.start(nodes.map(({ name }) => name))
    for (const node of nodes) this.#population.add(this.#createNode(node))
    for (const { joinMs, name } of nodes) {
      this.#time.schedule(joinMs, () => this.#population.join(name))
    }
    this.#workload.startReaders()
    const first = nodes.filter(({ joinMs }) => joinMs === 0).length
    const until = systemClock.monotonic() + SETUP_MS
    for (;;) {
      await delay(systemClock, SLICE_MS)
      // Who is connected is not told with every connection.
      await this.#all(async (node) => void (await node.sample()))
      this.#assertGood()
      const settled = [...this.#population.nodes.values()].every((node) => node.settled)
      if (settled && this.#network.topology().length === (first * (first - 1)) / 2) return
      if (systemClock.monotonic() < until) continue
      throw new SkeinError(
        'ERR_INTERNAL',
        `the nodes did not find each other within ${SETUP_MS / 1000} s`
      )
    }
  }

  #createNode(node: ScenarioNode): RealNode {
    const { name } = node
    return new RealNode({
      name,
      options: () => this.#optionsOf(node),
      settled: () => this.#all((other) => other.ping()),
      onBorn: (peer) => this.#recorder.named(peer, name),
      onUp: (life) => {
        this.#recorder.add({ kind: 'started', node: name })
        this.#population.up(name, life)
      },
      onDown: (how) => {
        this.#population.down(name)
        this.#recorder.add({ kind: 'stopped', node: name, how })
      },
      onConnected: (peers) => {
        this.#network.connected(
          name,
          peers.map((peer) => this.#recorder.nameOf(peer))
        )
      },
      onBug: (error) => this.#report(error)
    })
  }

  async #optionsOf(node: ScenarioNode): Promise<NodeOptions> {
    const { custodian, disk, keep, name, retention } = node
    const { announce, join: addresses, listen } = await this.#network.place(name)
    return {
      name,
      mesh: this.#mesh,
      mdns: false,
      listen: [listen],
      announce: [announce],
      join: [...addresses],
      keep: [...keep],
      custodian,
      logLevel: 'error',
      ...(disk.kind === 'disk' ? { dataDir: join(this.#folder, name) } : {}),
      ...(Object.keys(retention).length > 0 ? { channels: { '#': { retention } } } : {})
    }
  }

  async #sample(node: RealNode): Promise<void> {
    try {
      const sample = await node.sample()
      if (sample === undefined) return
      this.#recorder.add({ kind: 'memory', node: node.name, bytes: sample.memoryBytes })
      for (const { floor, ...log } of sample.floors) this.#excuses.trimmed(log, floor)
    } catch (error) {
      this.#report(error)
    }
  }

  /** Resolves when it is done on every node, or those that are left do not answer. */
  async #all(work: (node: RealNode) => Promise<void>): Promise<void> {
    const enough = new AbortController()
    const patience = delay(systemClock, ANSWER_MS, enough.signal).catch(() => undefined)
    const done = Promise.all([...this.#population.nodes.values()].map(work))
    await Promise.race([done, patience])
    enough.abort()
  }

  #random(part: string): Random {
    return seededRandom(partSeed(this.#init.seed, part))
  }

  #report(error: unknown): void {
    this.#bug ??= { error }
  }

  #assertGood(): void {
    const { signal } = this.#init
    if (signal?.aborted === true) {
      throw new SkeinError('ERR_ABORTED', 'the simulation was aborted', { cause: signal.reason })
    }
    if (this.#bug !== undefined) throw this.#bug.error
  }
}
