import { describe, expect, it } from 'vitest'
import { type Random, seededRandom, shuffled } from '../../src/core/random.ts'
import { type Collected, EngineMesh, type MeshNode } from '../fixtures/engine-mesh.ts'
import { eventually, full } from '../processes/skein-process.ts'

const NODES = 4
const STEPS = 25

interface Life {
  readonly node: MeshNode
  /** Undefined while the node is off. */
  collected: Collected | undefined
  /** Everything handed over in all lives. */
  readonly seen: string[]
  published: number
}

/** One random history: links cut and healed, nodes stopped and started, everybody publishes. */
class History {
  readonly mesh = new EngineMesh()
  readonly lives: Life[] = []
  readonly confirmed: string[] = []
  readonly #cuts = new Set<string>()
  readonly #random: Random

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  async run(): Promise<void> {
    for (const node of await this.mesh.nodes(NODES)) {
      const life: Life = { node, collected: undefined, seen: [], published: 0 }
      this.lives.push(life)
      await this.#open(life)
    }
    for (let step = 0; step < STEPS; step++) await this.#step()
    for (const cut of this.#cuts) this.#heal(cut)
    for (const life of this.lives) if (life.collected === undefined) await this.#start(life)
    await eventually(() => this.lives.every(({ seen }) => seen.length >= this.confirmed.length), {
      timeoutMs: 15_000,
      what: `everybody having ${this.confirmed.length}, not ${this.lives.map(({ seen }) => seen.length).join(', ')},`
    })
  }

  async #step(): Promise<void> {
    const life = this.lives[this.#random.int(NODES)] as Life
    const what = this.#random.int(10)
    if (what < 5) await this.#publish(life)
    else if (what < 7) this.#cut(life)
    else if (what < 8) this.#heal([...this.#cuts][0])
    else if (life.collected === undefined) await this.#start(life)
    else await this.#stop(life)
    // Sometimes the mesh gets a moment to catch up, sometimes not.
    if (this.#random.int(3) === 0)
      await new Promise((resolve) => setTimeout(resolve, this.#random.int(60)))
  }

  async #publish(life: Life): Promise<void> {
    if (life.collected === undefined) return
    const texts = Array.from(
      { length: 1 + this.#random.int(40) },
      () => `${this.lives.indexOf(life)}:${life.published++}`
    )
    const pieces = this.#random.int(2) === 0 ? [texts] : texts.map((text) => [text])
    for (const piece of pieces) {
      await Promise.all(piece.map((text) => life.node.publish('t', text)))
    }
    this.confirmed.push(...texts)
  }

  #cut(life: Life): void {
    const other = shuffled(this.#random, this.lives).find((one) => one !== life) as Life
    this.mesh.cut(life.node, other.node)
    this.#cuts.add(`${this.lives.indexOf(life)}-${this.lives.indexOf(other)}`)
  }

  #heal(cut: string | undefined): void {
    if (cut === undefined) return
    this.#cuts.delete(cut)
    const [a, b] = cut.split('-').map((index) => this.lives[Number(index)] as Life) as [Life, Life]
    this.mesh.heal(a.node, b.node)
  }

  async #open(life: Life): Promise<void> {
    life.collected = await life.node.collect('t', 'all')
    life.collected.subscription.onMessage = () => {}
    const { messages } = life.collected
    const push = messages.push.bind(messages)
    life.seen.push(...messages.map((message) => message.text()))
    messages.push = (...more) => {
      life.seen.push(...more.map((message) => message.text()))
      return push(...more)
    }
  }

  async #start(life: Life): Promise<void> {
    await life.node.start()
    await this.#open(life)
  }

  async #stop(life: Life): Promise<void> {
    life.collected = undefined
    await life.node.stop()
  }
}

describe('a mesh that is cut, healed, stopped and started at random', () => {
  it.each(Array.from({ length: full ? 100 : 5 }, (_, index) => index + 1))(
    'ends with everything everywhere, once and in order per publisher (seed %i)',
    async (seed) => {
      const history = new History(seed)
      await history.run()
      for (const { seen } of history.lives) {
        expect(seen.toSorted()).toEqual(history.confirmed.toSorted())
        for (let publisher = 0; publisher < NODES; publisher++) {
          const own = seen.filter((text) => text.startsWith(`${publisher}:`))
          expect(own.map((text) => Number(text.split(':')[1]))).toEqual(own.map((_, at) => at))
        }
      }
      await history.mesh.stop()
    },
    30_000
  )
})
