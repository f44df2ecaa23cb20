import type { Hole } from '../replication/gaps.ts'
import type { DeadLetter, SubscribeOptions, WhereFilter } from './contract.ts'
import type { Where } from './where.ts'

/** What makes a subscription; `Self`: the subscription itself, as it is given to those who open and close it. */
export interface SubscriptionInit<Self> {
  readonly filter: string
  readonly durable: string | undefined
  readonly autoAck: boolean
  readonly maxInFlight: number
  readonly ackTimeoutMs: number
  /** 0: no limit. */
  readonly maxDeliveries: number
  readonly retry: SubscribeOptions['retry']
  /** Channel of its dead letters; of a durable one. */
  readonly deadLetters: string | undefined
  readonly onDeadLetter: (letter: DeadLetter) => void
  readonly gapTimeoutMs: number
  readonly onGap: 'wait' | 'skip'
  /** False: in the order of the journal, whatever the priorities. */
  readonly byPriority: boolean
  readonly createdAt: number
  /** What was born before, by the local clock, is not handed over. */
  readonly notBefore: number
  readonly matches: (topic: string) => boolean
  readonly where: readonly WhereFilter[] | undefined
  /** `where`, compiled. */
  readonly passes: Where | undefined
  /** Stores the cursor, joins the channels, gives the lanes their place. */
  readonly open: (subscription: Self) => Promise<void>
  /** A durable one goes on without a gap that lasted too long, where it may. */
  readonly giveUp: (hole: Hole) => void
  /** Undoes `open`; called once. */
  readonly close: (subscription: Self) => Promise<void>
}
