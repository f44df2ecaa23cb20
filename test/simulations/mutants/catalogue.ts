import type { Edit } from './laboratory.ts'
import type { Trial } from './trial.ts'

/** A way to break the product, and who must notice. */
export interface Mutant extends Trial {
  readonly name: string
  /** In one sentence. */
  readonly breaks: string
  readonly edits: readonly Edit[]
  readonly checker: string
}

/** Nobody publishes any more when the cut heals: nothing that follows shows what is missing. */
const CUT = `
name: cut
description: A node is cut off, its neighbours go on and end before it is back.
nodes: 3
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 9s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 4s, isolate: n3, for: 10s }
end: 15s
drain: 40s
expect:
  converge: { within: 5s }
`

const RESTART = `
name: restart
description: A reader crashes and comes back.
nodes: 2
workload:
  publishers:
    - { nodes: n1, topic: 'orders/{node}', rate: 20, from: 1s, until: 9s }
  subscriptions:
    - { nodes: all, filter: 'orders/#', durable: audit }
timeline:
  - { at: 4s, crash: n2, for: 2s }
end: 10s
drain: 10s
`

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'no sync',
    breaks: 'A neighbour is never asked what it holds, neither when its link comes up nor later.',
    edits: [
      {
        file: 'src/replication/sync-neighbour.ts',
        find: `    this.#send({ kind: 'ask', channels: this.#init.ask() })`,
        put: ''
      }
    ],
    scenario: CUT,
    seed: 1,
    checker: 'lost-messages'
  },
  {
    name: 'no sync on heal',
    breaks: 'A neighbour is not asked when its link comes up, only by the check every 30 s.',
    edits: [
      {
        file: 'src/replication/sync-neighbour.ts',
        find: `      this.#stream = stream
      this.ask()`,
        put: `      this.#stream = stream`
      }
    ],
    scenario: CUT,
    seed: 2,
    checker: 'convergence'
  },
  {
    name: 'forgotten cursor',
    breaks: 'A cursor is answered as written and is not.',
    edits: [
      {
        file: 'src/store/subscriptions.ts',
        find: `          commit.put(key, encodeCursor(cursor.state))`,
        put: ''
      }
    ],
    scenario: RESTART,
    seed: 1,
    checker: 'repeated-messages'
  }
]
