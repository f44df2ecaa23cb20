import type { Emitter } from '../core/events.ts'
import { missingIn } from '../wire/vector.ts'
import type { Commit } from './commit-queue.ts'
import type { StoreEvents } from './contract.ts'
import type { Health } from './health.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import { encodeHeadRow } from './rows.ts'

export interface CommitNewsComponents {
  readonly emitter: Emitter<StoreEvents>
  readonly health: Health
  readonly mirror: () => Mirror
}

/** What every commit carries, and what is told when it is written. */
export class CommitNews {
  readonly #components: CommitNewsComponents

  constructor(components: CommitNewsComponents) {
    this.#components = components
  }

  /** Adds the head rows of the logs that changed. */
  complete(commit: Commit): void {
    const mirror = this.#components.mirror()
    for (const slot of commit.logs) {
      const { committed, journaled, owed } = slot
      const journalEnd = mirror.journal(committed.channel).tail
      commit.put(slot.headKey, encodeHeadRow({ log: committed, journaled, journalEnd, owed }))
    }
  }

  /** The journal first, then what changed, then what is missing now. */
  tell(commit: Commit): void {
    const { emitter, health } = this.#components
    const mirror = this.#components.mirror()
    health.wrote(commit.bytes)
    for (const [channel, entries] of commit.entries) {
      const journal = mirror.journal(channel)
      journal.next = journal.tail
      emitter.emit('journal', { channel, entries })
    }
    for (const after of commit.written) after()
    const logs = [...Array.from(commit.logs, ({ ref }) => ref), ...commit.gone]
    if (logs.length > 0) emitter.emit('changed', { logs })
    for (const slot of commit.logs) {
      const named = holesOf(slot)
      if (named === slot.reported) continue
      slot.reported = named
      emitter.emit('gap', { log: slot.ref, missing: missingIn(slot.committed) })
    }
  }

  /** What is missing at the beginning is known to whoever asks. */
  reset(): void {
    for (const slot of this.#components.mirror().logs()) slot.reported = holesOf(slot)
  }
}

function holesOf({ committed }: LogSlot): string {
  if (committed.islands.length === 0 && committed.expected <= committed.head) return ''
  return missingIn(committed)
    .map(({ from, to }) => `${from}-${to}`)
    .join()
}
