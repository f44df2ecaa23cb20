import type { Random } from '../../src/core/random.ts'
import { DEFAULT_RETENTION } from '../../src/node/options.ts'
import { selectNodes } from '../scenario/selectors.ts'
import type { RunInit, RunNode, RunTime } from './contract.ts'
import type { Excuses } from './excuses.ts'
import { Letters } from './letters.ts'
import type { Population } from './population.ts'
import { startPublisher } from './publisher.ts'
import { createInboxReader, createSubscriber } from './readers.ts'
import type { Recorder } from './recorder.ts'
import { OutboxWatch, startSender } from './sender.ts'

export interface WorkloadComponents {
  readonly time: RunTime
  readonly recorder: Recorder
  readonly excuses: Excuses
  readonly population: Population<RunNode>
  /** An independent generator for each part of the load. */
  readonly random: (part: string) => Random
}

/** What a scenario's nodes publish, read and send. */
export class Workload {
  readonly #components: WorkloadComponents
  readonly #init: Pick<RunInit, 'scenario' | 'seed' | 'handlers'>
  readonly #letters: Letters

  constructor(
    components: WorkloadComponents,
    init: Pick<RunInit, 'scenario' | 'seed' | 'handlers'>
  ) {
    this.#components = components
    this.#init = init
    this.#letters = new Letters(components.recorder)
  }

  /** Those who publish and send. */
  startLoad(): void {
    const { population, random } = this.#components
    const { scenario } = this.#init
    for (const [place, load] of scenario.publishers.entries()) {
      for (const name of this.#select(load.nodes)) {
        const components = { ...this.#components, random: random(`publisher ${place} ${name}`) }
        startPublisher(components, population.node(name), load)
      }
    }
    for (const { from, load, place, to } of this.#sends()) {
      const own = random(`sender ${place} ${from} ${to}`)
      const components = { ...this.#components, random: own, letters: this.#letters }
      startSender(components, population.node(from), { load, to })
    }
  }

  /** Those who read, and those who look what becomes of letters. */
  startReaders(): void {
    const { population, time } = this.#components
    this.#startSubscribers()
    const sends = this.#sends()
    for (const name of new Set(sends.map(({ to }) => to))) {
      population.occupy(name, createInboxReader(time, this.#letters, name))
    }
    for (const name of new Set(sends.map(({ from }) => from))) {
      population.occupy(name, new OutboxWatch(this.#letters, name))
    }
  }

  #startSubscribers(): void {
    const { handlers, scenario } = this.#init
    const { population } = this.#components
    const taken = new Set<string>()
    const ages = scenario.nodes.map(({ retention }) => retention.maxAgeMs ?? Infinity)
    const keepsMs = Math.min(DEFAULT_RETENTION.maxAgeMs, ...ages)
    for (const load of scenario.subscriptions) {
      for (const node of this.#select(load.nodes)) {
        const remembers = scenario.nodes.find(({ name }) => name === node)?.disk.kind !== 'memory'
        let id = `${node}/${load.label}`
        for (let again = 2; taken.has(id); again++) id = `${node}/${load.label}:${again}`
        taken.add(id)
        const handler = handlers?.[load.label]
        population.occupy(
          node,
          createSubscriber(this.#components, { load, node, remembers, id, handler, keepsMs })
        )
      }
    }
  }

  /** Each pair of a sender and a recipient. */
  #sends() {
    return [...this.#init.scenario.sends.entries()].flatMap(([place, load]) =>
      this.#select(load.from).flatMap((from) =>
        this.#select(load.to)
          .filter((to) => to !== from)
          .map((to) => ({ place, load, from, to }))
      )
    )
  }

  #select(nodes: readonly string[]): string[] {
    const { scenario, seed } = this.#init
    return selectNodes(nodes, scenario, { seed })
  }
}
