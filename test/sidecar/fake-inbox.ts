import { SkeinError } from '../../src/core/errors.ts'
import type {
  Data,
  OutboxEntry,
  SendOptions,
  Sent,
  SubscriberStatus,
  TopologyNode
} from '../../src/node/contract.ts'

/** The peer that is known by the name 'ben'. */
export const BEN = '12D3KooWBenBenBenBenBenBenBenBenBenBenBenBenBenBenB'
const WEEK_MS = 604_800_000

/** A durable subscription of his, who was heard of three hours ago. */
export function subscriberAtBen(): SubscriberStatus {
  return {
    peerId: BEN,
    node: 'ben',
    subscription: 'billing',
    filter: 'orders/#',
    lag: 7,
    state: 'down',
    lastSeen: new Date(Date.now() - 3 * 3_600_000),
    createdAt: new Date(1000)
  }
}

/** That node in the topology. */
export function topologyAtBen(): TopologyNode {
  const { lastSeen, peerId, state } = subscriberAtBen()
  return { peerId, name: 'ben', state, lastSeen, downSince: lastSeen, connectedTo: undefined }
}

/** A node in the topology that nobody is connected to. */
export function lone({ name, peerId }: { name: string; peerId: string }): TopologyNode {
  const known = { peerId, name, state: 'up' as const, lastSeen: new Date() }
  return { ...known, downSince: undefined, connectedTo: [] }
}

/** A copy of what was given. */
export function bytesOf(data: Data): Uint8Array {
  return data instanceof Uint8Array ? Uint8Array.from(data) : Buffer.from(data as string)
}

/** A message on its way, and what ends the wait for its receipt. */
export interface Waiting {
  readonly entry: OutboxEntry
  readonly payload: Uint8Array
  readonly options: SendOptions
  /** The receipt is here; with an error: it never will be. */
  readonly settle: (error?: Error) => void
}

/** Takes messages to 'ben', who has two custodians, and keeps them. */
export class FakeInbox {
  readonly sent: Waiting[] = []
  /** Called with each message that was taken. */
  onSend: (waiting: Waiting) => void = () => {}

  async send(peer: string, topic: string, data: Data, options: SendOptions): Promise<Sent> {
    if (peer !== 'ben' && peer !== BEN) {
      const details = { known: ['ben'] }
      throw new SkeinError('ERR_PEER_UNKNOWN', `No peer '${peer}' is known.`, { details })
    }
    const custodians = options.custodians ?? 0
    if (custodians > 2) {
      throw new SkeinError('ERR_CUSTODIANS', 'too few', { details: { mayBeDelivered: true } })
    }
    const payload = bytesOf(data)
    const since = new Date()
    const id = `12D3KooWSender/0192f00dba5e0001/${this.sent.length + 1}/@${BEN}`
    const entry: OutboxEntry = {
      id,
      to: BEN,
      toName: 'ben',
      topic,
      bytes: payload.length,
      since,
      expiresAt: new Date(since.getTime() + (options.ttlMs ?? WEEK_MS)),
      custodians: ['one', 'two'].slice(0, custodians)
    }
    const delivered = new Promise<void>((resolve, reject) => {
      const settle = (error?: Error): void => (error === undefined ? resolve() : reject(error))
      const waiting = { entry, payload, options, settle }
      this.sent.push(waiting)
      this.onSend(waiting)
    })
    return { id, to: BEN, time: since, delivered }
  }
}
