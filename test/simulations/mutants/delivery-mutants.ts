import type { Mutant } from './mutant.ts'
import { CRASH, HOLE, LONG_WORK } from './scenarios.ts'

export const DELIVERY_MUTANTS: readonly Mutant[] = [
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
    scenario: CRASH,
    seed: 1,
    checker: 'repeated-messages'
  },
  {
    name: 'early cursor',
    breaks: 'The cursor passes a message when it is handed over, not when it is acknowledged.',
    edits: [
      {
        file: 'src/delivery/ledger.ts',
        find: `    return Math.min(this.#firstInFlight(), Math.max(this.#offset, this.#init.readTo()))`,
        put: `    return Math.max(this.#offset, this.#init.readTo())`
      }
    ],
    scenario: LONG_WORK,
    seed: 1,
    worksMs: 900,
    checker: 'lost-messages'
  },
  {
    name: 'swapped records',
    breaks: 'Two messages of a log change places on their way to the application.',
    edits: [
      {
        file: 'src/delivery/ready-window.ts',
        find: `      const candidate = this.#reader.next()
`,
        put: `      let candidate = this.swapped ?? this.#reader.next()
      if (candidate === this.swapped) this.swapped = undefined
      else if (candidate !== undefined && candidate.offset % 20 === 7) {
        const after = this.#reader.next()
        if (after !== undefined) [this.swapped, candidate] = [candidate, after]
      }
`
      },
      {
        file: 'src/delivery/ready-window.ts',
        find: `  #first = 0
`,
        put: `  #first = 0
  swapped: Candidate | undefined
`
      }
    ],
    scenario: CRASH,
    seed: 1,
    checker: 'publisher-order'
  },
  {
    name: 'silent gap',
    breaks: 'A range that is given up is told to nobody.',
    edits: [
      {
        file: 'src/delivery/subscription.ts',
        find: `    if (this.#lanes.get(gap.channel)?.passedOver(gap) === true) this.events.emit('gap', gap)`,
        put: ''
      },
      {
        file: 'src/delivery/channel-lane.ts',
        find: `      if (this.passedOver(gap)) this.#init.onGap(gap)`,
        put: ''
      }
    ],
    scenario: HOLE,
    seed: 1,
    checker: 'silent-gaps'
  },
  {
    name: 'journaled twice',
    breaks: 'Some records go into the journal twice.',
    edits: [
      {
        file: 'src/store/journal.ts',
        find: `    this.enter(slot, { record, bornAt, late: late || slot.isLate }, commit)
`,
        put: `    this.enter(slot, { record, bornAt, late: late || slot.isLate }, commit)
    if (first % 50 === 0) this.enter(slot, { record, bornAt, late: true }, commit)
`
      }
    ],
    scenario: CRASH,
    seed: 1,
    checker: 'repeated-messages'
  },
  {
    name: 'mixed up records',
    breaks: 'Now and then a reader takes the messages out of the record before.',
    edits: [
      {
        file: 'src/delivery/channel-reader.ts',
        find: `    this.#messages = this.#components.decoder.messagesOf(live.record)
`,
        put: `    if (live.entry.offset % 10 !== 0) this.shown = live.record
    this.#messages = this.#components.decoder.messagesOf(this.shown ?? live.record)
`
      },
      {
        file: 'src/delivery/channel-reader.ts',
        find: `  #current: LiveEntry | undefined
`,
        put: `  #current: LiveEntry | undefined
  shown: LiveEntry['record'] | undefined
`
      }
    ],
    scenario: CRASH,
    seed: 1,
    checker: 'altered-messages'
  }
]
