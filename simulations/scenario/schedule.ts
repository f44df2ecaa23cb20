import type { Fault, FaultKind, LinkScope, NodeSelector, Scenario } from './contract.ts'
import { selectGroups, selectNodes } from './selectors.ts'
import { amountText, impairmentOf, linksText, namesText } from './step-text.ts'
import type { Action, LinkSet, Step } from './step.ts'

/**
 * The timeline as steps, in the order of time. The seed decides what `random:` selects. Everything that is still
 * broken at `scenario.endMs` is lifted there, unless `scenario.leave`.
 */
export function scheduleOf(scenario: Scenario, seed: number): readonly Step[] {
  return new Planner(scenario, seed).plan()
}

type OnLinks = Extract<Fault, { links: LinkScope }>
type OnNodes = Extract<Fault, { nodes: NodeSelector }>

interface Active {
  readonly fault: Fault
  readonly nodes: readonly string[]
  readonly text: string
  /** Nodes on which it still holds; links: one entry, ''. */
  readonly holds: Set<string>
}

interface Task {
  readonly atMs: number
  readonly run: () => void
}

/** Faults that hold on nodes until they are undone there. */
const NODE_STATES: Readonly<
  Partial<Record<FaultKind, 'down' | 'paused' | 'skew' | 'full' | 'slow'>>
> = {
  crash: 'down',
  'lose-unsynced-writes': 'down',
  'torn-tail': 'down',
  restart: 'down',
  pause: 'paused',
  'clock-skew': 'skew',
  'disk-full': 'full',
  'slow-disk': 'slow'
}

class Planner {
  readonly #scenario: Scenario
  readonly #seed: number
  readonly #steps: Step[] = []
  readonly #active = new Map<number, Active>()
  /** `<state>/<node>` -> the fault that put the node there. */
  readonly #states = new Map<string, number>()
  readonly #tasks: Task[] = []
  #nowMs = 0

  constructor(scenario: Scenario, seed: number) {
    this.#scenario = scenario
    this.#seed = seed
  }

  plan(): readonly Step[] {
    const { endMs, faults, leave } = this.#scenario
    for (const [place, fault] of faults.entries()) {
      this.#at(fault.atMs, () => this.#begin(place, fault))
    }
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) {
      if (task.atMs >= endMs) break
      this.#nowMs = task.atMs
      task.run()
    }
    this.#nowMs = endMs
    if (!leave) for (const place of this.#active.keys()) this.#end(place)
    return this.#steps
  }

  /** Keeps tasks of one moment in the order in which they were added. */
  #at(atMs: number, run: () => void): void {
    let place = this.#tasks.length
    while (place > 0 && (this.#tasks[place - 1]?.atMs ?? 0) > atMs) place--
    this.#tasks.splice(place, 0, { atMs, run })
  }

  #begin(place: number, fault: Fault): void {
    if ('links' in fault) this.#beginOnLinks(place, fault)
    else if (fault.kind === 'heal') this.#heal(place, this.#select(place, fault.nodes))
    else if (fault.kind === 'resume') this.#lift('paused', this.#select(place, fault.nodes))
    else this.#beginOnNodes(place, fault)
    if (fault.forMs !== undefined && this.#active.has(place)) {
      this.#at(fault.atMs + fault.forMs, () => this.#end(place))
    }
  }

  #beginOnLinks(place: number, fault: OnLinks): void {
    const links = this.#linksOf(place, fault)
    const text = `${fault.kind} ${linksText(links)}${amountText(fault)}`
    const nodes =
      links.kind === 'all' ? [] : links.kind === 'of' ? links.nodes : links.groups.flat()
    this.#active.set(place, { fault, nodes, text, holds: new Set(['']) })
    this.#step(place, 'begin', [{ do: 'impair', id: place, links, with: impairmentOf(fault) }])
    if (fault.kind !== 'flap') return
    const toggle = (up: boolean): void => {
      if (!this.#active.has(place)) return
      const impair = { do: 'impair', id: place, links, with: { kind: 'cut' } } as const
      this.#step(place, 'change', [up ? { do: 'repair', id: place } : impair])
      this.#at(this.#nowMs + (up ? fault.upMs : fault.downMs), () => toggle(!up))
    }
    this.#at(this.#nowMs + fault.downMs, () => toggle(true))
  }

  #beginOnNodes(place: number, fault: OnNodes): void {
    const state = NODE_STATES[fault.kind]
    let named = this.#select(place, fault.nodes)
    if (fault.kind === 'restart') {
      const down = named.filter((node) => this.#states.has(`down/${node}`))
      this.#lift('down', down)
      named = named.filter((node) => !down.includes(node))
    }
    const nodes = named.filter((node) => state === undefined || this.#enter(place, state, node))
    const text = `${fault.kind} ${namesText(nodes)}${amountText(fault)}`
    if (nodes.length === 0) return
    const holds = new Set(state === undefined ? [] : nodes)
    this.#active.set(place, { fault, nodes, text, holds })
    this.#step(
      place,
      'begin',
      nodes.flatMap((node) => this.#breakNode(fault, node))
    )
    if (state === undefined) {
      // Done at once: nothing is left that could be lifted.
      this.#step(place, 'end', [])
      this.#active.delete(place)
    }
    if (fault.kind === 'restart') this.#at(this.#nowMs + fault.downMs, () => this.#end(place))
  }

  /** A node that is down already is not crashed again; skew and disk faults replace each other. */
  #enter(place: number, state: string, node: string): boolean {
    const key = `${state}/${node}`
    if (this.#states.has(`down/${node}`) && (state === 'down' || state === 'paused')) return false
    const before = this.#states.get(key)
    if (before !== undefined) {
      if (state === 'paused') return false
      this.#release(before, node)
    }
    if (state === 'down') this.#leaveState('paused', node)
    this.#states.set(key, place)
    return true
  }

  /** A process that is killed is not paused any more. */
  #leaveState(state: string, node: string): void {
    const place = this.#states.get(`${state}/${node}`)
    this.#states.delete(`${state}/${node}`)
    if (place !== undefined) this.#release(place, node)
  }

  #release(place: number, node: string): void {
    const active = this.#active.get(place)
    active?.holds.delete(node)
    if (active === undefined || active.holds.size > 0) return
    this.#step(place, 'end', [])
    this.#active.delete(place)
  }

  #breakNode(fault: OnNodes, node: string): readonly Action[] {
    switch (fault.kind) {
      case 'crash':
        return [{ do: 'crash', node, unsynced: 'keep' }]
      case 'lose-unsynced-writes':
        return [{ do: 'crash', node, unsynced: 'lose' }]
      case 'torn-tail':
        return [{ do: 'crash', node, unsynced: 'torn' }]
      case 'restart':
        return [{ do: 'stop', node }]
      case 'pause':
        return [{ do: 'pause', node }]
      case 'clock-skew':
        return [{ do: 'skew', node, byMs: this.#ownSkew(node) + fault.byMs }]
      case 'disk-full':
      case 'slow-disk':
        return [this.#disk(node)]
      case 'corrupt':
        return [{ do: 'corrupt', node, bits: fault.bits }]
      case 'heal':
      case 'resume':
        return []
    }
  }

  #mendNode(kind: FaultKind, node: string): readonly Action[] {
    switch (NODE_STATES[kind]) {
      case 'down':
        return [{ do: 'start', node }]
      case 'paused':
        return [{ do: 'resume', node }]
      case 'skew':
        return [{ do: 'skew', node, byMs: this.#ownSkew(node) }]
      case 'full':
      case 'slow':
        return [this.#disk(node)]
      case undefined:
    }
    return []
  }

  #ownSkew(node: string): number {
    return this.#scenario.nodes.find(({ name }) => name === node)?.clockSkewMs ?? 0
  }

  #disk(node: string): Action {
    const slow = this.#scenario.faults[this.#states.get(`slow/${node}`) ?? -1]
    const latencyMs = slow?.kind === 'slow-disk' ? slow.latencyMs : 0
    return { do: 'disk', node, full: this.#states.has(`full/${node}`), latencyMs }
  }

  /** Mends every link fault that touches one of the nodes. */
  #heal(place: number, nodes: readonly string[]): void {
    const all = nodes.length === this.#scenario.nodes.length
    for (const [other, active] of this.#active) {
      if (!('links' in active.fault) || other === place) continue
      if (all || active.nodes.length === 0 || active.nodes.some((node) => nodes.includes(node))) {
        this.#end(other)
      }
    }
  }

  /** Ends what holds the nodes in a state, whichever faults did it. */
  #lift(state: 'down' | 'paused', nodes: readonly string[]): void {
    const faults = new Set(nodes.map((node) => this.#states.get(`${state}/${node}`)))
    for (const place of faults) if (place !== undefined) this.#end(place, nodes)
  }

  #end(place: number, only?: readonly string[]): void {
    const active = this.#active.get(place)
    if (active === undefined) return
    const { fault, holds } = active
    if ('links' in fault) {
      this.#active.delete(place)
      this.#step(place, 'end', [{ do: 'repair', id: place }], active)
      return
    }
    const state = NODE_STATES[fault.kind] ?? ''
    const nodes = [...holds].filter((node) => only === undefined || only.includes(node))
    for (const node of nodes) {
      holds.delete(node)
      this.#states.delete(`${state}/${node}`)
    }
    const actions = nodes.flatMap((node) => this.#mendNode(fault.kind, node))
    if (holds.size === 0) this.#active.delete(place)
    this.#step(place, holds.size === 0 ? 'end' : 'change', actions, active)
  }

  #step(place: number, edge: Step['edge'], actions: readonly Action[], of?: Active): void {
    const active = of ?? this.#active.get(place)
    if (active === undefined) return
    const { fault, nodes, text } = active
    const step = { atMs: this.#nowMs, fault: place, kind: fault.kind, edge, nodes, text, actions }
    this.#steps.push(step)
  }

  #select(place: number, selector: readonly string[]): string[] {
    return selectNodes(selector, this.#scenario, { seed: faultSeed(this.#seed, place) })
  }

  #linksOf(place: number, { links, direction }: OnLinks): LinkSet {
    if (links.kind === 'all') return links
    if (links.kind === 'of') {
      return { kind: 'of', nodes: this.#select(place, links.nodes), direction }
    }
    const groups = selectGroups(links.groups, this.#scenario, faultSeed(this.#seed, place))
    return { kind: 'between', groups, direction }
  }
}

/** Each fault draws for itself, so that one fault more does not change what the others hit. */
export function faultSeed(seed: number, place: number): number {
  return (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(place + 1, 0x85ebca6b)) >>> 0
}
