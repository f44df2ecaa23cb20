import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { Sync } from '../replication/sync.ts'
import type { LogRef, Store } from '../store/contract.ts'
import type { InboxReceipts } from './inbox-receipts.ts'

export interface ReceiptTellerComponents {
  readonly store: Pick<Store, 'events'>
  readonly transport: Pick<Transport, 'events'>
  readonly sync: Pick<Sync, 'showReceipts'>
  readonly receipts: Pick<InboxReceipts, 'receiptFor'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface ReceiptTellerInit {
  /** Channel of this node's inbox. */
  readonly channel: string
}

interface Holders {
  readonly log: LogRef
  /** Neighbours that hold messages of the log, with the receipt they were shown last. */
  readonly shown: Map<PeerId, Uint8Array | undefined>
}

/** Receipts of one moment go out together, and share a sync of the disk. */
const GATHER_MS = 10

/** Shows those who hold messages for this node what of it has arrived, so that they can let go of it. */
export class ReceiptTeller {
  readonly #components: ReceiptTellerComponents
  readonly #init: ReceiptTellerInit
  readonly #holders = new Map<string, Holders>()
  readonly #dirty = new Set<Holders>()
  #timer: Timer | undefined
  readonly #cleanup: (() => void)[] = []

  constructor(components: ReceiptTellerComponents, init: ReceiptTellerInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { store, transport } = this.#components
    this.#cleanup.push(
      store.events.on('changed', ({ logs }) => {
        for (const log of logs) if (log.channel === this.#init.channel) this.#tellSoon(log)
      }),
      transport.events.on('peer:down', ({ peer }) => {
        for (const [key, { shown }] of this.#holders) {
          shown.delete(peer)
          if (shown.size === 0) this.#holders.delete(key)
        }
      })
    )
  }

  stop(): void {
    for (const undo of this.#cleanup.splice(0)) undo()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** A neighbour holds these logs of this node's inbox. */
  held(peer: PeerId, logs: readonly LogRef[]): void {
    for (const log of logs) {
      const key = keyOf(log)
      const holders = this.#holders.get(key) ?? { log, shown: new Map() }
      this.#holders.set(key, holders)
      // Whoever says so has not taken in what it was shown before.
      holders.shown.set(peer, undefined)
      this.#tellSoon(log)
    }
  }

  #tellSoon(log: LogRef): void {
    const holders = this.#holders.get(keyOf(log))
    if (holders === undefined) return
    this.#dirty.add(holders)
    this.#timer ??= this.#components.clock.after(GATHER_MS, () => {
      this.#timer = undefined
      void this.#tell()
    })
  }

  async #tell(): Promise<void> {
    const { logger, receipts, sync } = this.#components
    const due = [...this.#dirty]
    this.#dirty.clear()
    for (const { log, shown } of due) {
      try {
        const receipt = await receipts.receiptFor(log)
        if (receipt === undefined) continue
        for (const [peer, last] of shown) {
          if (last === receipt) continue
          shown.set(peer, receipt)
          sync.showReceipts(peer, [receipt])
        }
      } catch (error) {
        if (!isSkeinError(error)) throw error
        // The next change of the log tries again; until then its holders keep their copies.
        logger.warn({ err: error, log }, 'a receipt could not be made')
      }
    }
  }
}

function keyOf({ publisher, session }: LogRef): string {
  return `${publisher}/${session}`
}
