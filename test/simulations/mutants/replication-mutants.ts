import type { Mutant } from './mutant.ts'
import { CRASH, CUT, CUT_IN_TWO, LAGGING, TWO_SESSIONS } from './scenarios.ts'

export const REPLICATION_MUTANTS: readonly Mutant[] = [
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
    seed: 2,
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
    name: 'own log never served',
    breaks: 'A publisher shows its neighbours the logs of others and not its own.',
    edits: [
      {
        file: 'src/replication/sync-holder.ts',
        find: `.filter((log) => this.#isShown(log))`,
        put: `.filter((log) => this.#isShown(log) && log.publisher !== this.#init.self)`
      }
    ],
    scenario: CUT_IN_TWO,
    seed: 1,
    checker: 'lost-messages'
  },
  {
    name: 'gap not waited for',
    breaks: 'What comes above a hole is handed over before the hole is filled.',
    edits: [
      {
        file: 'src/store/held-log.ts',
        find: `  if (link.from <= log.head + 1) {`,
        put: `  if (link.from > log.head + 1 || link.from <= log.head + 1) {`
      }
    ],
    scenario: LAGGING,
    seed: 1,
    checker: 'silent-gaps'
  },
  {
    name: 'session not waited for',
    breaks: 'A later session of a publisher is handed over before the end of the one before.',
    edits: [
      {
        file: 'src/store/mirror.ts',
        find: `    if (this.siblings.length === 1) return false`,
        put: `    if (this.siblings.length > 0) return false`
      },
      {
        file: 'src/store/mirror.ts',
        find: `    if (last === this || last === undefined) return false`,
        put: `    if (last !== undefined || last === undefined) return false`
      }
    ],
    scenario: TWO_SESSIONS,
    seed: 1,
    checker: 'publisher-order'
  },
  {
    name: 'everything too old',
    breaks: 'A holder answers that what is older than what it was asked for is all there is.',
    edits: [
      {
        file: 'src/replication/sync-holder.ts',
        find: `    const exact = (young ?? Infinity) > from && isOlder(log, to, young)
    if (young === undefined || young > to) {`,
        put: `    const exact = true
    if (from < 1000) {`
      }
    ],
    scenario: CRASH,
    seed: 1,
    checker: 'lost-messages'
  }
]
