import { type Random, seededRandom } from '../../src/core/random.ts'
import { topicMatches } from '../../src/wire/topic.ts'
import type { Scenario, SubscriptionLoad } from '../../simulations/scenario/contract.ts'
import { faultEventOf } from '../../simulations/fault-event.ts'
import { scheduleOf } from '../../simulations/scenario/schedule.ts'
import { selectNodes } from '../../simulations/scenario/selectors.ts'
import type { Action, LinkSet, Step } from '../../simulations/scenario/step.ts'
import { fillTopic } from '../../simulations/scenario/topic-pattern.ts'
import type { MessageRef, TraceEvent } from '../../simulations/trace.ts'

const TICK_MS = 50

interface Reader {
  readonly id: string
  readonly node: string
  readonly load: SubscriptionLoad
  /** Next message, by publisher. */
  readonly next: Map<string, number>
}

interface Sent {
  readonly message: MessageRef
  readonly topic: string
  readonly at: number
}

/**
 * What a mesh that keeps all its promises would leave behind: a model of nodes that hold everything they were ever
 * able to fetch, a second after they were able to. Not the product; it feeds the checkers and the report.
 */
export function syntheticTrace(scenario: Scenario, seed: number): TraceEvent[] {
  return new Model(scenario, seed).run()
}

class Model {
  readonly #scenario: Scenario
  readonly #random: Random
  readonly #steps: Step[]
  readonly #trace: TraceEvent[] = []
  readonly #cuts = new Map<number, LinkSet>()
  readonly #down = new Set<string>()
  readonly #frozen = new Set<string>()
  readonly #session = new Map<string, number>()
  readonly #sequence = new Map<string, number>()
  readonly #counts = new Map<string, number>()
  readonly #sent = new Map<string, Sent[]>()
  readonly #readers: Reader[] = []
  readonly #changedAt = new Map<string, { open: boolean; at: number }>()
  readonly #samples: number[] = [0]
  #parts = new Map<string, number>()
  #now = 0

  constructor(scenario: Scenario, seed: number) {
    this.#scenario = scenario
    this.#random = seededRandom(seed)
    this.#steps = [...scheduleOf(scenario, seed)]
    for (const load of scenario.subscriptions) {
      for (const node of selectNodes(load.nodes, scenario, { seed })) {
        this.#readers.push({ id: `${node}/${load.label}`, node, load, next: new Map() })
      }
    }
  }

  run(): TraceEvent[] {
    const { drainMs, endMs, nodes } = this.#scenario
    for (const { name } of nodes) this.#push({ kind: 'started', node: name })
    for (const { id, load, node } of this.#readers) {
      const slow = load.reading.kind !== 'auto'
      this.#push({
        kind: 'subscribed',
        subscription: id,
        filter: load.filter,
        durable: load.durable !== undefined,
        node,
        label: load.label,
        slow
      })
    }
    this.#connect()
    for (; this.#now <= endMs + drainMs; this.#now += TICK_MS) this.#tick()
    return this.#trace
  }

  #push(event: TraceEvent): void {
    this.#trace.push({ ...event, at: this.#now })
  }

  #tick(): void {
    let changed = false
    while ((this.#steps[0]?.atMs ?? Infinity) <= this.#now) {
      const step = this.#steps.shift()
      if (step === undefined) break
      changed = true
      this.#apply(step)
    }
    if (changed) {
      this.#connect()
      this.#samples.push(this.#now, this.#now + 1500)
    }
    if (this.#samples.some((at) => at <= this.#now)) {
      this.#push({ kind: 'topology', links: this.#links() })
      this.#samples.splice(0, this.#samples.length, ...this.#samples.filter((at) => at > this.#now))
    }
    if (this.#now < this.#scenario.endMs) this.#publish()
    for (const reader of this.#readers) this.#read(reader)
    if (this.#now % 1000 === 0) {
      for (const { name } of this.#scenario.nodes) {
        const bytes = 38 * 2 ** 20 + this.#random.int(6 * 2 ** 20)
        if (!this.#down.has(name)) this.#push({ kind: 'memory', node: name, bytes })
      }
    }
  }

  #apply(step: Step): void {
    const event = faultEventOf(step)
    if (step.edge === 'begin' && event !== undefined) this.#push(event)
    for (const action of step.actions) this.#act(action)
    if (step.edge === 'end' && event !== undefined) this.#push(event)
  }

  #act(action: Action): void {
    if (action.do === 'impair') {
      if (action.with.kind === 'cut') this.#cuts.set(action.id, action.links)
    } else if (action.do === 'repair') this.#cuts.delete(action.id)
    else if (action.do === 'crash' || action.do === 'stop') {
      const lossy = action.do === 'crash' && action.unsynced !== 'keep'
      const how = action.do === 'stop' ? 'stop' : lossy ? 'power-loss' : 'crash'
      this.#down.add(action.node)
      this.#frozen.delete(action.node)
      this.#push({ kind: 'stopped', node: action.node, how })
    } else if (action.do === 'start') {
      this.#down.delete(action.node)
      this.#session.set(action.node, (this.#session.get(action.node) ?? 0) + 1)
      this.#sequence.delete(action.node)
      this.#push({ kind: 'started', node: action.node })
    } else if (action.do === 'pause') this.#frozen.add(action.node)
    else if (action.do === 'resume') this.#frozen.delete(action.node)
  }

  #open(a: string, b: string): boolean {
    if (this.#down.has(a) || this.#down.has(b) || this.#frozen.has(a) || this.#frozen.has(b)) {
      return false
    }
    for (const links of this.#cuts.values()) {
      if (links.kind === 'all') return false
      if (links.kind === 'of' && (links.nodes.includes(a) || links.nodes.includes(b))) return false
      if (links.kind !== 'between') continue
      const [x, y] = [a, b].map((node) => links.groups.findIndex((group) => group.includes(node)))
      if (x !== y && x !== -1 && y !== -1) return false
    }
    return true
  }

  #links(): [string, string][] {
    const names = this.#scenario.nodes.map(({ name }) => name)
    const reach = names.length <= 24 ? names.length : 5
    return names.flatMap((a, i) =>
      Array.from(
        { length: Math.min(reach, names.length - 1 - (names.length <= 24 ? i : 0)) },
        (_, k) => {
          const hop = names.length <= 24 ? k + 1 : (k + 1) ** 3
          return [a, names[(i + hop) % names.length] ?? a] as [string, string]
        }
      ).filter(([from, to]) => from !== to && this.#open(from, to))
    )
  }

  /** Numbers the parts of the mesh that can reach each other. */
  #connect(): void {
    this.#parts = new Map()
    const names = this.#scenario.nodes.map(({ name }) => name)
    const neighbours = new Map<string, string[]>(names.map((name) => [name, []]))
    for (const [a, b] of this.#links()) {
      neighbours.get(a)?.push(b)
      neighbours.get(b)?.push(a)
    }
    names.forEach((name, part) => {
      const queue = [name]
      for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
        if (this.#parts.has(node)) continue
        this.#parts.set(node, part)
        queue.push(...(neighbours.get(node) ?? []))
      }
    })
  }

  #publish(): void {
    const { publishers } = this.#scenario
    publishers.forEach((load, place) => {
      for (const node of selectNodes(load.nodes, this.#scenario, { seed: 0 })) {
        if (this.#now < load.fromMs || this.#now >= load.untilMs) continue
        if (this.#down.has(node) || this.#frozen.has(node)) continue
        const key = `${place} ${node}`
        const due = Math.floor(((this.#now - load.fromMs + TICK_MS) * load.perSecond) / 1000)
        const before = Math.floor(((this.#now - load.fromMs) * load.perSecond) / 1000)
        for (let i = before; i < due; i++) {
          const n = (this.#counts.get(key) ?? 0) + 1
          this.#counts.set(key, n)
          this.#confirm(node, fillTopic(load.topic, node, n))
        }
      }
    })
  }

  #confirm(publisher: string, topic: string): void {
    const sequence = (this.#sequence.get(publisher) ?? 0) + 1
    this.#sequence.set(publisher, sequence)
    const session = `s${String(this.#session.get(publisher) ?? 0).padStart(3, '0')}`
    const channel = 'all'
    const id = `${publisher}/${session}/${sequence}/${channel}`
    const message = { id, publisher, session, sequence, channel }
    const list = this.#sent.get(publisher) ?? []
    this.#sent.set(publisher, list)
    list.push({ message, topic, at: this.#now })
    this.#push({ kind: 'confirmed', message, topic })
  }

  #read({ id, load, next, node }: Reader): void {
    if (this.#down.has(node) || this.#frozen.has(node)) return
    for (const [publisher, sent] of this.#sent) {
      const key = `${id} ${publisher}`
      const reachable = this.#parts.get(publisher) === this.#parts.get(node)
      const before = this.#changedAt.get(key)
      if (before?.open !== reachable) this.#changedAt.set(key, { open: reachable, at: this.#now })
      if (!reachable) continue
      const since = this.#changedAt.get(key)?.at ?? 0
      if (since > 0 && this.#now - since < 600 + this.#random.int(900)) continue
      this.#take({ id, load, next, node }, publisher, sent)
    }
  }

  /** What is due, at most so many at once: a backlog takes its time. */
  #take({ id, load, next }: Reader, publisher: string, sent: readonly Sent[]): void {
    const { reading } = load
    let most = reading.kind === 'slow' ? Math.ceil((reading.perSecond * TICK_MS) / 1000) : 40
    let place = next.get(publisher) ?? 0
    for (let one = sent[place]; one !== undefined && most > 0; one = sent[++place]) {
      if (!topicMatches(load.filter, one.topic)) continue
      most--
      const { message } = one
      this.#push({ kind: 'handed', subscription: id, message, attempt: 1, late: false })
      this.#push({ kind: 'acknowledged', subscription: id, id: message.id })
    }
    next.set(publisher, place)
  }
}
