import type { CommitQueue } from './commit-queue.ts'
import type { LogRef, SequenceRange } from './contract.ts'
import { lose } from './held-log.ts'
import type { Loss } from './held-log.ts'
import type { Journal } from './journal.ts'
import { logName } from './keys.ts'
import type { LogRead } from './log-reader.ts'
import type { LogSlot } from './mirror.ts'
import type { Subscriptions } from './subscriptions.ts'

export interface QuarantineComponents {
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly subscriptions: Subscriptions
  reported(log: LogRef, range: SequenceRange): void
}

/**
 * Takes what is damaged or missing out of the held range, so that it is a hole like any other and is fetched again
 * from peers. Returned records are put into the journal once more where a durable subscription had not read them.
 */
export class Quarantine {
  readonly #components: QuarantineComponents
  #ranges = 0

  constructor(components: QuarantineComponents) {
    this.#components = components
  }

  /** Ranges taken out since start. */
  get ranges(): number {
    return this.#ranges
  }

  /** At once in memory; on disk with the next commit. */
  take(slot: LogSlot, { losses, badKeys }: Pick<LogRead, 'losses' | 'badKeys'>): void {
    const fresh = losses.filter((loss) => isStillHeld(slot, loss))
    for (const loss of fresh) slot.change((log) => lose(log, loss))
    this.#ranges += fresh.length
    if (fresh.length === 0 && badKeys.length === 0) return
    const { queue } = this.#components
    queue.push({
      sync: false,
      build: async (commit) => {
        for (const key of badKeys) commit.delete(key)
        commit.logs.add(slot)
        const unread = await this.#unread(slot, fresh)
        slot.owed = [...slot.owed, ...unread]
        commit.written.push(() => {
          for (const { from, to } of fresh) this.#components.reported(slot.ref, { from, to })
        })
        return true
      },
      settle: nothing,
      fail: nothing
    })
  }

  /** The ranges that some durable subscription has still to read. */
  async #unread(slot: LogSlot, losses: readonly Loss[]): Promise<SequenceRange[]> {
    const { journal, subscriptions } = this.#components
    const { channel } = slot.planned
    const delivered = losses.filter(({ from }) => from <= slot.journaled)
    const least = subscriptions.leastOffset(channel)
    if (delivered.length === 0 || least === Infinity) return []
    const name = logName(slot.planned)
    const unread: SequenceRange[] = []
    await journal.rows(channel, least, ({ row }) => {
      if (row === undefined || logName(row) !== name) return true
      const range = { from: row.first, to: row.first + row.count - 1 }
      if (delivered.some(({ from, to }) => from <= range.to && range.from <= to)) unread.push(range)
      return true
    })
    return unread
  }
}

function isStillHeld(slot: LogSlot, { from, to }: SequenceRange): boolean {
  const { floor, head, islands } = slot.committed
  return [{ from: floor, to: head }, ...islands].some((held) => held.from <= to && from <= held.to)
}

// A store that fails is read anew from the disk, and finds the damage again.
const nothing = (): void => {}
