import { isSkeinError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { parseFilter, topicMatches } from '../../src/wire/topic.ts'
import type { NodeSelector, PublisherLoad, ScenarioNode } from './contract.ts'

/** What a selector's terms are resolved against. */
export interface Population {
  readonly nodes: readonly Pick<ScenarioNode, 'name'>[]
  readonly publishers: readonly Pick<PublisherLoad, 'nodes' | 'topic'>[]
}

/** What a term may be, for error messages. */
export const SELECTOR_ALLOWED =
  "a node name, a number from 1, a range 'n1..n3', 'half', 'all', 'rest', 'random:2' or 'publisher:<topic>'"

/** Says what is wrong with a term; undefined when it is good. */
export function selectorProblem(term: string, names: readonly string[]): string | undefined {
  const { kind, text, last } = readTerm(term, names)
  if (kind === 'random') {
    const count = Number(text)
    const wrong = !Number.isInteger(count) || count < 1 || count > names.length
    return wrong ? `has 'random:', which takes a number from 1 to ${names.length}` : undefined
  }
  if (kind === 'publisher') return filterProblem(text)
  if (kind !== 'node') return undefined
  const [from, to] = [placeOf(text, names), placeOf(last, names)]
  if (from === -1 || to === -1) {
    return `names '${from === -1 ? text : last}', which is no node; there ${shortList(names)}`
  }
  return to < from ? `has the range '${term}', which runs backwards` : undefined
}

/**
 * The names of the selected nodes, each once, in the order of the scenario. `seed` decides `random:`; `taken` are
 * the nodes that `rest` leaves out.
 */
export function selectNodes(
  selector: NodeSelector,
  population: Population,
  { seed, taken = [] }: { seed: number; taken?: Iterable<string> }
): string[] {
  const names = population.nodes.map(({ name }) => name)
  const chosen = new Set<string>()
  selector.forEach((term, position) => {
    for (const name of termNodes(term, population, { names, seed: seed + position })) {
      chosen.add(name)
    }
  })
  if (selector.includes('rest')) {
    const others = new Set([...taken, ...chosen])
    for (const name of names) if (!others.has(name)) chosen.add(name)
  }
  return names.filter((name) => chosen.has(name))
}

/**
 * Groups of nodes that stand against each other. A single group stands against all other nodes; a node keeps to the
 * first group that names it.
 */
export function selectGroups(
  groups: readonly NodeSelector[],
  population: Population,
  seed: number
): string[][] {
  const taken = new Set<string>()
  const all = groups.length === 1 ? [...groups, ['rest']] : groups
  return all
    .map((selector, position) => {
      const options = { seed: seed + position * 1009, taken }
      const group = selectNodes(selector, population, options).filter((name) => !taken.has(name))
      for (const name of group) taken.add(name)
      return group
    })
    .filter((group) => group.length > 0)
}

type TermKind = 'all' | 'half' | 'rest' | 'random' | 'publisher' | 'node'

/** A node may be called 'half': an exact name wins over the words. */
function readTerm(
  term: string,
  names: readonly string[]
): { kind: TermKind; text: string; last: string } {
  if (!names.includes(term)) {
    if (term === 'all' || term === 'half' || term === 'rest')
      return { kind: term, text: '', last: '' }
    const colon = term.indexOf(':')
    const word = term.slice(0, Math.max(0, colon))
    if (word === 'random' || word === 'publisher') {
      return { kind: word, text: term.slice(colon + 1), last: '' }
    }
    const [from = '', to] = term.split('..')
    if (to !== undefined) return { kind: 'node', text: from, last: to }
  }
  return { kind: 'node', text: term, last: term }
}

function termNodes(
  term: string,
  population: Population,
  { names, seed }: { names: readonly string[]; seed: number }
): readonly string[] {
  const { kind, text, last } = readTerm(term, names)
  switch (kind) {
    case 'all':
      return names
    case 'half':
      return names.slice(0, Math.floor(names.length / 2))
    case 'rest':
      return []
    case 'random':
      return shuffled(names, seed).slice(0, Number(text))
    case 'publisher':
      return population.publishers
        .filter(({ topic }) => mayPublish(topic, text))
        .flatMap(({ nodes }) => selectNodes(nodes, population, { seed }))
    case 'node':
      return names.slice(placeOf(text, names), placeOf(last, names) + 1)
  }
}

function shuffled(names: readonly string[], seed: number): string[] {
  const random = seededRandom(seed)
  const order = [...names]
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.int(i + 1)
    const [a = '', b = ''] = [order[i], order[j]]
    order[i] = b
    order[j] = a
  }
  return order
}

/** Placeholders stand for one level or a part of it, so a level that has one may be anything. */
function mayPublish(pattern: string, filter: string): boolean {
  const levels = pattern.split('/')
  const wanted = filter.split('/')
  const filled = levels.map((level, i) => {
    const wish = wanted[i]
    return level.includes('{') && wish !== undefined && !/[+#]/.test(wish) ? wish : level
  })
  return topicMatches(filter, filled.join('/'))
}

function filterProblem(filter: string): string | undefined {
  try {
    parseFilter(filter)
    return undefined
  } catch (error) {
    if (isSkeinError(error, 'ERR_FILTER')) return `is wrong: ${error.message}`
    throw error
  }
}

/** A name, or a place counted from 1. */
function placeOf(text: string, names: readonly string[]): number {
  const place = names.indexOf(text)
  if (place !== -1 || !/^\d+$/.test(text)) return place
  const number = Number(text)
  return number >= 1 && number <= names.length ? number - 1 : -1
}

function shortList(names: readonly string[]): string {
  return names.length <= 6 ? `are ${names.join(', ')}` : `are ${names[0]} to ${names.at(-1)}`
}
