import { SkeinError } from '../../src/core/errors.ts'
import type { NodeSelector, Scenario } from './contract.ts'
import { selectorsOf } from './resolve.ts'
import { selectorProblem } from './selectors.ts'

/**
 * The scenario with so many nodes, n1 to n<count>; further ones are like the last. Counts of deliveries that it expects
 * are for other nodes, and left out. Throws ERR_SCENARIO where nodes have names of their own, or a fault or load
 * names one that there is no more.
 */
export function withNodes(scenario: Scenario, count: number): Scenario {
  const { expect, name, nodes } = scenario
  const last = nodes.at(-1)
  if (last === undefined || nodes.some((node, i) => node.name !== `n${i + 1}`)) {
    throw wrong(`scenario '${name}' names its nodes: change their number in its file`)
  }
  const resized = Array.from(
    { length: count },
    (_, i) => nodes[i] ?? { ...last, name: `n${i + 1}` }
  )
  const names = resized.map((node) => node.name)
  for (const term of termsOf(scenario)) {
    const problem = selectorProblem(term, names)
    if (problem !== undefined) throw wrong(`scenario '${name}' with ${count} nodes: it ${problem}`)
  }
  return { ...scenario, nodes: resized, expect: { ...expect, delivered: {} } }
}

function termsOf({ faults, publishers, sends, subscriptions }: Scenario): readonly string[] {
  const selectors: NodeSelector[] = [...publishers, ...subscriptions].map(({ nodes }) => nodes)
  for (const { from, to } of sends) selectors.push(from, to)
  for (const fault of faults) selectors.push(...selectorsOf(fault))
  return selectors.flat()
}

function wrong(message: string): SkeinError {
  return new SkeinError('ERR_SCENARIO', message, {
    details: { file: '', line: 0, column: 0, path: 'nodes', problems: [message] }
  })
}
