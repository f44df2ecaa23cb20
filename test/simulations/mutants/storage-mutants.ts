import type { Mutant } from './mutant.ts'
import { FLOOD, POWER_LOSS, RECIPIENT_POWER_LOSS } from './scenarios.ts'

export const STORAGE_MUTANTS: readonly Mutant[] = [
  {
    name: 'confirmed before the sync',
    breaks: 'A publish is confirmed as stored when its write is not synced yet.',
    edits: [
      {
        file: 'src/replication/log-writer.ts',
        find: `    store.append([item], { sync: true }).then(`,
        put: `    store.append([item], { sync: false }).then(`
      }
    ],
    scenario: POWER_LOSS,
    seed: 1,
    checker: 'lost-messages'
  },
  {
    name: 'session used again',
    breaks: 'A publisher goes on in the session before, behind what its disk still has of it.',
    edits: [
      {
        file: 'src/replication/publisher.ts',
        find: `    this.#session = newSession(clock.now(), random, greatest)`,
        put: `    this.#session = greatest ?? newSession(clock.now(), random, greatest)`
      },
      {
        file: 'src/replication/log-writer.ts',
        find: `    this.#open = new Batch(init, this.#sequence)
    this.#isSent`,
        put: `    const held = components.store.log(init)
    this.#sequence = (held?.head ?? 0) + 1
    this.#previous = held?.headDigest
    this.#begun = held !== undefined
    this.#open = new Batch(init, this.#sequence)
    this.#isSent`
      }
    ],
    scenario: POWER_LOSS,
    seed: 1,
    checker: 'altered-messages'
  },
  {
    name: 'receipt before the sync',
    breaks: 'A recipient signs for messages that are not on its disk yet.',
    edits: [
      {
        file: 'src/delivery/inbox-receipts.ts',
        find: `    await store.flush()
    const { publisher, session } = log`,
        put: `    const { publisher, session } = log`
      }
    ],
    scenario: RECIPIENT_POWER_LOSS,
    seed: 1,
    checker: 'inbox-messages'
  },
  {
    name: 'queue without a bound',
    breaks: 'A publisher takes more than it can write, without an end.',
    edits: [
      {
        file: 'src/replication/publisher.ts',
        find: `this.#waitingBytes + bytes > LIMITS.publishQueueBytes`,
        put: `this.#waitingBytes + bytes > Infinity`
      }
    ],
    scenario: FLOOD,
    seed: 1,
    checker: 'memory-bound'
  }
]
