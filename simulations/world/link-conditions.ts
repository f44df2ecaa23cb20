import type { Impairment, LinkSet } from '../scenario/step.ts'

/** What bytes from one node to another meet with. Whole numbers. */
export interface LinkConditions {
  /** Nothing gets through. */
  readonly cut: boolean
  readonly latencyUs: number
  /** Up to so much is added. */
  readonly jitterUs: number
  /** Of packets. */
  readonly lossPerMillion: number
  /** Of frames, as if they had come by another neighbour too. */
  readonly duplicatePerMillion: number
  /** Of frames, as if they had come by a slower neighbour. */
  readonly reorderPerMillion: number
  readonly reorderUs: number
  readonly bytesPerSecond: number | undefined
}

const MILLION = 1_000_000
/** With more loss than this no connection lives. */
const HOPELESS_LOSS = 900_000

type Matcher = (from: string, to: string) => boolean

/** All impairments of a network, and what they make of a link. Nodes are called by name. */
export class Impairments {
  readonly #base: LinkConditions
  readonly #active = new Map<number, { readonly hits: Matcher; readonly impairment: Impairment }>()
  #version = 0

  constructor(base: { latencyMs: number; jitterMs: number; bytesPerSecond: number | undefined }) {
    this.#base = {
      cut: false,
      latencyUs: Math.round(base.latencyMs * 1000),
      jitterUs: Math.round(base.jitterMs * 1000),
      lossPerMillion: 0,
      duplicatePerMillion: 0,
      reorderPerMillion: 0,
      reorderUs: 0,
      bytesPerSecond: base.bytesPerSecond
    }
  }

  /** Changes with every change. */
  get version(): number {
    return this.#version
  }

  add(id: number, links: LinkSet, impairment: Impairment): void {
    this.#active.set(id, { hits: matcherOf(links), impairment })
    this.#version++
  }

  delete(id: number): void {
    if (this.#active.delete(id)) this.#version++
  }

  /** Delays and losses add up, the narrowest bandwidth counts. */
  between(from: string, to: string): LinkConditions {
    let conditions = this.#base
    for (const { hits, impairment } of this.#active.values()) {
      if (hits(from, to)) conditions = combine(conditions, impairment)
    }
    return conditions
  }
}

function combine(on: LinkConditions, impairment: Impairment): LinkConditions {
  switch (impairment.kind) {
    case 'cut':
      return { ...on, cut: true }
    case 'latency':
      return {
        ...on,
        latencyUs: on.latencyUs + Math.round(impairment.latencyMs * 1000),
        jitterUs: on.jitterUs + Math.round(impairment.jitterMs * 1000)
      }
    case 'loss': {
      const lossPerMillion = either(on.lossPerMillion, impairment.perMillion)
      return { ...on, lossPerMillion, cut: on.cut || lossPerMillion > HOPELESS_LOSS }
    }
    case 'duplicate':
      return {
        ...on,
        duplicatePerMillion: either(on.duplicatePerMillion, impairment.perMillion)
      }
    case 'reorder':
      return {
        ...on,
        reorderPerMillion: either(on.reorderPerMillion, impairment.perMillion),
        reorderUs: Math.max(on.reorderUs, Math.round(impairment.byMs * 1000))
      }
    case 'bandwidth': {
      const { bytesPerSecond } = impairment
      return { ...on, bytesPerSecond: Math.min(on.bytesPerSecond ?? Infinity, bytesPerSecond) }
    }
  }
}

/** One of two independent things happens. */
function either(a: number, b: number): number {
  return a + b - Math.floor((a * b) / MILLION)
}

function matcherOf(links: LinkSet): Matcher {
  if (links.kind === 'all') return () => true
  const oneWay = links.direction === 'one-way'
  if (links.kind === 'of') {
    const nodes = new Set(links.nodes)
    return (from, to) => nodes.has(from) || (!oneWay && nodes.has(to))
  }
  const groups = new Map(links.groups.flatMap((group, at) => group.map((name) => [name, at])))
  return (from, to) => {
    const [one, other] = [groups.get(from), groups.get(to)]
    if (one === undefined || other === undefined || one === other) return false
    return !oneWay || one === 0
  }
}
