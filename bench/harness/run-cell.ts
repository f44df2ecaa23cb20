import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cell } from '../cells.ts'
import type { Contender } from '../contenders.ts'
import type { CellResult } from '../results.ts'
import { median, summarize } from '../stats.ts'
import type { Published, Received } from '../worker/protocol.ts'
import type { CpuReading, Team } from './team.ts'

export interface CellSettings {
  /** How long is measured, ms. */
  readonly durationMs: number
  readonly warmUpMs: number
  /** Folder for CPU profiles of the publisher and the first subscriber. */
  readonly profileDir: string | undefined
}

/** Payload bytes ahead at which a publisher that nothing else holds is held. */
const CAP_BYTES = 256 * 1024 * 1024
/** A heartbeat of gossip passes before a mesh is measured. */
const MESH_SETTLES_MS = 1500
/** Nodes are idle once what they do at their start is over. */
const IDLE_SETTLES_MS = 4000
/** No cell may last longer. */
const CELL_TIMEOUT_MS = 90_000

interface Phase {
  readonly published: Published
  readonly received: readonly Received[]
  readonly cpu: { publisher: number; subscribers: number; broker: number }
}

/** Runs one cell of one contender once. */
export async function runCell(
  team: Team,
  contender: Contender,
  cell: Cell,
  settings: CellSettings
): Promise<CellResult> {
  const cancelled = new AbortController()
  const timeout = sleep(CELL_TIMEOUT_MS, undefined, { signal: cancelled.signal }).then(() => {
    throw new Error(`did not end within ${CELL_TIMEOUT_MS / 1000} s`)
  })
  try {
    return await Promise.race([measure(team, contender, cell, settings), timeout])
  } finally {
    // The race has its answer: the rejection that the abort causes has nobody left to tell.
    timeout.catch(() => undefined)
    cancelled.abort()
  }
}

async function measure(
  team: Team,
  contender: Contender,
  cell: Cell,
  settings: CellSettings
): Promise<CellResult> {
  const startedAt = performance.now()
  await team.start(contender, cell)
  if (cell.workload === 'idle') return measureIdle(team, settings)
  if (cell.workload === 'durable') return measureWindow(team, contender, cell, settings)
  await team.ready()
  const readyMs = performance.now() - startedAt
  if (cell.topology === 'mesh') await sleep(MESH_SETTLES_MS)
  const run = RUNS[cell.workload]
  return { readyMs, ...(await run(team, contender, cell, settings)) }
}

const RUNS = {
  latency: measureLatency,
  throughput: measureThroughput,
  request: measureWindow
} as const

/** Does `work` between two CPU readings, profiled where asked. */
async function observed<T>(
  team: Team,
  profileName: string | undefined,
  work: () => Promise<T>
): Promise<{ outcome: T; cpu: Phase['cpu'] }> {
  const profiled = profileName === undefined ? [] : team.workers.slice(0, 2)
  await Promise.all(profiled.map((worker) => worker.ask('startProfile', {})))
  const before = await team.cpu()
  const outcome = await work()
  const cpu = spent(before, await team.cpu())
  await Promise.all(
    profiled.map((worker) =>
      worker.ask('stopProfile', { file: `${profileName}-${worker.role}.cpuprofile` })
    )
  )
  return { outcome, cpu }
}

function spent(before: CpuReading, after: CpuReading): Phase['cpu'] {
  const each = after.workers.map((seconds, index) => seconds - (before.workers[index] ?? 0))
  const [publisher = 0, ...others] = each
  return {
    publisher,
    subscribers: others.reduce((sum, seconds) => sum + seconds, 0),
    broker: after.broker - before.broker
  }
}

function profileName(
  { profileDir }: CellSettings,
  contender: Contender,
  cell: Cell
): string | undefined {
  if (profileDir === undefined) return undefined
  mkdirSync(profileDir, { recursive: true })
  return join(profileDir, `${cell.name}-${contender.name}`)
}

interface PhaseInit {
  /** Latencies to keep; 0 for none. */
  readonly latencies: number
  readonly profile: string | undefined
  readonly publish: () => Promise<Published>
}

async function runPhase(team: Team, { latencies, profile, publish }: PhaseInit): Promise<Phase> {
  const { subscribers } = team
  for (const subscriber of subscribers) subscriber.progress = 0
  await Promise.all(subscribers.map((subscriber) => subscriber.ask('begin', { latencies })))
  const { outcome, cpu } = await observed(team, profile, async () => {
    const published = await publish()
    const { sent } = published
    const received = await Promise.all(subscribers.map((one) => one.ask('end', { sent })))
    return { published, received }
  })
  return { ...outcome, cpu }
}

async function measureThroughput(
  team: Team,
  contender: Contender,
  cell: Cell,
  settings: CellSettings
): Promise<CellResult> {
  const { size } = cell
  const flood = (durationMs: number) => (): Promise<Published> =>
    team.publisher.ask('flood', { size, durationMs, capBytes: CAP_BYTES })
  await runPhase(team, {
    latencies: 0,
    profile: undefined,
    publish: flood(settings.warmUpMs)
  })
  const profile = profileName(settings, contender, cell)
  const phase = await runPhase(team, { latencies: 0, profile, publish: flood(settings.durationMs) })
  const { published, received } = phase
  const everywhere = Math.min(...received.map(({ count }) => count))
  const lastAt = received.reduce((last, one) => (one.lastAt > last ? one.lastAt : last), 0n)
  const seconds = Number(lastAt - published.startedAt) / 1e9
  const peaks = await Promise.all(team.workers.map((worker) => worker.ask('usage', {})))
  const [publisherPeakBytes = 0, ...subscriberPeaks] = peaks.map(({ peakBytes }) => peakBytes)
  return {
    ...counted(phase),
    messagesPerSecond: everywhere > 0 ? everywhere / seconds : Number.NaN,
    ahead: published.ahead,
    publisherPeakBytes,
    subscriberPeakBytes: Math.max(...subscriberPeaks)
  }
}

async function measureLatency(
  team: Team,
  contender: Contender,
  cell: Cell,
  settings: CellSettings
): Promise<CellResult> {
  const { size, rate } = cell
  const pace = (durationMs: number, profile: string | undefined): PhaseInit => ({
    latencies: Math.floor((rate * durationMs) / 1000),
    profile,
    publish: () => team.publisher.ask('pace', { size, rate, durationMs })
  })
  await runPhase(team, pace(settings.warmUpMs, undefined))
  const phase = await runPhase(
    team,
    pace(settings.durationMs, profileName(settings, contender, cell))
  )
  return {
    ...counted(phase),
    latencyMs: summarize(reachedAll(phase)),
    publisherLagMs: summarize(phase.published.lag)
  }
}

/** For each message, when the last subscriber had it. */
function reachedAll({ published, received }: Phase): number[] {
  const latencies: number[] = []
  for (let sequence = 0; sequence < published.sent; sequence++) {
    const last = Math.max(...received.map((one) => one.latencies[sequence] ?? Number.NaN))
    if (!Number.isNaN(last)) latencies.push(last)
  }
  return latencies
}

function counted({ published, received, cpu }: Phase): CellResult {
  const deliveries = received.reduce((sum, { count }) => sum + count, 0)
  return {
    sent: published.sent,
    lost: published.sent * received.length - deliveries,
    duplicates: received.reduce((sum, { duplicates }) => sum + duplicates, 0),
    cpuSeconds: cpu,
    cpuPerMillion: perMillion(cpu, deliveries)
  }
}

function perMillion(cpu: Phase['cpu'], count: number): number {
  return ((cpu.publisher + cpu.subscribers + cpu.broker) / count) * 1e6
}

async function measureWindow(
  team: Team,
  contender: Contender,
  cell: Cell,
  settings: CellSettings
): Promise<CellResult> {
  const { publisher } = team
  const what = cell.workload === 'request' ? 'request' : 'durable'
  const order = { size: cell.size, window: cell.window }
  await publisher.ask(what, { ...order, durationMs: settings.warmUpMs })
  const name = profileName(settings, contender, cell)
  const { outcome, cpu } = await observed(team, name, () =>
    publisher.ask(what, { ...order, durationMs: settings.durationMs })
  )
  const { latencies, seconds } = outcome
  return {
    sent: latencies.length,
    messagesPerSecond: latencies.length / seconds,
    latencyMs: summarize(latencies),
    cpuSeconds: cpu,
    cpuPerMillion: perMillion(cpu, latencies.length)
  }
}

async function measureIdle(team: Team, settings: CellSettings): Promise<CellResult> {
  await sleep(IDLE_SETTLES_MS)
  const { cpu } = await observed(team, undefined, () => sleep(settings.durationMs))
  const usages = await Promise.all(team.workers.map((worker) => worker.ask('usage', {})))
  const nodes = usages.length
  return {
    idleBytes: median(usages.map(({ residentBytes }) => residentBytes)),
    idleCpu: (cpu.publisher + cpu.subscribers) / nodes / (settings.durationMs / 1000)
  }
}
