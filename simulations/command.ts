import { randomScenario } from './explore/random-scenario.ts'
import { shrink } from './explore/shrink.ts'
import type { Report } from './report/contract.ts'
import { runVirtual } from './runner/run-virtual.ts'
import { loadScenario, scenarioNames } from './scenario/catalogue.ts'
import { formatScenario } from './scenario/format.ts'

export { explore, simulate } from './index.ts'
export { reportHtml } from './report/html.ts'
export { formatTable } from './report/table.ts'

/** What comes with Skein: names, and what each shows. */
export function listScenarios(): ReadonlyArray<readonly [name: string, description: string]> {
  return scenarioNames().map((name) => [name, loadScenario(name).description])
}

/** The seed that a scenario is run with when no other is given. */
export function seedOf(nameOrFile: string): number {
  return loadScenario(nameOrFile).seed
}

export interface SmallestInit {
  readonly nodes?: number | undefined
  readonly durationMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called before each candidate, with how many were tried. */
  readonly onTry?: ((tried: number) => void) | undefined
}

/** Scenarios tried to make a failing one smaller: some minutes' worth. */
const MOST_TRIED = 100

/** The smallest scenario found that breaks the rule which a random one broke first, as YAML. */
export async function smallestOf(
  { seed, violations }: Report,
  { durationMs, nodes, onTry, signal }: SmallestInit = {}
): Promise<string> {
  const rule = violations[0]?.checker
  let tried = 0
  const scenario = await shrink(
    randomScenario(seed, { nodes, durationMs }),
    async (candidate) => {
      onTry?.(tried++)
      const { report } = await runVirtual({ scenario: candidate, seed })
      return report.violations.some(({ checker }) => checker === rule)
    },
    { seed, most: MOST_TRIED, ...(signal === undefined ? {} : { signal }) }
  )
  return formatScenario(
    scenario,
    `Breaks '${rule}'. Made smaller from random faults of seed ${seed}.`
  )
}
