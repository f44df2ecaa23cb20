import { SkeinError } from '../../src/core/errors.ts'
import type { Random } from '../../src/core/random.ts'
import type { Life, RunNode } from './contract.ts'

/** Something that happens on one node, in each of its lives. */
export interface Occupant {
  /** A life of the node is open for work. */
  up(life: Life): void
  /** The life has ended, in whatever way. */
  down(): void
}

/** The nodes of a run and what happens on each. */
export class Population<Node extends RunNode = RunNode> {
  readonly nodes = new Map<string, Node>()
  readonly #joined = new Set<string>()
  readonly #occupants = new Map<string, Occupant[]>()

  add(node: Node): void {
    this.nodes.set(node.name, node)
    this.#occupants.set(node.name, [])
  }

  node(name: string): Node {
    const node = this.nodes.get(name)
    if (node === undefined) throw new SkeinError('ERR_SCENARIO', `there is no node '${name}'`)
    return node
  }

  /** The node, if it takes part by now: what is done to one that has not joined has no effect. */
  present(name: string): Node | undefined {
    return this.#joined.has(name) ? this.nodes.get(name) : undefined
  }

  join(name: string): void {
    this.#joined.add(name)
    this.node(name).start()
  }

  /** Of one that is open for work already, too. */
  occupy(name: string, occupant: Occupant): void {
    this.#occupants.get(name)?.push(occupant)
    const { life } = this.node(name)
    if (life !== undefined) occupant.up(life)
  }

  up(name: string, life: Life): void {
    for (const occupant of this.#occupants.get(name) ?? []) occupant.up(life)
  }

  down(name: string): void {
    for (const occupant of this.#occupants.get(name) ?? []) occupant.down()
  }
}

/** An independent generator's seed for the part of a run that the words name. */
export function partSeed(seed: number, ...words: readonly (string | number)[]): number {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  for (const char of words.join('/'))
    hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193)
  hash ^= hash >>> 16
  return Math.imul(hash, 0xc2b2ae35) >>> 0
}

/** A size between two, both included. */
export function drawSize(random: Random, { max, min }: { min: number; max: number }): number {
  return min + (max > min ? random.int(max - min + 1) : 0)
}
