import { randomScenario } from './explore/random-scenario.ts'
import { runReal } from './real/run-real.ts'
import type { Report } from './report/contract.ts'
import type { SimulatedHandler } from './runner/app.ts'
import { runSeeds, type SimulationProgress } from './runner/run-seeds.ts'
import { runVirtual } from './runner/run-virtual.ts'
import { loadScenario } from './scenario/catalogue.ts'
import type { Scenario, Tier } from './scenario/contract.ts'
import { withNodes } from './scenario/resize.ts'

export type { Report } from './report/contract.ts'
export type { SimulatedApp, SimulatedHandler } from './runner/app.ts'
export type { SimulationProgress } from './runner/run-seeds.ts'
export type { Scenario, Tier } from './scenario/contract.ts'

export interface ExploreOptions {
  /** The first one. Default: the scenario's own; of random scenarios 1. */
  readonly seed?: number | undefined
  /** Tries so many consecutive seeds, until one fails. Default 1. */
  readonly runs?: number | undefined
  /** Default: the scenario's own; of random scenarios 5. */
  readonly nodes?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: SimulationProgress) => void) | undefined
}

export interface SimulateOptions extends ExploreOptions {
  /** `virtual` (default): simulated time in this process. `real`: a process for each node, over TCP. */
  readonly tier?: Tier | undefined
  /** Your own code in place of readers that do nothing, by label of the subscription. */
  readonly handlers?: Readonly<Record<string, SimulatedHandler>> | undefined
}

/**
 * Runs a scenario: one that comes with Skein, by name; a YAML file; or a parsed one. A broken rule is not an error:
 * look at `ok`. With `runs` the report is of the first run that failed, or else of the last. Rejects with
 * ERR_SCENARIO, which says too what the tier cannot do, and with ERR_ABORTED.
 */
export async function simulate(
  scenario: string | Scenario,
  { nodes, runs = 1, seed, tier = 'virtual', ...options }: SimulateOptions = {}
): Promise<Report> {
  const loaded = typeof scenario === 'string' ? loadScenario(scenario) : scenario
  const sized = nodes === undefined ? loaded : withNodes(loaded, nodes)
  const name = typeof scenario === 'string' ? scenario : scenario.name
  return runSeeds({
    ...options,
    run: tier === 'real' ? runReal : runVirtual,
    scenarioOf: () => sized,
    first: seed ?? loaded.seed,
    runs,
    replayOf: (own) => `skein sim ${name} --seed ${own}${nodesText(nodes)}${tierText(tier)}`
  })
}

export interface RandomOptions extends ExploreOptions {
  /** Load and faults of each run, ms. Default 60,000, at least 10,000. */
  readonly durationMs?: number | undefined
}

/** As `simulate`, with a scenario that each seed draws: faults of every kind, one upon another. */
export async function explore({
  durationMs,
  nodes,
  runs = 1,
  seed = 1,
  ...options
}: RandomOptions = {}): Promise<Report> {
  return runSeeds({
    ...options,
    run: runVirtual,
    scenarioOf: (own) => randomScenario(own, { nodes, durationMs }),
    first: seed,
    runs,
    replayOf: (own) =>
      `skein sim --runs 1 --seed ${own}${nodesText(nodes)}${durationText(durationMs)}`
  })
}

function nodesText(nodes: number | undefined): string {
  return nodes === undefined ? '' : ` --nodes ${nodes}`
}

function durationText(ms: number | undefined): string {
  return ms === undefined ? '' : ` --duration ${ms}ms`
}

function tierText(tier: Tier): string {
  return tier === 'real' ? ' --real' : ''
}
