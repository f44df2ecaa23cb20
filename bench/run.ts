import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { dirname, join } from 'node:path'
import { VERSION } from '../src/core/version.ts'
import { build, RESULTS, runDoors, runMicro } from './build.ts'
import { CELLS, type Cell } from './cells.ts'
import { missing, PEERS, SKEIN, takesPart, type Contender } from './contenders.ts'
import { runCell } from './harness/run-cell.ts'
import { Team, type Places } from './harness/team.ts'
import { acquireLock } from './lock.ts'
import { parseOptions, USAGE, type BenchOptions } from './options.ts'
import { describe, report } from './report.ts'
import type { ResultFile, RunEntry } from './results.ts'

const QUICK_SHARE = 0.5
/** More processes share the same cores, so their code takes longer to be compiled. */
const MANY_PROCESSES_WARM_UP = 2

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** Skein, and with --peers whoever else is installed here. */
function chooseContenders(options: BenchOptions, places: Places): readonly Contender[] {
  const all = options.peers ? [SKEIN, ...PEERS] : [SKEIN]
  const wanted = all.filter((who) => options.contenders?.includes(who.name) ?? true)
  return wanted.filter((who) => {
    const lacks = missing(who, places.peersDir)
    if (lacks !== undefined) progress(`${who.name} is left out: ${lacks}`)
    return lacks === undefined
  })
}

let current: Team | undefined

async function runOne(
  contender: Contender,
  cell: Cell,
  options: BenchOptions,
  places: Places
): Promise<Pick<RunEntry, 'result' | 'failed'>> {
  const share = options.quick ? QUICK_SHARE : 1
  const processes = cell.subscribers > 1 ? MANY_PROCESSES_WARM_UP : 1
  const team = new Team(places)
  current = team
  try {
    const result = await runCell(team, contender, cell, {
      durationMs: options.durationMs ?? cell.durationMs * share,
      warmUpMs: contender.warmUpMs * processes * share,
      profileDir: options.profileDir
    })
    await team.stop()
    return { result }
  } catch (error) {
    team.kill()
    return { failed: error instanceof Error ? error.message : String(error) }
  } finally {
    current = undefined
  }
}

/** Run by run, not cell by cell: a busy minute on the machine then touches every contender once. */
async function runAll(options: BenchOptions, places: Places): Promise<RunEntry[]> {
  const contenders = chooseContenders(options, places)
  const pairs = options.cells.flatMap((cell) =>
    contenders.filter((who) => takesPart(who, cell)).map((contender) => ({ cell, contender }))
  )
  const entries: RunEntry[] = []
  for (let run = 1; run <= options.runs; run++) {
    for (const [index, { cell, contender }] of pairs.entries()) {
      const outcome = await runOne(contender, cell, options, places)
      const entry: RunEntry = { cell: cell.name, contender: contender.name, run, ...outcome }
      entries.push(entry)
      const place = `run ${run} of ${options.runs}, ${index + 1} of ${pairs.length}`
      progress(`${place}: ${cell.name} ${contender.name}: ${describe(entry)}`)
    }
  }
  return entries
}

function writeResults(file: ResultFile, options: BenchOptions): void {
  const path = options.json ?? join(RESULTS, `${file.startedAt.replaceAll(':', '-')}.json`)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(file, undefined, 1)}\n`)
  progress(`figures: ${path}`)
}

async function main(options: BenchOptions): Promise<void> {
  const startedAt = new Date().toISOString()
  const unlock = await acquireLock((holder) => {
    progress(`another bench (process ${holder}) is running; waiting for its end`)
  })
  try {
    const places = build(options.build)
    if (options.micro) {
      runMicro(places)
      return
    }
    if (options.doors !== undefined) {
      runDoors(places, options.doors)
      return
    }
    const entries = await runAll(options, places)
    const [cpu] = cpus()
    const machine = { cpus: cpus().length, model: cpu?.model ?? '', node: process.version }
    const settings = { ...options, cells: options.cells.map((cell) => cell.name) }
    writeResults(
      {
        startedAt,
        version: VERSION,
        machine: { ...machine, kernel: release() },
        options: settings,
        entries
      },
      options
    )
    console.log(report(entries))
    if (entries.some((entry) => entry.failed !== undefined)) process.exitCode = 1
  } finally {
    unlock()
  }
}

const abandon = (): void => {
  current?.kill()
  process.exit(130)
}
process.once('SIGINT', abandon)
process.once('SIGTERM', abandon)

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') console.log(USAGE)
  else if (options === 'list') {
    const names = new Set([SKEIN, ...PEERS].map((who) => who.name))
    console.log(`cells: ${CELLS.map((cell) => cell.name).join(', ')}`)
    console.log(`contenders: ${[...names].join(', ')}`)
  } else await main(options)
} catch (error) {
  progress(error instanceof Error ? error.message : String(error))
  process.exitCode = 2
}
