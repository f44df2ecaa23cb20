import { RecentCache } from './recent-cache.ts'
import { isHidden, parseFilter } from './topic.ts'

interface TrieNode<T> {
  /** By literal level. */
  readonly children: Map<string, TrieNode<T>>
  /** Below a `+`. */
  plus: TrieNode<T> | undefined
  /** Of filters that end here. */
  readonly values: Set<T>
  /** Of filters that end here with a `#`. */
  readonly rest: Set<T>
}

/** Topics whose matches are remembered between two changes. */
const CACHED_TOPICS = 4096

function createNode<T>(): TrieNode<T> {
  return { children: new Map(), plus: undefined, values: new Set(), rest: new Set() }
}

function isEmpty<T>(node: TrieNode<T>): boolean {
  const { children, plus, values, rest } = node
  return children.size === 0 && plus === undefined && values.size === 0 && rest.size === 0
}

/**
 * Values by topic filter. A match visits one node a level, two where a `+` is registered, however many filters
 * there are.
 */
export class TopicTrie<T> {
  readonly #root = createNode<T>()
  readonly #cache = new RecentCache<string, readonly T[]>(CACHED_TOPICS)
  #size = 0

  /** Pairs of filter and value held. */
  get size(): number {
    return this.#size
  }

  /** Adds `value` under `filter`; false when it is there already. Throws ERR_FILTER. */
  add(filter: string, value: T): boolean {
    const { levels } = parseFilter(filter)
    let node = this.#root
    for (const level of levels) {
      if (level === '#') break
      node = level === '+' ? (node.plus ??= createNode<T>()) : childOf(node, level)
    }
    const values = levels.at(-1) === '#' ? node.rest : node.values
    if (values.has(value)) return false
    values.add(value)
    this.#size++
    this.#cache.clear()
    return true
  }

  /** Takes `value` away from under `filter`; false when it was not there. Throws ERR_FILTER. */
  delete(filter: string, value: T): boolean {
    const { levels } = parseFilter(filter)
    const deleted = this.#delete(this.#root, levels, value)
    if (deleted) {
      this.#size--
      this.#cache.clear()
    }
    return deleted
  }

  /** Each value once whose filter matches `topic`, in no particular order. Shared: not to be changed. */
  match(topic: string): readonly T[] {
    const known = this.#cache.get(topic)
    if (known !== undefined) return known
    const found: T[] = []
    collect(this.#root, { topic, found, visible: !isHidden(topic) }, 0)
    const values = found.length > 1 ? [...new Set(found)] : found
    this.#cache.set(topic, values)
    return values
  }

  #delete(node: TrieNode<T>, levels: readonly string[], value: T, depth = 0): boolean {
    const level = levels[depth]
    if (level === undefined) return node.values.delete(value)
    if (level === '#') return node.rest.delete(value)
    const child = level === '+' ? node.plus : node.children.get(level)
    if (child === undefined || !this.#delete(child, levels, value, depth + 1)) return false
    if (isEmpty(child)) {
      if (level === '+') node.plus = undefined
      else node.children.delete(level)
    }
    return true
  }
}

interface Match<T> {
  readonly topic: string
  readonly found: T[]
  /** Wildcards may match the first level. */
  readonly visible: boolean
}

/** Gathers the values below `node` for the levels of the topic that begin at `start`. */
function collect<T>(node: TrieNode<T>, match: Match<T>, start: number): void {
  const { topic, found } = match
  const wild = start > 0 || match.visible
  if (wild) for (const value of node.rest) found.push(value)
  if (start > topic.length) {
    for (const value of node.values) found.push(value)
    return
  }
  const slash = topic.indexOf('/', start)
  const end = slash === -1 ? topic.length : slash
  if (wild && node.plus !== undefined) collect(node.plus, match, end + 1)
  const child = node.children.get(topic.slice(start, end))
  if (child !== undefined) collect(child, match, end + 1)
}

function childOf<T>(node: TrieNode<T>, level: string): TrieNode<T> {
  let child = node.children.get(level)
  if (child === undefined) {
    child = createNode<T>()
    node.children.set(level, child)
  }
  return child
}
