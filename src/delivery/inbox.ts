import { type Clock, every, type Timer } from '../core/clock.ts'
import type { Emitter, Events } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import type { Store } from '../store/contract.ts'
import type { Signer } from '../wire/signature.ts'
import { Custody } from './custody.ts'
import { CustodyOffers } from './custody-offers.ts'
import { InboxReceipts, type InboxReceiptsEvents } from './inbox-receipts.ts'
import type { OutboundMessage, SentMessage } from './outbound-message.ts'
import { Outbox, type OutboxComponents, type OutboxEvents } from './outbox.ts'

export interface InboxComponents {
  readonly store: Store
  readonly publisher: OutboxComponents['publisher']
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signer: Signer
}

export interface InboxInit {
  /** Does this node keep messages for others? */
  readonly custodian: boolean
  /** Connected peers that keep messages for others. */
  readonly candidates: () => readonly PeerId[]
  /** The peer of that name or PeerId. Throws ERR_PEER_UNKNOWN, ERR_PEER_AMBIGUOUS. */
  readonly resolve: (peer: string) => PeerId
  /** The name of a peer, where it is known. */
  readonly nameOf: (peer: PeerId) => string | undefined
}

export interface InboxEmitters {
  readonly outbox: Emitter<OutboxEvents>
  readonly receipts: Emitter<InboxReceiptsEvents>
}

/** Receipts of logs that are gone are forgotten this often, ms. */
const PRUNE_MS = 3_600_000

/** Messages to one peer: what this node sent, keeps for others, and signs for. */
export class Inbox implements Lifecycle {
  readonly receipts: InboxReceipts
  readonly outbox: Outbox
  readonly custody: Custody
  readonly #components: InboxComponents
  readonly #init: InboxInit
  #pruner: Timer | undefined

  constructor(components: InboxComponents, init: InboxInit, emitters: InboxEmitters) {
    const self = components.transport.self.id
    const { candidates, custodian, nameOf } = init
    this.#components = components
    this.#init = init
    this.receipts = new InboxReceipts(components, { self }, emitters.receipts)
    this.custody = new Custody({ ...components, receipts: this.receipts }, { self, custodian })
    const offers = new CustodyOffers(components, { self, candidates })
    this.outbox = new Outbox(
      { ...components, offers, receipts: this.receipts },
      { self, nameOf },
      emitters.outbox
    )
  }

  get events(): Events<OutboxEvents> {
    return this.outbox.events
  }

  /** After the store and the publisher, before the transport. */
  async start(): Promise<void> {
    const { clock, logger } = this.#components
    await this.receipts.start()
    await this.outbox.start()
    this.custody.start()
    this.#pruner ??= every(clock, PRUNE_MS, () =>
      this.receipts.prune().catch((error: unknown) => {
        logger.warn({ err: error }, 'receipts of logs that are gone could not be forgotten')
      })
    )
  }

  /** Before the transport and the publisher. */
  async stop(): Promise<void> {
    this.#pruner?.cancel()
    await this.custody.stop()
    await this.outbox.stop()
    await this.receipts.stop()
  }

  /** To a peer by PeerId or name; see `Outbox.send`. Rejects with ERR_PEER_UNKNOWN, ERR_PEER_AMBIGUOUS too. */
  async send(peer: string, message: Omit<OutboundMessage, 'to'>): Promise<SentMessage> {
    return this.outbox.send({ ...message, to: this.#init.resolve(peer) })
  }
}
