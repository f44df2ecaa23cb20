import '../polyfill.ts'
import { createHash } from 'node:crypto'

import { gossipsub, StrictNoSign, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub'
import type { GossipSub, GossipSubComponents } from '@chainsafe/libp2p-gossipsub'
import type { Connection, PeerId as Libp2pPeerId } from '@libp2p/interface'

import { LIMITS, MIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'

import type { PeerId, Verdict } from './contract.ts'
import { DEGREE } from './dissemination.ts'
import type { Gossip } from './dissemination.ts'
import { gossipTopic } from './network-key.ts'

/** Of one RPC: far above what honest nodes send, since only heads travel by gossip. */
const RPC_ITEMS = 1000
/** Above it, gossipsub goes deaf on the link for ever; a thousand heads fit. */
const RPC_BYTES = MIB
/** Bytes that gossip may buffer for one neighbour, as 8,000 heads; beyond, its stream is cut and repaired. */
const OUTBOUND_BYTES = 8 * MIB

const VERDICTS = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject
} as const

/** What gossipsub has and its interface does not show. */
interface GossipSubInternals extends GossipSub {
  getMeshPeers(topic: string): PeerId[]
  getScore(peer: PeerId): number
  onPeerConnected(peer: Libp2pPeerId, connection: Connection): void
}

export interface ChannelGossipInit {
  readonly mesh: string
  readonly logger: Logger
  readonly score: (peer: PeerId) => number
  readonly onHead: (from: PeerId, channel: string, bytes: Uint8Array) => Verdict | Promise<Verdict>
  readonly onMeshShrank: (channel: string) => void
}

function messageId(message: { topic: string; data?: Uint8Array }): Buffer {
  const hash = createHash('sha256').update(message.topic)
  if (message.data !== undefined) hash.update(message.data)
  return hash.digest()
}

/** gossipsub, speaking of channels: it carries heads, and its mesh decides who pushes to whom. */
export class ChannelGossip implements Gossip {
  readonly #init: ChannelGossipInit
  readonly #topics = new Map<string, string>()
  #sub: GossipSubInternals | undefined

  constructor(init: ChannelGossipInit) {
    this.#init = init
  }

  /** For libp2p's list of services. */
  service = (components: GossipSubComponents): GossipSub => {
    const sub = gossipsub({
      globalSignaturePolicy: StrictNoSign,
      // The id is over what was received, so that no tampered copy hides the true one; cheap enough to be the
      // fast id too, which gossipsub looks at before it validates a copy.
      msgIdFn: messageId,
      fastMsgIdFn: (message) => messageId(message).toString('latin1'),
      msgIdToStrFn: (id) => Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1'),
      D: DEGREE,
      floodPublish: false,
      fallbackToFloodsub: false,
      allowPublishToZeroTopicPeers: true,
      ignoreDuplicatePublishError: true,
      awaitRpcHandler: true,
      maxInboundDataLength: RPC_BYTES,
      maxOutboundBufferSize: OUTBOUND_BYTES,
      decodeRpcLimits: {
        maxSubscriptions: RPC_ITEMS,
        maxMessages: RPC_ITEMS,
        maxIhaveMessageIDs: RPC_ITEMS * 5,
        maxIwantMessageIDs: RPC_ITEMS,
        maxIdontwantMessageIDs: 512,
        maxControlMessages: RPC_ITEMS,
        maxPeerInfos: 16
      },
      // Heads are below it: asking others not to send one costs more than a second copy.
      idontwantMinDataSize: LIMITS.pushBytes,
      scoreParams: {
        // Many nodes behind one address are the rule here, not an attack.
        IPColocationFactorWeight: 0,
        appSpecificWeight: 1,
        appSpecificScore: this.#init.score
      }
    })(components) as GossipSubInternals
    this.#sub = sub
    sub.addEventListener('gossipsub:prune', ({ detail: { topic } }) => {
      const channel = this.#topics.get(topic)
      if (channel !== undefined) this.#init.onMeshShrank(channel)
    })
    return sub
  }

  join(channel: string): void {
    const topic = this.#topic(channel)
    this.#topics.set(topic, channel)
    this.#sub?.topicValidators.set(topic, async (peer, message) => {
      if (message.data.length > LIMITS.headBytes * 4) return TopicValidatorResult.Reject
      return VERDICTS[await this.#init.onHead(peer.toString(), channel, message.data)]
    })
    this.#sub?.subscribe(topic)
  }

  leave(channel: string): void {
    const topic = this.#topic(channel)
    this.#topics.delete(topic)
    this.#sub?.unsubscribe(topic)
    this.#sub?.topicValidators.delete(topic)
  }

  publish(channel: string, head: Uint8Array): void {
    this.#sub?.publish(this.#topic(channel), head).catch((error: unknown) => {
      this.#init.logger.debug({ error, channel }, 'gossip did not take a head')
    })
  }

  meshPeers(channel: string): readonly PeerId[] {
    return this.#sub?.getMeshPeers(this.#topic(channel)) ?? []
  }

  knows(peer: PeerId, channel: string): boolean {
    const subscribers = this.#sub?.getSubscribers(this.#topic(channel)) ?? []
    return subscribers.some((subscriber) => subscriber.toString() === peer)
  }

  score(peer: PeerId): number {
    return this.#sub?.getScore(peer) ?? 0
  }

  /** Opens gossip's stream on this connection where it has none: it does not do so itself on a live one. */
  reopen(connection: Connection): void {
    this.#sub?.onPeerConnected(connection.remotePeer, connection)
  }

  #topic(channel: string): string {
    return gossipTopic(this.#init.mesh, channel)
  }
}
