import { concreteScenario, withoutNodes } from '../scenario/concrete.ts'
import type { Fault, Scenario } from '../scenario/contract.ts'

export interface ShrinkOptions {
  /** Whose selections are kept while nodes disappear. Default: the scenario's own. */
  readonly seed?: number
  /** Candidates tried at most. Default 400. */
  readonly most?: number
  readonly signal?: AbortSignal
}

/** A shorter fault than this is not tried, ms. */
const SHORTEST_MS = 100

/**
 * A smaller scenario that still fails: without the faults, nodes and load that do not matter, and with shorter
 * faults and an earlier end. Each step is kept only if `fails` says so; what comes back fails, if `scenario` did.
 * All its selectors are names. Faults are dropped by delta debugging: halves first, then ever smaller parts.
 */
export async function shrink(
  scenario: Scenario,
  fails: (candidate: Scenario) => Promise<boolean>,
  { seed = scenario.seed, most = 400, signal }: ShrinkOptions = {}
): Promise<Scenario> {
  let left = most
  let best = concreteScenario(scenario, seed)
  const attempt = async (candidate: Scenario): Promise<boolean> => {
    if (left <= 0 || signal?.aborted === true) return false
    left--
    if (!(await fails(candidate))) return false
    best = candidate
    return true
  }
  for (let size = Infinity; sizeOf(best) < size && left > 0;) {
    size = sizeOf(best)
    await dropParts(
      () => best.faults,
      (faults) => attempt({ ...best, faults })
    )
    await dropParts(
      () => best.nodes.map(({ name }) => name),
      (names) => names.length > 0 && attempt(withOnly(best, names))
    )
    await dropParts(
      () => best.sends,
      (sends) => attempt({ ...best, sends })
    )
    await dropParts(
      () => best.publishers,
      (publishers) => attempt(relaxed({ ...best, publishers }))
    )
    await dropParts(
      () => best.subscriptions,
      (subscriptions) => attempt(relaxed({ ...best, subscriptions }))
    )
    await lessLoad(() => best, attempt)
    await shorterFaults(() => best, attempt)
    await earlierEnd(() => best, attempt)
  }
  return best
}

/** Counts that were exact for the whole are wrong for a part. */
function relaxed(scenario: Scenario): Scenario {
  return { ...scenario, expect: { ...scenario.expect, delivered: {} } }
}

function withOnly(scenario: Scenario, names: readonly string[]): Scenario {
  const gone = scenario.nodes.map(({ name }) => name).filter((name) => !names.includes(name))
  return withoutNodes(scenario, new Set(gone))
}

/** Takes away halves, quarters and so on down to single items, and starts over with what is left. */
async function dropParts<T>(
  current: () => readonly T[],
  attempt: (rest: readonly T[]) => Promise<boolean> | false
): Promise<void> {
  let parts = 1
  while (current().length > 0) {
    const items = current()
    parts = Math.min(parts, items.length)
    const length = Math.ceil(items.length / parts)
    let dropped = false
    for (let start = 0; start < items.length && !dropped; start += length) {
      dropped = await attempt([...items.slice(0, start), ...items.slice(start + length)])
    }
    if (dropped) parts = Math.max(1, parts - 1)
    else if (parts >= items.length) return
    else parts *= 2
  }
}

type Attempt = (candidate: Scenario) => Promise<boolean>

async function lessLoad(current: () => Scenario, attempt: Attempt): Promise<void> {
  for (let i = 0; i < current().publishers.length; i++) {
    const halve = (): Promise<boolean> => {
      const publishers = current().publishers.map((load, place) =>
        place === i ? { ...load, perSecond: Math.max(1, Math.floor(load.perSecond / 2)) } : load
      )
      return attempt(relaxed({ ...current(), publishers }))
    }
    while ((current().publishers[i]?.perSecond ?? 1) > 1 && (await halve()));
  }
}

async function shorterFaults(current: () => Scenario, attempt: Attempt): Promise<void> {
  for (let i = 0; i < current().faults.length; i++) {
    const halve = (): Promise<boolean> => {
      const faults = current().faults.map((fault, place) => (place === i ? halved(fault) : fault))
      return attempt({ ...current(), faults })
    }
    while ((current().faults[i]?.forMs ?? 0) >= 2 * SHORTEST_MS && (await halve()));
  }
}

function halved(fault: Fault): Fault {
  if (fault.forMs === undefined) return fault
  return { ...fault, forMs: Math.round(fault.forMs / 2 / SHORTEST_MS) * SHORTEST_MS }
}

async function earlierEnd(current: () => Scenario, attempt: Attempt): Promise<void> {
  const halve = (): Promise<boolean> => {
    const scenario = current()
    const last = Math.max(0, ...scenario.faults.map(({ atMs, forMs }) => atMs + (forMs ?? 0)))
    const endMs = Math.max(last + SHORTEST_MS, Math.round(scenario.endMs / 2))
    return endMs < scenario.endMs
      ? attempt(relaxed(endedAt(scenario, endMs)))
      : Promise.resolve(false)
  }
  while (await halve());
}

/** Load that would begin after the end has no place any more. */
function endedAt(scenario: Scenario, endMs: number): Scenario {
  const cut = <T extends { readonly fromMs: number; readonly untilMs: number }>(
    loads: readonly T[]
  ): T[] =>
    loads
      .filter(({ fromMs }) => fromMs < endMs)
      .map((load) => ({ ...load, untilMs: Math.min(load.untilMs, endMs) }))
  return { ...scenario, endMs, publishers: cut(scenario.publishers), sends: cut(scenario.sends) }
}

/** Goes down with every step that was kept, so the search ends. */
function sizeOf({ endMs, faults, nodes, publishers, sends, subscriptions }: Scenario): number {
  const load = publishers.reduce((sum, { perSecond }) => sum + perSecond, 0)
  const lasting = faults.reduce((sum, { forMs }) => sum + (forMs ?? 0), 0)
  const things =
    faults.length + nodes.length + publishers.length + subscriptions.length + sends.length
  return things * 1e9 + load * 1e6 + lasting + endMs
}
