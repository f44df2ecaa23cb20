import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { LogRef, LogState, SequenceRange, Store, ValueSpace } from '../store/contract.ts'
import {
  covers,
  inboxChannel,
  type InboxReceipt,
  isInbox,
  openReceipt,
  signReceipt
} from '../wire/inbox-receipt.ts'
import type { Signer } from '../wire/signature.ts'

export interface InboxReceiptsComponents {
  readonly store: Pick<Store, 'events' | 'flush' | 'log' | 'logs' | 'raiseFloor' | 'values'>
  readonly signer: Signer
  readonly logger: Logger
}

export interface InboxReceiptsInit {
  /** PeerId of the signer, as text. */
  readonly self: PeerId
}

export interface InboxReceiptsEvents {
  /** A receipt that says more than those before is kept. `upTo`: the end of its last range. */
  received: { log: LogRef; ranges: readonly SequenceRange[]; upTo: number }
}

/** With so many skipped ranges, the store is about to forget the oldest. */
const DOUBTFUL_VOIDS = LIMITS.islands - 8

interface Kept {
  readonly bytes: Uint8Array
  readonly receipt: InboxReceipt
}

interface Issued {
  readonly ranges: readonly SequenceRange[]
  readonly bytes: Uint8Array
}

/**
 * Receipts of inboxes, on both sides: a recipient signs what it holds; a sender and a custodian keep the newest
 * receipt of each log and let go of what it covers.
 */
export class InboxReceipts {
  readonly #components: InboxReceiptsComponents
  readonly #init: InboxReceiptsInit
  readonly #emitter: Emitter<InboxReceiptsEvents>
  readonly #values: ValueSpace
  readonly #kept = new Map<string, Kept>()
  /** Receipts of this node's own inbox, for as long as what they say is true. */
  readonly #issued = new Map<string, Issued>()
  /** By log of this node's own inbox: what lies at or below it may not be held, whatever the store says. */
  readonly #doubts = new Map<string, number>()
  readonly #doubtValues: ValueSpace
  #unsubscribe: (() => void) | undefined
  #stopped = false
  /** Writes that are under way. */
  #writing: Promise<void> = Promise.resolve()

  constructor(
    components: InboxReceiptsComponents,
    init: InboxReceiptsInit,
    emitter: Emitter<InboxReceiptsEvents>
  ) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    this.#values = components.store.values('receipts')
    this.#doubtValues = components.store.values('receipt-doubts')
  }

  get events(): Events<InboxReceiptsEvents> {
    return this.#emitter
  }

  /** Reads the receipts kept; those of logs that are gone are forgotten. The store must be started. */
  async start(): Promise<void> {
    for (const [key, bytes] of await this.#values.entries()) {
      const receipt = openReceipt(bytes)
      this.#kept.set(key, { bytes, receipt })
    }
    for (const [key, value] of await this.#doubtValues.entries()) {
      this.#doubts.set(key, Number(Buffer.from(value).toString()))
    }
    const { store } = this.#components
    for (const state of store.logs(inboxChannel(this.#init.self))) this.#doubt(state)
    this.#unsubscribe ??= store.events.on('given-up', ({ log }) => {
      const state = store.log(log)
      if (state !== undefined && log.channel === inboxChannel(this.#init.self)) this.#doubt(state)
    })
    await this.prune()
    // A crash may have come between a receipt and what it frees.
    for (const { receipt } of this.#kept.values()) await this.#free(receipt)
  }

  /** Resolves when what was accepted is written. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#unsubscribe?.()
    await this.#writing
  }

  /**
   * What this node holds of a log in its own inbox, on disk and synced, signed. Undefined for other logs and while
   * nothing is held. Rejects with ERR_STORE_WRITE, ERR_STORE_FAILED where it cannot be synced.
   */
  async receiptFor(log: LogRef): Promise<Uint8Array | undefined> {
    const { signer, store } = this.#components
    if (log.channel !== inboxChannel(this.#init.self)) return undefined
    const state = store.log(log)
    // Taken before the sync: what comes after it may not be on disk yet.
    if (state === undefined) return undefined
    this.#doubt(state)
    const key = keyOf(this.#init.self, log)
    const certain = above(heldOf(state), this.#doubts.get(key) ?? 0)
    const ranges = certain.slice(-LIMITS.receiptRanges)
    if (ranges.length === 0) return undefined
    const issued = this.#issued.get(key)
    if (issued !== undefined && sameRanges(issued.ranges, ranges)) return issued.bytes
    await store.flush()
    const { publisher, session } = log
    const bytes = signReceipt({ publisher, session, ranges }, signer)
    this.#issued.set(key, { ranges, bytes })
    return bytes
  }

  /** The receipt kept of a log in somebody's inbox. */
  held(log: LogRef): Uint8Array | undefined {
    return this.#find(log)?.bytes
  }

  /** Does a receipt that is kept cover the message? */
  isReceived(log: LogRef, sequence: number): boolean {
    return covers(this.#find(log)?.receipt.ranges ?? [], sequence)
  }

  /**
   * Takes a receipt from whoever shows it: keeps it, tells of it, and lets go of what it covers. One of a log that
   * is not held here is passed over. Throws ERR_RECORD where it is malformed or not signed by the recipient.
   */
  accept(bytes: Uint8Array, from: PeerId): void {
    const { logger, store } = this.#components
    if (this.#stopped) return
    const receipt = openReceipt(bytes)
    const log = logOf(receipt)
    const key = keyOf(receipt.recipient, receipt)
    if (receipt.recipient === this.#init.self || store.log(log) === undefined) return
    const known = this.#kept.get(key)
    if (known !== undefined && !saysMore(receipt.ranges, known.receipt.ranges)) return
    // A receipt may outlive the frame it came in.
    const kept = { bytes: Uint8Array.from(bytes), receipt }
    // Of two that each say something new, the longer one is kept and both are acted upon.
    if (known === undefined || countOf(receipt.ranges) >= countOf(known.receipt.ranges)) {
      this.#kept.set(key, kept)
    }
    this.#writing = this.#writing
      .then(() => this.#settle(kept, key))
      .catch((error: unknown) => {
        // Whoever has it shows it again: nothing is lost but time.
        if (this.#kept.get(key) === kept) this.#kept.delete(key)
        logger.warn({ err: error, from, log }, 'a receipt could not be written')
      })
  }

  /** Forgets the receipts of logs that are gone. */
  async prune(): Promise<void> {
    for (const [key, { receipt }] of this.#kept) {
      if (this.#components.store.log(logOf(receipt)) !== undefined) continue
      this.#kept.delete(key)
      await this.#values.delete(key)
    }
    for (const key of this.#issued.keys()) {
      const [, publisher = '', session = ''] = key.split('/')
      const log = { channel: inboxChannel(this.#init.self), publisher, session }
      if (this.#components.store.log(log) === undefined) this.#issued.delete(key)
    }
    for (const key of this.#doubts.keys()) {
      const [, publisher = '', session = ''] = key.split('/')
      const log = { channel: inboxChannel(this.#init.self), publisher, session }
      if (this.#components.store.log(log) !== undefined) continue
      this.#doubts.delete(key)
      await this.#doubtValues.delete(key)
    }
  }

  /**
   * The store remembers LIMITS.islands ranges that were skipped, and takes older ones for held. A receipt for what
   * never came would lose it, so before that happens nothing below the oldest of them is signed for any more.
   */
  #doubt(state: LogState): void {
    const oldest = state.voids[0]
    if (oldest === undefined || state.voids.length < DOUBTFUL_VOIDS) return
    const key = keyOf(this.#init.self, state)
    const below = oldest.from - 1
    if ((this.#doubts.get(key) ?? 0) >= below) return
    this.#doubts.set(key, below)
    this.#writing = this.#writing
      .then(() => this.#doubtValues.put(key, Buffer.from(`${below}`)))
      .catch((error: unknown) => {
        this.#components.logger.warn({ err: error }, 'a doubt about an inbox could not be written')
      })
  }

  #find(log: LogRef): Kept | undefined {
    if (!isInbox(log.channel)) return undefined
    return this.#kept.get(keyOf(log.channel.slice(1), log))
  }

  async #settle(kept: Kept, key: string): Promise<void> {
    const { ranges } = kept.receipt
    const log = logOf(kept.receipt)
    // Before anything is let go: after a crash the receipt must still say why it is gone.
    if (this.#kept.get(key) === kept) await this.#values.put(key, kept.bytes)
    this.#emitter.emit('received', { log, ranges, upTo: ranges.at(-1)?.to ?? 0 })
    await this.#free(kept.receipt)
  }

  /** A custodian's copy goes, up to the first message that was not received. A sender's own is the outbox's affair. */
  async #free(receipt: InboxReceipt): Promise<void> {
    const { store } = this.#components
    const log = logOf(receipt)
    const state = store.log(log)
    if (log.publisher === this.#init.self || state === undefined) return
    const held = heldOf(state)
    const last = held.at(-1)
    if (last === undefined) return
    await store.raiseFloor(log, firstUncovered(held, receipt.ranges) ?? last.to + 1)
  }
}

/** What is held of a log, without what only counts as held: ascending, not touching. */
export function heldOf(state: LogState): SequenceRange[] {
  const counted = state.head < state.floor ? [] : [{ from: state.floor, to: state.head }]
  const held: SequenceRange[] = []
  for (const range of [...counted, ...state.islands]) {
    let { from } = range
    for (const missing of state.voids) {
      if (missing.to < from || missing.from > range.to) continue
      if (missing.from > from) held.push({ from, to: missing.from - 1 })
      from = missing.to + 1
    }
    if (from <= range.to) held.push({ from, to: range.to })
  }
  return held
}

function above(ranges: readonly SequenceRange[], sequence: number): SequenceRange[] {
  return ranges
    .filter(({ to }) => to > sequence)
    .map(({ from, to }) => ({ from: Math.max(from, sequence + 1), to }))
}

/** The first sequence of `held` that `ranges` do not cover. Both ascending, `ranges` not touching. */
function firstUncovered(
  held: readonly SequenceRange[],
  ranges: readonly SequenceRange[]
): number | undefined {
  for (const { from, to } of held) {
    const around = ranges.find((range) => range.from <= from && from <= range.to)
    if (around === undefined) return from
    if (around.to < to) return around.to + 1
  }
  return undefined
}

function saysMore(ranges: readonly SequenceRange[], known: readonly SequenceRange[]): boolean {
  return firstUncovered(ranges, known) !== undefined
}

function countOf(ranges: readonly SequenceRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0)
}

function sameRanges(a: readonly SequenceRange[], b: readonly SequenceRange[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ from, to }, index) => from === b[index]?.from && to === b[index]?.to)
  )
}

function logOf({ publisher, recipient, session }: InboxReceipt): LogRef {
  return { channel: inboxChannel(recipient), publisher, session }
}

function keyOf(recipient: string, log: { publisher: string; session: string }): string {
  return `${recipient}/${log.publisher}/${log.session}`
}
