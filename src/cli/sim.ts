import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { SkeinError } from '../core/errors.ts'
import type * as simulations from '../../simulations/command.ts'
import { createProgress, type Progress } from './progress.ts'
import { runJobs } from './sim-jobs.ts'
import { interruption, print, printJson, say, table } from './terminal.ts'
import { parseCount, parseDuration, usageError } from './units.ts'

interface SimOptions {
  readonly list?: boolean
  readonly seed?: string
  readonly runs?: string
  readonly jobs: string
  readonly nodes?: string
  readonly duration?: string
  readonly real?: boolean
  readonly report?: string
  readonly shrink: boolean
  readonly json?: boolean
}

/** Shorter ones have no room for their faults, ms. */
const LEAST_MS = 10_000

/** Loaded only by this command: nodes have no use for it. */
type Simulations = typeof simulations
type Report = Awaited<ReturnType<Simulations['simulate']>>

interface Asked {
  readonly seed: number | undefined
  readonly runs: number
  readonly jobs: number
  readonly real: boolean
  readonly nodes: number | undefined
  readonly durationMs: number | undefined
}

function check(scenario: string | undefined, options: SimOptions): Asked {
  if (scenario === undefined && options.runs === undefined) {
    throw usageError(
      'scenario',
      'name one of skein sim --list, a file, or --runs for random faults'
    )
  }
  const { duration, jobs, nodes, real = false, runs = '1', seed } = options
  if (scenario === undefined && real) {
    throw usageError('--real', 'random faults are for simulated time only; name a scenario')
  }
  const durationMs = duration === undefined ? undefined : parseDuration(duration, '--duration')
  if (durationMs !== undefined && scenario !== undefined) {
    throw usageError(
      '--duration',
      'a scenario says itself how long it is; this is for random faults'
    )
  }
  if (durationMs !== undefined && durationMs < LEAST_MS) {
    throw usageError('--duration', 'random faults take at least 10s')
  }
  return {
    seed: seed === undefined ? undefined : parseCount(seed, '--seed', 0),
    runs: parseCount(runs, '--runs'),
    jobs: parseCount(jobs, '--jobs'),
    real,
    nodes: nodes === undefined ? undefined : parseCount(nodes, '--nodes', 2),
    durationMs
  }
}

interface Task {
  readonly simulations: Simulations
  readonly scenario: string | undefined
  readonly asked: Asked
  readonly signal: AbortSignal
  readonly progress: Progress
}

/** In this process, or spread over several. */
async function run({ asked, progress, scenario, signal, simulations }: Task): Promise<Report> {
  const { durationMs, jobs, nodes, real, runs, seed } = asked
  if (jobs > 1 && runs > 1) {
    const first = seed ?? (scenario === undefined ? 1 : simulations.seedOf(scenario))
    const args = scenario === undefined ? [] : [scenario]
    if (nodes !== undefined) args.push('--nodes', String(nodes))
    if (durationMs !== undefined) args.push('--duration', `${durationMs}ms`)
    if (real) args.push('--real')
    const onProgress = (done: number): void => progress.show(done / runs, `${done} of ${runs} runs`)
    return runJobs<Report>({ args, first, runs, jobs, signal, onProgress })
  }
  const options = {
    seed,
    runs,
    nodes,
    signal,
    onProgress: (at: { run: number; seed: number; simulatedMs: number; totalMs: number }): void => {
      const share = (at.run - 1 + at.simulatedMs / at.totalMs) / runs
      const of = runs > 1 ? `, run ${at.run} of ${runs}` : ''
      const seconds = (ms: number): number => Math.floor(ms / 1000)
      const time = `${seconds(at.simulatedMs)} of ${seconds(at.totalMs)} s`
      progress.show(share, `${time}, seed ${at.seed}${of}`)
    }
  }
  return scenario === undefined
    ? simulations.explore({ ...options, durationMs })
    : simulations.simulate(scenario, { ...options, tier: real ? 'real' : 'virtual' })
}

/** Looks for the least that still fails, and leaves it in a file. An interruption ends the search, not the result. */
async function shrinkTo(
  { asked, progress, signal, simulations }: Task,
  report: Report
): Promise<void> {
  const yaml = await simulations.smallestOf(report, {
    nodes: asked.nodes,
    durationMs: asked.durationMs,
    signal,
    onTry: (tried) =>
      progress.show(undefined, `looking for a smaller scenario that fails: ${tried} tried`)
  })
  progress.clear()
  const file = `random-${report.seed}.yaml`
  await writeFile(file, yaml)
  await print(`\n${yaml}\n`)
  say(`Made smaller: skein sim ${file}`)
}

async function sim(scenario: string | undefined, options: SimOptions): Promise<void> {
  const loaded: Simulations = await import('../../simulations/command.ts')
  if (options.list === true) {
    const rows = loaded.listScenarios()
    return options.json === true ? printJson(rows) : print(table(['SCENARIO', 'SHOWS'], rows))
  }
  const asked = check(scenario, options)
  const progress = createProgress(options.json !== true)
  const task: Task = { simulations: loaded, scenario, asked, progress, signal: interruption() }
  const report = await run(task).finally(() => progress.clear())
  if (options.report !== undefined) await writeFile(options.report, loaded.reportHtml(report))
  if (options.json === true) await printJson(report)
  else {
    const color = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === ''
    await print(loaded.formatTable(report, { color }))
  }
  if (report.ok) return
  if (scenario === undefined && options.shrink && options.json !== true)
    await shrinkTo(task, report)
  throw new SkeinError(
    'ERR_VIOLATION',
    `'${report.scenario}' does not hold with seed ${report.seed}: ${report.violationCount} violations; repeat it with: ${report.replay}`
  )
}

export function addSim(program: Command): void {
  program
    .command('sim')
    .description('run a mesh in simulated time, break it, and prove what was delivered')
    .argument('[scenario]', 'one of those that come with Skein, or a YAML file')
    .option('--list', 'list the scenarios that come with Skein')
    .option(
      '--seed <n>',
      "decides everything by chance; the first of several; default: the scenario's own"
    )
    .option('--runs <n>', 'try so many consecutive seeds, until one fails; default: 1')
    .option('--jobs <n>', 'spread them over so many processes', '1')
    .option('--nodes <n>', 'so many nodes, where they have no names of their own')
    .option('--duration <time>', 'how long random faults and load last; default: 60s')
    .option('--real', 'a process for each node, over TCP, instead of simulated time')
    .option('--report <file>', 'write a page with the timeline, lag, curves and topology')
    .option('--no-shrink', 'leave random faults that fail as they are')
    .option('--json', 'print the report as JSON')
    .option('--verbose', 'show stack traces of errors')
    .action(sim)
}
