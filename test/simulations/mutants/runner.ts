import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import type * as Simulations from '../../../simulations/index.ts'
import type * as Parser from '../../../simulations/scenario/parse.ts'
import type { Outcome, Trial } from './trial.ts'

/** Runs a trial with the simulator of the tree that the first argument names. */
async function run(tree: string, { scenario, seed, worksMs }: Trial): Promise<Outcome> {
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(tree, file)).href)
  const { simulate } = (await load('simulations/index.ts')) as typeof Simulations
  const { parseScenario } = (await load('simulations/scenario/parse.ts')) as typeof Parser
  const parsed = parseScenario(scenario, { file: 'mutant.yaml' })
  const handlers: Record<string, Simulations.SimulatedHandler> = {}
  if (worksMs !== undefined) {
    for (const { label } of parsed.subscriptions) handlers[label] = (_, app) => app.delay(worksMs)
  }
  const { delivered, ok, published, violations } = await simulate(parsed, { seed, handlers })
  return { ok, published, delivered, violations }
}

const [, , tree = ''] = process.argv
const trial = JSON.parse(await text(process.stdin)) as Trial
process.stdout.write(JSON.stringify(await run(tree, trial)))
