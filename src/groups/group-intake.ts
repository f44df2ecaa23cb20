import type { Clock } from '../core/clock.ts'
import type { Decoder } from '../delivery/decoder.ts'
import type { DeliveryStats } from '../delivery/delivery-stats.ts'
import { Duplicates } from '../delivery/duplicates.ts'
import type { Feed } from '../delivery/feed.ts'
import { DeliveredMessage, type MessageOwner } from '../delivery/message.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import type { GroupChannel } from './group-channel.ts'
import { type GroupCandidate, GroupLane, type Place } from './group-lane.ts'
import { Hands } from './hands.ts'
import type { SlotKeeper } from './slot-keeper.ts'
import { slotOf } from './slots.ts'

export interface GroupIntakeComponents {
  readonly store: Store
  readonly feed: Feed
  readonly decoder: Decoder
  readonly channel: Pick<GroupChannel, 'state'>
  readonly clock: Clock
  readonly stats: DeliveryStats
}

export interface GroupIntakeInit {
  readonly maxInFlight: number
  readonly ackTimeoutMs: number
  readonly matches: (topic: string) => boolean
  /** Whom the messages belong to. */
  readonly owner: MessageOwner
  readonly slots: () => Pick<SlotKeeper, 'fenceOf' | 'owns'>
  readonly onReadable: () => void
  readonly onLost: (
    channel: string,
    lost: { from: number; to: number; entry: JournalEntry | undefined }
  ) => void
  readonly onError: (error: unknown) => void
}

/** Messages read whose key is not ready yet, or that have a later time, beyond which nothing more is read. */
const MAX_WAITING = 1_024

/** Reads the channels of a group, and says what is to be handed over next of the slots that this node has. */
export class GroupIntake {
  readonly hands = new Hands<DeliveredMessage>()
  readonly #components: GroupIntakeComponents
  readonly #init: GroupIntakeInit
  readonly #lanes = new Map<string, GroupLane>()
  readonly #duplicates: Duplicates

  constructor(components: GroupIntakeComponents, init: GroupIntakeInit) {
    this.#components = components
    this.#init = init
    this.#duplicates = new Duplicates(components.clock)
  }

  channels(): IterableIterator<string> {
    return this.#lanes.keys()
  }

  lanes(): IterableIterator<GroupLane> {
    return this.#lanes.values()
  }

  get isFull(): boolean {
    return this.hands.size >= this.#init.maxInFlight
  }

  hasLane(channel: string): boolean {
    return this.#lanes.has(channel)
  }

  addLane(channel: string, place: Place): void {
    const { matches, onError, onLost, onReadable } = this.#init
    const { state } = this.#components.channel
    const lane = new GroupLane(
      { ...this.#components, state },
      {
        channel,
        ...place,
        matches,
        onReadable,
        onLost: (lost) => onLost(channel, lost),
        onExpired: () => {
          this.#components.stats.expired++
        },
        onError
      }
    )
    this.#lanes.set(channel, lane)
  }

  /** The group began earlier than it seemed. */
  rewind(channel: string, place: Place): void {
    this.#lanes.get(channel)?.rewind(place)
  }

  /** Slots came to this node: what was passed over is read. */
  readAgain(): void {
    for (const lane of this.#lanes.values()) lane.again()
  }

  close(): void {
    for (const lane of this.#lanes.values()) lane.close()
  }

  isDone(log: string, sequence: number): boolean {
    return this.#components.channel.state.isDone(log, sequence)
  }

  /** The next message to hand over; it counts as handed over. */
  take(): DeliveredMessage | undefined {
    const { clock, stats } = this.#components
    const now = clock.monotonic()
    const deadline = now + this.#init.ackTimeoutMs
    const again = this.hands.again(now, deadline)
    if (again !== undefined) {
      stats.delivered++
      if (again.attempt > 1) stats.redelivered++
      return again.held.again(again.attempt, this.#init.slots().fenceOf(again.slot))
    }
    return this.isFull ? undefined : this.#first(now, deadline)
  }

  #first(now: number, deadline: number): DeliveredMessage | undefined {
    const { clock, stats } = this.#components
    for (;;) {
      const work = this.hands.ready()
      if (work === undefined) {
        if (!this.#read()) return undefined
        continue
      }
      const waitMs = (work.held.candidate.message.deliverAt ?? 0) - clock.now()
      if (this.isDone(work.log, work.sequence) || this.#isDuplicate(work.held)) {
        this.hands.finish(work.id)
      } else if (waitMs > 0) {
        this.hands.postpone(work, now + waitMs)
      } else {
        this.hands.handOver(work, deadline)
        stats.delivered++
        return work.held
      }
    }
  }

  /** Takes in messages until one is ready; false where there is nothing to read now. */
  #read(): boolean {
    for (const lane of this.#lanes.values()) {
      while (this.hands.waiting < MAX_WAITING) {
        const next = lane.next()
        if (next === undefined) break
        this.#consider(next)
        if (this.hands.ready() !== undefined) return true
      }
    }
    return false
  }

  #consider({ candidate, log, sequence }: GroupCandidate): void {
    const { late } = candidate.entry
    const message = new DeliveredMessage(this.#init.owner, candidate, { attempt: 1, late })
    const { id, key } = message
    const slot = slotOf(key, id)
    const slots = this.#init.slots()
    if (!slots.owns(slot) || this.hands.has(id)) return
    const held = message.again(1, slots.fenceOf(slot))
    this.hands.add({ id, log, sequence, slot, key, held })
  }

  #isDuplicate(message: DeliveredMessage): boolean {
    const { candidate, id, publisher, sequence, session, time } = message
    const { message: decoded, entry } = candidate
    if (decoded.id === undefined) return false
    const scope = `${publisher}/${entry.channel}`
    if (!this.#duplicates.isDuplicate(scope, decoded.id, id, time.getTime())) return false
    this.#components.stats.duplicates++
    this.#components.channel.state.finish(`${publisher}/${session}/${entry.channel}`, sequence)
    return true
  }
}
