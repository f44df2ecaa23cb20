import type { Mutant } from './mutant.ts'
import { RECIPIENT_AWAY, SENDER_GONE } from './scenarios.ts'

export const INBOX_MUTANTS: readonly Mutant[] = [
  {
    name: 'letter let go',
    breaks: 'The outbox lets go of a message when it was sent for the first time.',
    edits: [
      {
        file: 'src/delivery/outbox.ts',
        find: `      await this.#record(entry, inner)
`,
        put: `      await this.#remove([entry])
`
      }
    ],
    scenario: RECIPIENT_AWAY,
    seed: 1,
    checker: 'inbox-messages'
  },
  {
    name: 'custodian that keeps nothing',
    breaks: 'A custodian says that it keeps a message and does not.',
    edits: [
      {
        file: 'src/delivery/custody.ts',
        find: `    const [outcome] = await store.append([{ record, ageMs, floor: 1 }], { sync: true })`,
        put: `    const outcome = 'appended' as AppendOutcome`
      }
    ],
    scenario: SENDER_GONE,
    seed: 1,
    checker: 'inbox-messages'
  },
  {
    name: 'receipt that is not shown',
    breaks: 'A recipient never shows its receipts to those who hold messages for it.',
    edits: [
      {
        file: 'src/replication/sync-neighbour.ts',
        find: `    if (receipts.length > 0) this.#send({ kind: 'receipts', receipts })`,
        put: ''
      }
    ],
    scenario: RECIPIENT_AWAY,
    seed: 1,
    checker: 'inbox-messages'
  }
]
