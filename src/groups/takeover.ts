import type { Clock } from '../core/clock.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Hearing } from './hearing.ts'
import type { Position } from './heard.ts'
import type { Quorum } from './quorum.ts'
import type { Tenure } from './slot-table.ts'

export interface TakeoverComponents {
  readonly hearing: Pick<Hearing, 'ask' | 'covers' | 'isBehind' | 'isHeardBy'>
  readonly clock: Clock
}

export interface TakeoverInit {
  /** Other members that are at work or may be. */
  readonly others: () => readonly PeerId[]
  /** Where a majority decides: nobody who does not answer is waited for no more, and all slots are claimed. */
  readonly quorum: () => Pick<Quorum, 'hasAnswered'> | undefined
  /** Says who has which slots, in this node's own words. */
  readonly confirm: () => Promise<void>
}

/** Who does not answer is waited for so long, ms. */
export const ANSWER_MS = 10_000

interface Wait {
  readonly epoch: number
  /** Monotonic ms. */
  readonly since: number
  /** Taken by this node's own word, which others may not know yet; else its owner gave it to this node. */
  readonly claimed: boolean
  /** Said in this node's own words. */
  said: boolean
  /** Asked after the claim. */
  question: Position | undefined
}

/**
 * Slots that fell to this node. It hands nothing of them over before it has read what whoever gave them had read. Those
 * that it took it has told the others of: two that take one slot at once both wait until each knows of the other, and
 * by then agree on who has it.
 */
export class Takeover {
  readonly #components: TakeoverComponents
  readonly #init: TakeoverInit
  readonly #waits = new Map<number, Wait>()
  #asking = false

  constructor(components: TakeoverComponents, init: TakeoverInit) {
    this.#components = components
    this.#init = init
  }

  get isWaiting(): boolean {
    return this.#waits.size > 0
  }

  /** This node is about to say that it takes these. */
  claim(claims: ReadonlyMap<number, Tenure>): void {
    for (const [slot, { epoch }] of claims) this.#wait(slot, epoch, true).said = true
  }

  /** This node owns the slot since that epoch: may it hand over? */
  isClear(slot: number, epoch: number): boolean {
    let wait = this.#waits.get(slot)
    if (wait?.epoch !== epoch) wait = this.#wait(slot, epoch, this.#init.quorum() !== undefined)
    const isOver = this.#components.clock.monotonic() - wait.since >= ANSWER_MS
    const isLate = isOver && this.#init.quorum() === undefined
    if (!isLate && !(wait.claimed ? this.isHeard(wait.question) : this.isRead)) return false
    this.#waits.delete(slot)
    return true
  }

  /** Somebody else has the slot since that epoch, or nobody. */
  forget(slot: number, epoch: number): void {
    const wait = this.#waits.get(slot)
    if (wait !== undefined && wait.epoch <= epoch) this.#waits.delete(slot)
  }

  /** What was to be claimed could not be said. */
  unclaim(claims: ReadonlyMap<number, Tenure>): void {
    for (const [slot, { epoch }] of claims) this.forget(slot, epoch)
  }

  /** Asks the others whether they know of what was claimed since the last time. What was claimed is said. */
  async ask(): Promise<void> {
    const waits = [...this.#waits.values()].filter(
      ({ claimed, question }) => claimed && question === undefined
    )
    if (waits.length === 0 || this.#asking) return
    this.#asking = true
    try {
      if (waits.some(({ said }) => !said)) await this.#init.confirm()
      for (const wait of waits) wait.said = true
      const question = await this.#components.hearing.ask()
      for (const wait of waits) wait.question = question
    } finally {
      this.#asking = false
    }
  }

  /** Has everybody answered, and is all that they had read by then here? */
  isHeard(question: Position | undefined): boolean {
    if (question === undefined) return false
    const { hearing } = this.#components
    const quorum = this.#init.quorum()
    if (quorum !== undefined) {
      return quorum.hasAnswered((peer) => hearing.isHeardBy(peer, question) && hearing.covers(peer))
    }
    return this.isRead && this.#init.others().every((peer) => hearing.isHeardBy(peer, question))
  }

  get isRead(): boolean {
    return !this.#components.hearing.isBehind
  }

  #wait(slot: number, epoch: number, claimed: boolean): Wait {
    const since = this.#components.clock.monotonic()
    const wait: Wait = { epoch, since, claimed, said: false, question: undefined }
    this.#waits.set(slot, wait)
    return wait
  }
}
