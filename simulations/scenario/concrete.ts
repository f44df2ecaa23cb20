import type { Fault, LinkScope, Scenario } from './contract.ts'
import { faultSeed } from './schedule.ts'
import { selectGroups, selectNodes } from './selectors.ts'

/**
 * The same scenario with every selector replaced by names, as the seed selects: nodes can then be taken away without
 * changing what the faults hit.
 */
export function concreteScenario(scenario: Scenario, seed: number): Scenario {
  const select = (nodes: readonly string[]): string[] => selectNodes(nodes, scenario, { seed })
  return {
    ...scenario,
    seed,
    publishers: scenario.publishers.map((load) => ({ ...load, nodes: select(load.nodes) })),
    subscriptions: scenario.subscriptions.map((load) => ({ ...load, nodes: select(load.nodes) })),
    sends: scenario.sends.map((load) => ({
      ...load,
      from: select(load.from),
      to: select(load.to)
    })),
    faults: scenario.faults.map((fault, place) =>
      concreteFault(fault, scenario, faultSeed(seed, place))
    )
  }
}

function concreteFault(fault: Fault, scenario: Scenario, seed: number): Fault {
  if (!('links' in fault)) return { ...fault, nodes: selectNodes(fault.nodes, scenario, { seed }) }
  const { links } = fault
  const scope: LinkScope =
    links.kind === 'all'
      ? links
      : links.kind === 'of'
        ? { kind: 'of', nodes: selectNodes(links.nodes, scenario, { seed }) }
        : { kind: 'between', groups: selectGroups(links.groups, scenario, seed) }
  return { ...fault, links: scope }
}

/**
 * The scenario without some of its nodes, and without what that leaves empty. Selectors must be names, see
 * `concreteScenario`.
 */
export function withoutNodes(scenario: Scenario, gone: ReadonlySet<string>): Scenario {
  const keep = (nodes: readonly string[]): string[] => nodes.filter((name) => !gone.has(name))
  const some = (nodes: readonly string[]): boolean => nodes.length > 0
  return {
    ...scenario,
    nodes: scenario.nodes.filter(({ name }) => !gone.has(name)),
    publishers: scenario.publishers
      .map((load) => ({ ...load, nodes: keep(load.nodes) }))
      .filter(({ nodes }) => some(nodes)),
    subscriptions: scenario.subscriptions
      .map((load) => ({ ...load, nodes: keep(load.nodes) }))
      .filter(({ nodes }) => some(nodes)),
    sends: scenario.sends
      .map((load) => ({ ...load, from: keep(load.from), to: keep(load.to) }))
      .filter(({ from, to }) => some(from) && some(to)),
    faults: scenario.faults.flatMap((fault) => faultWithout(fault, keep)),
    expect: { ...scenario.expect, delivered: {} }
  }
}

function faultWithout(fault: Fault, keep: (nodes: readonly string[]) => string[]): Fault[] {
  if (!('links' in fault)) {
    const nodes = keep(fault.nodes)
    return nodes.length === 0 ? [] : [{ ...fault, nodes }]
  }
  const { links } = fault
  if (links.kind === 'all') return [fault]
  if (links.kind === 'of') {
    const nodes = keep(links.nodes)
    return nodes.length === 0 ? [] : [{ ...fault, links: { kind: 'of', nodes } }]
  }
  const groups = links.groups.map((group) => keep(group)).filter((group) => group.length > 0)
  return groups.length < 2 ? [] : [{ ...fault, links: { kind: 'between', groups } }]
}
