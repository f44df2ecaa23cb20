import { systemClock } from '../../src/core/clock.ts'
import type { Report } from '../report/contract.ts'
import type { Scenario } from '../scenario/contract.ts'
import type { SimulatedHandler } from './app.ts'
import type { RunInit, RunResult } from './contract.ts'

export interface SimulationProgress {
  /** From 1. */
  readonly run: number
  readonly runs: number
  readonly seed: number
  /** Time of this run, simulated in the virtual tier, and how long it will be, ms. */
  readonly simulatedMs: number
  readonly totalMs: number
}

export interface SeedsInit {
  readonly run: (init: RunInit) => Promise<RunResult>
  readonly scenarioOf: (seed: number) => Scenario
  readonly first: number
  /** So many consecutive seeds, until one fails. */
  readonly runs: number
  /** The command that repeats the run of a seed; default: the scenario by its name. */
  readonly replayOf?: ((seed: number) => string) | undefined
  readonly handlers?: Readonly<Record<string, SimulatedHandler>> | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: SimulationProgress) => void) | undefined
}

/** The report of the first run that failed, or else of the last. Rejects with ERR_SCENARIO, ERR_ABORTED. */
export async function runSeeds(init: SeedsInit): Promise<Report> {
  const { first, handlers, onProgress, replayOf, runs, scenarioOf, signal } = init
  const began = systemClock.monotonic()
  let simulatedMs = 0
  for (let run = 1; ; run++) {
    const seed = first + run - 1
    const { report } = await init.run({
      scenario: scenarioOf(seed),
      seed,
      handlers,
      signal,
      replay: replayOf?.(seed),
      onProgress: (atMs, totalMs) => onProgress?.({ run, runs, seed, simulatedMs: atMs, totalMs })
    })
    simulatedMs += report.simulatedMs
    if (report.ok && run < runs) continue
    const wallMs = Math.round(systemClock.monotonic() - began)
    return { ...report, runs: run, allRuns: { simulatedMs, wallMs } }
  }
}
