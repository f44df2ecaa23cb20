import { SkeinError } from '../../src/core/errors.ts'
import type { FaultKind, Scenario, ScenarioNode, Tier } from '../scenario/contract.ts'
import type { RunInit } from './contract.ts'

/** What real processes cannot be made to suffer, and why. */
const NOT_REAL: Readonly<Partial<Record<FaultKind, string>>> = {
  loss: 'TCP hides it',
  duplicate: 'TCP hides it',
  reorder: 'TCP hides it',
  'lose-unsynced-writes': 'the operating system keeps what a process has written',
  'torn-tail': 'the operating system keeps what a process has written',
  'clock-skew': 'all processes have the clock of this machine',
  'disk-full': 'all processes have the disk of this machine',
  'slow-disk': 'all processes have the disk of this machine',
  corrupt: 'its files belong to a running store'
}

/** How long a run takes, in its own time. */
export function totalMsOf({ drainMs, endMs }: Scenario): number {
  return endMs + drainMs
}

/** Throws ERR_SCENARIO for what the tier cannot do, ERR_OPTIONS for a handler that no subscription asks for. */
export function assertRunnable({ handlers = {}, scenario }: RunInit, tier: Tier): void {
  const { name, subscriptions, tiers } = scenario
  const why =
    (tier === 'real' ? notReal(scenario) : undefined) ??
    (tiers.includes(tier)
      ? undefined
      : `it is not made for this tier: it says 'tier: [${tiers.join(', ')}]', not '${tier}'`)
  if (why !== undefined) throw new SkeinError('ERR_SCENARIO', `scenario '${name}': ${why}`)
  const labels = [...new Set(subscriptions.map(({ label }) => label))]
  const unknown = Object.keys(handlers).find((label) => !labels.includes(label))
  if (unknown === undefined) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `handlers: no subscription has the label '${unknown}'; there are ${labels.join(', ')}`,
    { details: { option: 'handlers' } }
  )
}

function notReal({ faults, network, nodes }: Scenario): string | undefined {
  const fault = faults.find(({ kind }) => NOT_REAL[kind] !== undefined)
  if (fault !== undefined) {
    const why = NOT_REAL[fault.kind] ?? ''
    return `the fault '${fault.kind}' at ${fault.atMs / 1000} s cannot be injected into real processes: ${why}`
  }
  if (network.announcements === 'neighbours') {
    return `'announcements: neighbours' cannot be had of real processes: they announce themselves to the whole mesh`
  }
  const broken = nodes.map(nodeProblem).find((problem) => problem !== undefined)
  return broken === undefined ? undefined : `${broken} cannot be given to a real process`
}

function nodeProblem({ clockSkewMs, disk, name }: ScenarioNode): string | undefined {
  if (clockSkewMs !== 0) return `'clockSkew' of node '${name}'`
  if (disk.sizeBytes !== undefined) return `the disk size of node '${name}'`
  return undefined
}
