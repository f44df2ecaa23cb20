import { Document } from 'yaml'
import type {
  Fault,
  LinkScope,
  NodeSelector,
  PublisherLoad,
  Reading,
  Scenario,
  ScenarioNode,
  SendLoad,
  SizeRange,
  SubscriptionLoad
} from './contract.ts'
import { formatBandwidth, formatBytes, formatDuration, formatShare } from './units.ts'

type Fields = Record<string, unknown>

/** Longer lines are hard to compare; one fault or load still stands on one line. */
const LINE_WIDTH = 160

/** The scenario as YAML that `parseScenario` reads to the same scenario. `comment` stands above it. */
export function formatScenario(scenario: Scenario, comment?: string): string {
  const { endMs, expect, network } = scenario
  const fields = compact({
    name: scenario.name,
    description: scenario.description,
    seed: scenario.seed,
    tier: scenario.tiers,
    nodes: nodesFields(scenario.nodes),
    network: compact({
      latency: formatDuration(network.latencyMs),
      jitter: formatDuration(network.jitterMs),
      bandwidth: network.bytesPerSecond && formatBandwidth(network.bytesPerSecond),
      announcements: network.announcements === 'neighbours' ? 'neighbours' : undefined
    }),
    workload: {
      publishers: scenario.publishers.map((load) => publisherFields(load, endMs)),
      subscriptions: scenario.subscriptions.map(subscriptionFields),
      sends: scenario.sends.map((load) => sendFields(load, endMs))
    },
    timeline: scenario.faults.map(faultFields),
    end: formatDuration(endMs),
    leave: scenario.leave || undefined,
    drain: formatDuration(scenario.drainMs),
    expect: compact({
      noLoss: expect.noLoss,
      noDuplicates: expect.noDuplicates && { allow: expect.noDuplicates.allow },
      publisherOrder: expect.publisherOrder,
      gapsTold: expect.gapsTold,
      groups: expect.groups,
      inbox: expect.inbox,
      converge: expect.convergeWithinMs && { within: formatDuration(expect.convergeWithinMs) },
      memory: expect.memoryPerNodeBytes && { perNode: formatBytes(expect.memoryPerNodeBytes) },
      delivered: Object.keys(expect.delivered).length > 0 ? expect.delivered : undefined
    })
  })
  const document = new Document(fields)
  for (const path of ['nodes', 'timeline', 'tier', 'network', 'expect.noDuplicates']) {
    flowItems(document, path.split('.'))
  }
  for (const list of ['publishers', 'subscriptions', 'sends'])
    flowItems(document, ['workload', list])
  if (comment !== undefined) document.commentBefore = comment.replace(/^/gm, ' ')
  return document.toString({ lineWidth: LINE_WIDTH, flowCollectionPadding: true })
}

/** Each item of a list, or the map itself, on one line. */
function flowItems(document: Document, path: readonly string[]): void {
  const node = document.getIn(path, true)
  if (typeof node !== 'object' || node === null || !('items' in node)) return
  const items = node.items as { flow?: boolean }[]
  const isList = path[0] === 'nodes' || path[0] === 'timeline' || path[0] === 'workload'
  if (isList) for (const item of items) item.flow = true
  if (!isList || items.length === 0) (node as { flow?: boolean }).flow = true
}

/** A number where every node is as it is by default and has the default name. */
function nodesFields(nodes: readonly ScenarioNode[]): number | (string | Fields)[] {
  const list = nodes.map((node) => {
    const fields = nodeFields(node)
    return Object.keys(fields).length === 1 ? node.name : fields
  })
  return list.every((entry, i) => entry === `n${i + 1}`) ? nodes.length : list
}

function nodeFields(node: ScenarioNode): Fields {
  const { maxAgeMs, ...limits } = node.retention
  const retention = compact({ maxAge: maxAgeMs && formatDuration(maxAgeMs), ...limits })
  const { kind, sizeBytes } = node.disk
  return compact({
    name: node.name,
    joins: node.joinMs === 0 ? undefined : formatDuration(node.joinMs),
    keep: node.keep.length > 0 ? node.keep : undefined,
    custodian: node.custodian,
    clockSkew: node.clockSkewMs === 0 ? undefined : formatDuration(node.clockSkewMs),
    retention: Object.keys(retention).length > 0 ? retention : undefined,
    disk:
      kind === 'disk' && sizeBytes === undefined
        ? undefined
        : compact({ kind, size: sizeBytes && formatBytes(sizeBytes) })
  })
}

function publisherFields(load: PublisherLoad, endMs: number): Fields {
  const { confirm } = load
  return compact({
    nodes: terms(load.nodes),
    topic: load.topic,
    rate: load.perSecond,
    size: sizeField(load.size),
    from: formatDuration(load.fromMs),
    until: load.untilMs === endMs ? undefined : formatDuration(load.untilMs),
    confirm:
      typeof confirm === 'string'
        ? confirm
        : { replicas: confirm.replicas, timeout: formatDuration(confirm.timeoutMs) },
    ttl: load.ttlMs && formatDuration(load.ttlMs),
    key: load.key
  })
}

function subscriptionFields(load: SubscriptionLoad): Fields {
  const usual = load.durable ?? load.group ?? load.filter
  return compact({
    label: load.label === usual ? undefined : load.label,
    nodes: terms(load.nodes),
    filter: load.filter,
    durable: load.durable,
    group: load.group,
    majority: load.majority,
    from: load.from,
    ack: readingField(load.reading),
    opens: load.fromMs === 0 ? undefined : formatDuration(load.fromMs),
    closes: load.untilMs === undefined ? undefined : formatDuration(load.untilMs),
    onGap: load.onGap === 'wait' ? undefined : load.onGap
  })
}

function sendFields(load: SendLoad, endMs: number): Fields {
  return compact({
    from: terms(load.from),
    to: terms(load.to),
    topic: load.topic,
    rate: load.perSecond,
    size: sizeField(load.size),
    starts: formatDuration(load.fromMs),
    until: load.untilMs === endMs ? undefined : formatDuration(load.untilMs),
    custodians: load.custodians || undefined,
    ttl: load.ttlMs && formatDuration(load.ttlMs)
  })
}

function readingField(reading: Reading): unknown {
  if (reading.kind === 'auto') return undefined
  if (reading.kind === 'slow') return { slow: reading.perSecond }
  const { atMs, resumeMs } = reading
  return compact({
    stop: formatDuration(atMs),
    resume: resumeMs === undefined ? undefined : formatDuration(resumeMs)
  })
}

function faultFields(fault: Fault): Fields {
  const at = formatDuration(fault.atMs)
  const lasts = fault.forMs === undefined ? undefined : formatDuration(fault.forMs)
  if (!('links' in fault)) {
    return compact({ at, [fault.kind]: terms(fault.nodes), ...nodeAmounts(fault), for: lasts })
  }
  const { kind } = fault
  const direction = fault.direction === 'both' ? undefined : fault.direction
  const scope = scopeFields(fault.links)
  if (kind === 'partition' || kind === 'isolate') {
    return compact({ at, [kind]: scope.between ?? scope.nodes, for: lasts, direction })
  }
  if (kind === 'flap') {
    const [down, up] = [formatDuration(fault.downMs), formatDuration(fault.upMs)]
    return compact({ at, flap: scope.between, down, up, for: lasts, direction })
  }
  return compact({
    at,
    [kind]: linkAmount(fault),
    ...linkExtra(fault),
    ...scope,
    for: lasts,
    direction
  })
}

function nodeAmounts(fault: Extract<Fault, { nodes: NodeSelector }>): Fields {
  if (fault.kind === 'restart') return { down: formatDuration(fault.downMs) }
  if (fault.kind === 'clock-skew') return { by: formatDuration(fault.byMs) }
  if (fault.kind === 'slow-disk') return { by: formatDuration(fault.latencyMs) }
  return fault.kind === 'corrupt' ? { bits: fault.bits } : {}
}

function linkAmount(fault: Fault): unknown {
  if (fault.kind === 'latency') return formatDuration(fault.latencyMs)
  if (fault.kind === 'bandwidth') return formatBandwidth(fault.bytesPerSecond)
  return 'perMillion' in fault ? formatShare(fault.perMillion) : undefined
}

function linkExtra(fault: Fault): Fields {
  if (fault.kind === 'latency') return { jitter: formatDuration(fault.jitterMs) }
  return fault.kind === 'reorder' ? { by: formatDuration(fault.byMs) } : {}
}

function scopeFields(scope: LinkScope): { nodes?: unknown; between?: unknown } {
  if (scope.kind === 'all') return {}
  if (scope.kind === 'of') return { nodes: terms(scope.nodes) }
  return { between: scope.groups.map((group) => (group.length === 1 ? terms(group) : [...group])) }
}

/** One term alone needs no brackets; numbers as text would be read as names of places, which is the same. */
function terms(selector: NodeSelector): string | string[] {
  return selector.length === 1 ? (selector[0] ?? '') : [...selector]
}

function sizeField({ max, min }: SizeRange): unknown {
  return min === max ? formatBytes(min) : [formatBytes(min), formatBytes(max)]
}

/** Without what is undefined. */
function compact(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
