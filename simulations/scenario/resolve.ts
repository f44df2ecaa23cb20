import { isSkeinError } from '../../src/core/errors.ts'
import { parseFilter, parseTopic } from '../../src/wire/topic.ts'
import type { Fault, NodeSelector, Scenario, ScenarioNode, SubscriptionLoad } from './contract.ts'
import type { RawNode, RawScenario, RawSubscription } from './schema.ts'
import { selectorProblem } from './selectors.ts'
import { fillTopic } from './topic-pattern.ts'

/** Something wrong in a scenario that one value alone does not show. */
export interface Problem {
  readonly path: ReadonlyArray<string | number>
  readonly what: string
}

/** Makes the scenario of what was read, and tells what does not fit together. */
export function resolveScenario(
  raw: RawScenario,
  fallbackName: string
): { scenario: Scenario; problems: readonly Problem[] } {
  const nodes = resolveNodes(raw.nodes)
  const endMs = raw.end
  const { publishers, subscriptions, sends } = raw.workload
  const scenario: Scenario = {
    name: raw.name ?? fallbackName,
    description: raw.description,
    seed: raw.seed,
    tiers: raw.tier,
    nodes,
    network: {
      latencyMs: raw.network.latency,
      jitterMs: raw.network.jitter,
      bytesPerSecond: raw.network.bandwidth,
      announcements: raw.network.announcements
    },
    publishers: publishers.map(({ from, until, rate, ttl, ...load }) => ({
      nodes: load.nodes,
      topic: load.topic,
      perSecond: rate,
      size: load.size,
      fromMs: from,
      untilMs: until ?? endMs,
      confirm: load.confirm,
      ttlMs: ttl,
      key: load.key
    })),
    subscriptions: subscriptions.map(resolveSubscription),
    sends: sends.map((load) => ({
      from: load.from,
      to: load.to,
      topic: load.topic,
      perSecond: load.rate,
      size: load.size,
      fromMs: load.starts,
      untilMs: load.until ?? endMs,
      custodians: load.custodians,
      ttlMs: load.ttl
    })),
    faults: raw.timeline.toSorted((a, b) => a.atMs - b.atMs),
    endMs,
    leave: raw.leave,
    drainMs: raw.drain,
    expect: {
      noLoss: raw.expect.noLoss,
      noDuplicates: raw.expect.noDuplicates,
      publisherOrder: raw.expect.publisherOrder,
      gapsTold: raw.expect.gapsTold,
      groups: raw.expect.groups,
      inbox: raw.expect.inbox,
      convergeWithinMs: raw.expect.converge?.within,
      memoryPerNodeBytes: raw.expect.memory?.perNode,
      delivered: raw.expect.delivered
    }
  }
  return { scenario, problems: [...findProblems(raw, scenario)] }
}

/** Unnamed nodes are n1, n2, ...; those of a named group of several have a number behind the name. */
function resolveNodes(raw: readonly RawNode[]): ScenarioNode[] {
  let unnamed = 0
  return raw.flatMap(({ name, count, joins, clockSkew, disk, ...rest }) =>
    Array.from({ length: count ?? 1 }, (_, i) => ({
      name: name === undefined ? `n${++unnamed}` : count === undefined ? name : `${name}${i + 1}`,
      joinMs: joins,
      keep: rest.keep,
      custodian: rest.custodian,
      clockSkewMs: clockSkew,
      retention: rest.retention,
      disk: { kind: disk.kind, sizeBytes: disk.size }
    }))
  )
}

function resolveSubscription(raw: RawSubscription): SubscriptionLoad {
  return {
    label: raw.label ?? raw.durable ?? raw.group ?? raw.filter,
    nodes: raw.nodes,
    filter: raw.filter,
    durable: raw.durable,
    group: raw.group,
    majority: raw.majority,
    from: raw.from,
    reading: raw.ack,
    fromMs: raw.opens,
    untilMs: raw.closes,
    onGap: raw.onGap
  }
}

function* findProblems(raw: RawScenario, scenario: Scenario): Generator<Problem> {
  yield* nodeProblems(scenario.nodes)
  yield* workloadProblems(scenario)
  yield* timelineProblems(raw, scenario)
  const labels = [...new Set(scenario.subscriptions.map(({ label }) => label)), 'total']
  for (const label of Object.keys(scenario.expect.delivered)) {
    if (labels.includes(label)) continue
    const what = `no subscription is called '${label}'; allowed are ${labels.join(', ')}`
    yield { path: ['expect', 'delivered', label], what }
  }
}

function* nodeProblems(nodes: readonly ScenarioNode[]): Generator<Problem> {
  const seen = new Set<string>()
  for (const { keep, name } of nodes) {
    if (seen.has(name)) yield { path: ['nodes'], what: `have the name '${name}' twice` }
    seen.add(name)
    for (const filter of keep) yield* grammar(['nodes'], () => parseFilter(filter))
  }
}

function* workloadProblems(scenario: Scenario): Generator<Problem> {
  const { endMs, publishers, sends, subscriptions } = scenario
  for (const [i, load] of publishers.entries()) {
    const path = ['workload', 'publishers', i]
    yield* terms([...path, 'nodes'], load.nodes, scenario)
    yield* grammar([...path, 'topic'], () => parseTopic(fillTopic(load.topic, 'n1', 1)))
    yield* span(path, load, endMs)
  }
  for (const [i, load] of subscriptions.entries()) {
    const path = ['workload', 'subscriptions', i]
    yield* terms([...path, 'nodes'], load.nodes, scenario)
    yield* grammar([...path, 'filter'], () => parseFilter(load.filter))
    if (load.durable !== undefined && load.group !== undefined) {
      yield { path: [...path, 'group'], what: "cannot stand beside 'durable'" }
    }
    if (load.majority !== undefined && load.group === undefined) {
      yield { path: [...path, 'majority'], what: "needs a 'group'" }
    }
  }
  for (const [i, load] of sends.entries()) {
    const path = ['workload', 'sends', i]
    yield* terms([...path, 'from'], load.from, scenario)
    yield* terms([...path, 'to'], load.to, scenario)
    yield* grammar([...path, 'topic'], () => parseTopic(fillTopic(load.topic, 'n1', 1)))
    yield* span(path, load, endMs)
  }
}

function* timelineProblems(raw: RawScenario, scenario: Scenario): Generator<Problem> {
  for (const [i, fault] of raw.timeline.entries()) {
    const path = ['timeline', i]
    if (fault.atMs >= scenario.endMs) {
      yield { path: [...path, 'at'], what: 'comes at or after the end of the scenario' }
    }
    for (const selector of selectorsOf(fault)) yield* terms(path, selector, scenario)
  }
}

/** Every selector that a fault names. */
export function selectorsOf(fault: Fault): readonly NodeSelector[] {
  if ('nodes' in fault) return [fault.nodes]
  const { links } = fault
  if (links.kind === 'all') return []
  return links.kind === 'of' ? [links.nodes] : links.groups
}

function* terms(
  path: Problem['path'],
  selector: NodeSelector,
  { nodes }: Scenario
): Generator<Problem> {
  const names = nodes.map(({ name }) => name)
  for (const term of selector) {
    const what = selectorProblem(term, names)
    if (what !== undefined) yield { path, what }
  }
}

function* span(
  path: Problem['path'],
  { fromMs, untilMs }: { fromMs: number; untilMs: number },
  endMs: number
): Generator<Problem> {
  if (untilMs <= fromMs) yield { path, what: 'ends before it begins' }
  if (untilMs > endMs) {
    yield { path: [...path, 'until'], what: 'is after the end of the scenario' }
  }
}

function* grammar(path: Problem['path'], parse: () => unknown): Generator<Problem> {
  try {
    parse()
  } catch (error) {
    if (!isSkeinError(error)) throw error
    yield { path, what: `is wrong: ${error.message}` }
  }
}
