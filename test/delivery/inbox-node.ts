import { systemClock, type Clock } from '../../src/core/clock.ts'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { Custody } from '../../src/delivery/custody.ts'
import { CustodyOffers } from '../../src/delivery/custody-offers.ts'
import { InboxReceipts, type InboxReceiptsEvents } from '../../src/delivery/inbox-receipts.ts'
import type { OutboundMessage } from '../../src/delivery/outbound-message.ts'
import { Outbox, type OutboxEvents } from '../../src/delivery/outbox.ts'
import type { Transport } from '../../src/mesh/contract.ts'
import type { Receipt } from '../../src/replication/batch.ts'
import type { Outgoing } from '../../src/replication/log-writer.ts'
import type { LogRef, Store } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import { agreementKeyFromSeed } from '../../src/wire/hpke.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { formatMessageId } from '../../src/wire/message-id.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { newSession } from '../../src/wire/session.ts'
import { createSigner, type Signer } from '../../src/wire/signature.ts'
import { LoneTransport } from '../fixtures/lone-transport.ts'

export const seedOf = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
export const signerOf = (fill: number): Signer => createSigner(seedOf(fill))
export const peerOf = (fill: number): string => peerIdFromPublicKey(signerOf(fill).publicKey)
export const keyOf = (fill: number): ReturnType<typeof agreementKeyFromSeed> =>
  agreementKeyFromSeed(seedOf(fill))

export interface InboxNodeInit {
  /** Which key. */
  readonly fill: number
  readonly clock?: Clock
  /** Outlives the node. */
  readonly disk?: ReturnType<typeof openMemory>
  readonly transport?: Transport
  readonly candidates?: () => readonly string[]
  readonly custodian?: boolean
  readonly custodyBytes?: number
}

/** One record for each message, in one session for each life. */
class PlainPublisher {
  readonly #store: Store
  readonly #clock: Clock
  readonly #signer: Signer
  #session = ''
  readonly #logs = new Map<string, { next: number; previous: Uint8Array | undefined }>()

  constructor(store: Store, clock: Clock, signer: Signer) {
    this.#store = store
    this.#clock = clock
    this.#signer = signer
  }

  start(): void {
    const publisher = peerIdFromPublicKey(this.#signer.publicKey)
    const above = this.#store.latestSession(publisher)
    this.#session = newSession(this.#clock.now(), seededRandom(1), above)
  }

  async publish(outgoing: Outgoing, _confirm: 'stored'): Promise<Receipt> {
    const { channel } = outgoing.topic
    const log = this.#logs.get(channel) ?? { next: 1, previous: undefined }
    this.#logs.set(channel, log)
    const builder = new BodyBuilder()
    builder.add(outgoing)
    const sequence = log.next++
    const ms = this.#clock.now()
    const record = sealRecord(
      {
        session: this.#session,
        channel,
        first: sequence,
        count: 1,
        previous: log.previous,
        before: undefined,
        time: { ms, counter: 0 },
        body: builder.finish()
      },
      this.#signer
    )
    log.previous = record.digest
    await this.#store.append([{ record, ageMs: 0 }], { sync: true })
    const { publisher, session } = record.header
    const id = formatMessageId({ publisher, session, sequence, channel })
    return { id, session, sequence, time: new Date(ms) }
  }
}

/** What one node needs to send, to keep for others and to sign for what it got. */
export class InboxNode {
  readonly self: string
  readonly store: Store
  readonly publisher: PlainPublisher
  readonly receipts: InboxReceipts
  readonly outbox: Outbox
  readonly custody: Custody
  readonly transport: Transport

  constructor(init: InboxNodeInit) {
    const clock = init.clock ?? systemClock
    const random = seededRandom(init.fill)
    const logger = silentLogger
    const signer = signerOf(init.fill)
    const self = peerOf(init.fill)
    const transport = init.transport ?? new LoneTransport(signer.publicKey)
    const store = createStore(
      { ...(init.disk ?? openMemory()), clock, random, logger },
      { reserveBytes: 0 }
    )
    const components = { store, transport, clock, random, logger, signer }
    this.self = self
    this.store = store
    this.transport = transport
    this.publisher = new PlainPublisher(store, clock, signer)
    this.receipts = new InboxReceipts(components, { self }, strict<InboxReceiptsEvents>())
    const candidates = init.candidates ?? (() => [])
    this.outbox = new Outbox(
      {
        ...components,
        publisher: this.publisher,
        receipts: this.receipts,
        offers: new CustodyOffers(components, { self, candidates })
      },
      { self, nameOf: (peer) => (peer === peerOf(2) ? 'ben' : undefined) },
      strict<OutboxEvents>()
    )
    this.custody = new Custody(
      { ...components, receipts: this.receipts },
      {
        self,
        custodian: init.custodian ?? true,
        maxBytes: init.custodyBytes
      }
    )
  }

  async start(): Promise<this> {
    await this.store.start()
    this.publisher.start()
    await this.receipts.start()
    await this.outbox.start()
    this.custody.start()
    await this.transport.start()
    return this
  }

  async stop(): Promise<void> {
    await this.custody.stop()
    await this.outbox.stop()
    await this.receipts.stop()
    await this.transport.stop()
    await this.store.stop()
  }

  /** Everything held of others' inboxes. */
  logsOf(recipient: string): LogRef[] {
    return this.store.logs(`@${recipient}`).map(({ channel, publisher, session }) => {
      return { channel, publisher, session }
    })
  }
}

function strict<Map extends object>(): Emitter<Map> {
  return new Emitter<Map>((error) => {
    throw error
  })
}

export const message = (
  to: string,
  text: string,
  more: Partial<OutboundMessage> = {}
): OutboundMessage => ({
  to,
  topic: 'alerts/disk',
  payload: Buffer.from(text),
  contentType: 'text/plain',
  ...more
})

/** Brings one node's records of an inbox to another, as sync does. */
export async function carry(
  from: InboxNode,
  to: InboxNode,
  log: LogRef,
  only?: (first: number) => boolean
): Promise<void> {
  for (const { record } of await from.store.readLog(log, 1)) {
    if (record === undefined || only?.(record.header.first) === false) continue
    await to.store.append([{ record, ageMs: 0, floor: 1 }], { sync: false })
    const state = to.store.log(log)
    const { first } = record.header
    if (state !== undefined && state.head < first - 1) {
      await to.store.giveUp(log, { from: state.head + 1, to: first - 1 }, 'skipped')
    }
  }
}

/** The recipient's receipt for a log. */
export async function receiptOf(node: InboxNode, log: LogRef): Promise<Uint8Array> {
  const receipt = await node.receipts.receiptFor(log)
  if (receipt === undefined) throw new Error('there is no receipt')
  return receipt
}
