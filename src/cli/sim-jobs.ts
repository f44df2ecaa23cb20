import { type ChildProcess, fork } from 'node:child_process'
import { systemClock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'

/** What of a report is needed to choose among several; the rest is passed on. */
export interface RunReport {
  readonly ok: boolean
  readonly seed: number
  readonly runs: number
  readonly allRuns: { readonly simulatedMs: number; readonly wallMs: number }
}

export interface JobsInit {
  /** Arguments of the command but for the seeds. */
  readonly args: readonly string[]
  readonly first: number
  readonly runs: number
  readonly jobs: number
  readonly signal: AbortSignal
  readonly onProgress: (done: number) => void
}

/** Seeds that one process tries: enough to be worth its start, few enough for the others to stop soon. */
const MOST_SEEDS = 20

/**
 * Runs seeds in several processes of this command. The report of the lowest seed that failed, or else of the last
 * one. Rejects with ERR_ABORTED, and with what a process failed with.
 */
export async function runJobs<Report extends RunReport>(init: JobsInit): Promise<Report> {
  const { first, jobs, onProgress, runs, signal } = init
  const began = systemClock.monotonic()
  const size = Math.max(1, Math.min(MOST_SEEDS, Math.ceil(runs / jobs)))
  const reports: Report[] = []
  const running = new Set<ChildProcess>()
  let next = 0
  let failedAt = Infinity
  let done = 0
  const work = async (): Promise<void> => {
    while (next < runs && first + next < failedAt && !signal.aborted) {
      const seed = first + next
      const count = Math.min(size, runs - next)
      next += count
      const report = await runProcess<Report>([...init.args, ...seedArgs(seed, count)], running)
      reports.push(report)
      if (!report.ok) failedAt = Math.min(failedAt, report.seed)
      done += report.runs
      onProgress(done)
    }
  }
  const abort = (): void => {
    for (const child of running) child.kill('SIGTERM')
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.all(Array.from({ length: Math.min(jobs, Math.ceil(runs / size)) }, work))
  } catch (error) {
    abort()
    throw signal.aborted ? signal.reason : error
  }
  const chosen = reports
    .toSorted((a, b) => a.seed - b.seed)
    .find(({ ok, seed }, i, all) => (ok ? i === all.length - 1 : seed === failedAt))
  if (chosen === undefined) throw signal.reason
  const simulatedMs = reports.reduce((sum, { allRuns }) => sum + allRuns.simulatedMs, 0)
  const wallMs = Math.round(systemClock.monotonic() - began)
  return { ...chosen, runs: chosen.seed - first + 1, allRuns: { simulatedMs, wallMs } }
}

const seedArgs = (seed: number, count: number): string[] => [
  '--seed',
  String(seed),
  '--runs',
  String(count)
]

function runProcess<Report>(args: readonly string[], running: Set<ChildProcess>): Promise<Report> {
  return new Promise((resolve, reject) => {
    const child = fork(process.argv[1] ?? '', ['sim', ...args, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc']
    })
    running.add(child)
    const output: Buffer[] = []
    const errors: Buffer[] = []
    child.stdout?.on('data', (bytes: Buffer) => output.push(bytes))
    child.stderr?.on('data', (bytes: Buffer) => errors.push(bytes))
    child.on('error', reject)
    child.on('close', (code) => {
      running.delete(child)
      const text = Buffer.concat(output).toString()
      if ((code === 0 || code === 1) && text !== '') resolve(JSON.parse(text) as Report)
      else reject(failure(Buffer.concat(errors).toString(), code))
    })
  })
}

function failure(text: string, code: number | null): SkeinError {
  const said = text.trim().replace(/^skein: /, '')
  const why = said === '' ? `a process of the simulator ended with ${code ?? 'a signal'}` : said
  return new SkeinError(code === 2 ? 'ERR_SCENARIO' : 'ERR_INTERNAL', why)
}
