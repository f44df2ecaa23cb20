import type { SimulatedHandler } from './runner/app.ts'
import { runVirtual } from './runner/run-virtual.ts'
import type { Report } from './report/contract.ts'
import { loadScenario } from './scenario/catalogue.ts'
import type { Scenario } from './scenario/contract.ts'

export type { SimulatedApp, SimulatedHandler } from './runner/app.ts'
export type { Report } from './report/contract.ts'
export type { Scenario } from './scenario/contract.ts'

export interface SimulateOptions {
  /** Default: the scenario's own. */
  readonly seed?: number
  /** Tries so many consecutive seeds, until one fails. Default 1. */
  readonly runs?: number
  readonly signal?: AbortSignal
  /** Your own code in place of readers that do nothing, by label of the subscription. */
  readonly handlers?: Readonly<Record<string, SimulatedHandler>>
  readonly onProgress?: (progress: SimulationProgress) => void
}

export interface SimulationProgress {
  /** From 1. */
  readonly run: number
  readonly runs: number
  readonly seed: number
  /** Simulated time of this run, and how long it will be, ms. */
  readonly simulatedMs: number
  readonly totalMs: number
}

/**
 * Runs a scenario in virtual time: one that comes with Skein, by name; a YAML file; or a parsed one. A broken rule is
 * not an error: look at `ok`. With `runs` the report is of the first run that failed, or else of the last. Rejects
 * with ERR_SCENARIO, ERR_ABORTED.
 */
export async function simulate(
  scenario: string | Scenario,
  { handlers, onProgress, runs = 1, seed, signal }: SimulateOptions = {}
): Promise<Report> {
  const loaded = typeof scenario === 'string' ? loadScenario(scenario) : scenario
  const first = seed ?? loaded.seed
  for (let run = 1; ; run++) {
    const own = first + run - 1
    const { report } = await runVirtual({
      scenario: loaded,
      seed: own,
      handlers,
      signal,
      onProgress: (simulatedMs, totalMs) =>
        onProgress?.({ run, runs, seed: own, simulatedMs, totalMs })
    })
    if (!report.ok || run >= runs) return { ...report, runs: run }
  }
}
