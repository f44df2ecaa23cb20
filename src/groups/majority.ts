import { SkeinError } from '../core/errors.ts'
import type { Receipt } from '../replication/batch.ts'
import { isAtLeast, type Position } from './heard.ts'
import { Pulse, type PulseComponents, type PulseInit } from './pulse.ts'
import { Quorum, type QuorumComponents, type QuorumInit } from './quorum.ts'

export type MajorityComponents = PulseComponents & Omit<QuorumComponents, 'pulse'>
export type MajorityInit = PulseInit & QuorumInit

interface Waiter {
  readonly position: Position
  readonly resolve: () => void
  readonly reject: (error: SkeinError) => void
}

/** What one member of a group that works only as a majority keeps beside its slots. */
export class Majority {
  readonly pulse: Pulse
  readonly quorum: Quorum
  readonly #components: MajorityComponents
  readonly #waiters = new Set<Waiter>()

  constructor(components: MajorityComponents, init: MajorityInit) {
    this.#components = components
    this.pulse = new Pulse(components, init)
    this.quorum = new Quorum({ ...components, pulse: this.pulse }, init)
  }

  /** Resolves when a majority has read what this node said; rejects with ERR_REPLICAS when it has not in time. */
  async held(receipts: readonly Receipt[], timeoutMs: number): Promise<void> {
    let last: Position | undefined
    for (const { sequence, session } of receipts) {
      if (!isAtLeast(last, { session, sequence })) last = { session, sequence }
    }
    if (last !== undefined) await this.#held(last, timeoutMs)
  }

  /** To be called when something was heard, and now and then. */
  look(): void {
    for (const waiter of this.#waiters) {
      if (this.quorum.hasRead(waiter.position)) waiter.resolve()
    }
  }

  stop(): void {
    this.pulse.stop()
    const error = new SkeinError('ERR_STOPPED', 'the subscription was stopped', {
      details: { mayBeDelivered: true }
    })
    for (const { reject } of this.#waiters) reject(error)
  }

  async #held(position: Position, timeoutMs: number): Promise<void> {
    let waiter: Waiter | undefined
    const done = new Promise<void>((resolve, reject) => {
      waiter = { position, resolve, reject }
      this.#waiters.add(waiter)
    })
    const late = new SkeinError(
      'ERR_REPLICAS',
      `a majority of the group did not confirm it within ${timeoutMs} ms`,
      { details: { mayBeDelivered: true } }
    )
    const timer = this.#components.clock.after(timeoutMs, () => waiter?.reject(late))
    this.look()
    try {
      await done
    } finally {
      timer.cancel()
      if (waiter !== undefined) this.#waiters.delete(waiter)
    }
  }
}
