import type { Clock } from '../core/clock.ts'
import type { DeadLetter } from '../delivery/contract.ts'
import {
  deadLetterMessage,
  describeDeadLetter,
  type Failure,
  groupDeadLetterChannel
} from '../delivery/dead-letter.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import type { DeliveredMessage } from '../delivery/message.ts'
import { ParkedLane } from '../delivery/parked-lane.ts'
import { ParkedRows } from '../delivery/parked-rows.ts'
import type { Publisher } from '../replication/publisher.ts'
import type { Store } from '../store/contract.ts'

export interface GroupLettersComponents {
  readonly store: Store
  readonly publisher: Pick<Publisher, 'publish'>
  readonly clock: Clock
  readonly stats: DeliveryStats
}

export interface GroupLettersInit {
  readonly group: string
  readonly epoch: string
  /** 0: no limit. */
  readonly maxDeliveries: number
  readonly ackTimeoutMs: number
  /** May so many more messages be in flight? */
  readonly hasRoom: (more: number) => boolean
  readonly onReadable: () => void
  readonly onLetter: (letter: DeadLetter) => void
  readonly onError: (error: unknown) => void
}

/** Puts away what a member of a group handed over too often, and hands over again what was redriven on its node. */
export class GroupLetters {
  /** Redriven here: each with a copy of its own on disk, until it is acknowledged or a dead letter again. */
  readonly redriven: ParkedLane
  readonly #components: GroupLettersComponents
  readonly #init: GroupLettersInit

  constructor(components: GroupLettersComponents, init: GroupLettersInit) {
    const { clock, stats, store } = components
    this.#components = components
    this.#init = init
    this.redriven = new ParkedLane(
      { clock, rows: new ParkedRows(store, init.group) },
      {
        epoch: init.epoch,
        maxDeliveries: init.maxDeliveries || Infinity,
        ackTimeoutMs: init.ackTimeoutMs,
        hasRoom: init.hasRoom,
        bury: (message, attempts, failure) => this.bury(message, { ...failure, attempts }),
        onReadable: init.onReadable,
        onAcknowledged: () => {
          stats.acknowledged++
        },
        onExpired: () => {
          stats.expired++
        },
        onError: init.onError
      }
    )
  }

  /** Are these hand-overs as many as a message gets? */
  isSpent(attempts: number): boolean {
    return this.#init.maxDeliveries > 0 && attempts >= this.#init.maxDeliveries
  }

  /** Resolves when the dead letter is on disk. Rejects with what `Publisher.publish` rejects with. */
  async bury(message: DeliveredMessage, failure: Failure & { attempts: number }): Promise<void> {
    const { group, onLetter } = this.#init
    const letter = describeDeadLetter(group, message, failure)
    const channel = groupDeadLetterChannel(group)
    await this.#components.publisher.publish(deadLetterMessage(channel, message, letter), 'stored')
    this.#components.stats.deadLetters++
    onLetter(letter)
  }

  /** The next of those that were redriven. */
  next(): DeliveredMessage | undefined {
    if (this.redriven.size === 0) return undefined
    const message = this.redriven.next()
    if (message === undefined) return undefined
    this.#components.stats.delivered++
    if (message.attempt > 1) this.#components.stats.redelivered++
    return message
  }
}
