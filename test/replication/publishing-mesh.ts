import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Transport, Verdict } from '../../src/mesh/contract.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/mesh/memory-network.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import type { Confirm, Receipt } from '../../src/replication/batch.ts'
import { Publisher, type PublisherInit } from '../../src/replication/publisher.ts'
import { ReplicasHolder } from '../../src/replication/replicas-holder.ts'
import type { Store } from '../../src/store/contract.ts'
import { openMemory } from '../../src/store/directory.ts'
import { createStore, type StoreComponents } from '../../src/store/level-store.ts'
import { HybridClock } from '../../src/wire/hybrid-clock.ts'
import { openRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'

type Disk = Pick<StoreComponents, 'openLevel' | 'freeSpace' | 'probeSpace'>

export interface PublishingNodeInit {
  readonly disk?: Disk
  /** Channels to be a member of. */
  readonly channels?: readonly string[]
  readonly retention?: PublisherInit['retention']
  /** Answers those who ask for synced copies. Default true. */
  readonly holds?: boolean
  /** Seed of the identity; default: one after the other. */
  readonly seed?: number
}

export interface PublishingNode {
  readonly id: string
  readonly disk: Disk
  readonly store: Store
  readonly transport: Transport
  readonly publisher: Publisher
  readonly holder: ReplicasHolder
  publish(
    topic: string,
    text: string,
    options?: { id?: string; confirm?: Confirm }
  ): Promise<Receipt>
  publishBatch(
    messages: readonly (readonly [topic: string, text: string, id?: string])[],
    confirm?: Confirm
  ): Promise<Receipt[]>
  stop(): Promise<void>
}

/** Publishers with their stores over a network in memory and a clock that stands still. */
export class PublishingMesh {
  readonly clock = new ManualClock()
  readonly network: MemoryNetwork = createMemoryNetwork({ clock: this.clock })
  readonly #running = new Set<PublishingNode>()
  #seeds = 0

  async node(init: PublishingNodeInit = {}): Promise<PublishingNode> {
    const { clock, network } = this
    const seed = new Uint8Array(32).fill(init.seed ?? ++this.#seeds)
    const disk = init.disk ?? openMemory()
    const random = seededRandom(init.seed ?? this.#seeds)
    const store = createStore({ ...disk, clock, random, logger: silentLogger })
    const transport = network.transport({ privateKey: seed })
    const components = { store, transport, clock, random, logger: silentLogger }
    const publisher = new Publisher(
      { ...components, hybridClock: new HybridClock({ clock }), signer: createSigner(seed) },
      {
        publisher: transport.self.id,
        batchMessages: () => 16_384,
        ...(init.retention === undefined ? {} : { retention: init.retention })
      },
      new Emitter((error) => {
        throw error
      })
    )
    const holder = new ReplicasHolder(components, { vouches: () => 'synced' })
    transport.onFrame(async ({ bytes, complete }): Promise<Verdict> => {
      if (complete) await store.append([{ record: openRecord(bytes), ageMs: 0 }], { sync: false })
      return 'accept'
    })
    await store.start()
    if (init.holds !== false) holder.start()
    for (const channel of init.channels ?? []) transport.join(channel)
    await transport.start()
    await publisher.start()
    const node: PublishingNode = {
      id: transport.self.id,
      disk,
      store,
      transport,
      publisher,
      holder,
      publish: (topic, text, { id, confirm = 'stored' } = {}) =>
        publisher.publish(outgoing(topic, text, { id }, 192 * 1024), confirm),
      publishBatch: (messages, confirm = 'stored') =>
        publisher.publishBatch(
          messages.map(([topic, text, id]) => outgoing(topic, text, { id }, 192 * 1024)),
          confirm
        ),
      stop: async () => {
        if (!this.#running.delete(node)) return
        await publisher.stop()
        holder.stop()
        await transport.stop()
        await store.stop()
      }
    }
    this.#running.add(node)
    await settled()
    return node
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running].map((node) => node.stop()))
  }
}
