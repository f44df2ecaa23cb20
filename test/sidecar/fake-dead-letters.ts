import { SkeinError } from '../../src/core/errors.ts'
import type { DeadLetterEntry } from '../../src/node/contract.ts'

/** Dead letters of a node in memory. */
export class FakeDeadLetters {
  entries: DeadLetterEntry[] = []

  /** One more, of the subscription 's'. */
  add(id: string): void {
    this.entries.push({
      id,
      subscription: 's',
      topic: 'orders/new',
      messageId: `message of ${id}`,
      publisher: 'ben',
      time: new Date(1000),
      attempts: 5,
      reason: 'handler error',
      error: 'no such account',
      since: new Date(2000),
      bytes: 3
    })
  }

  list({ limit, subscription }: { subscription?: string; limit?: number }): DeadLetterEntry[] {
    const wanted = this.entries.filter(
      (letter) => subscription === undefined || letter.subscription === subscription
    )
    return wanted.slice(0, limit)
  }

  redrive(isKnown: boolean, ids: readonly string[] | undefined): number {
    if (!isKnown) throw new SkeinError('ERR_SUBSCRIPTION_UNKNOWN', 'unknown')
    const left = this.entries.filter(({ id }) => ids?.includes(id) === false)
    const redriven = this.entries.length - left.length
    this.entries = left
    return redriven
  }
}
