import type { AdapterContext, AdapterNode, Role } from './contract.ts'
import { startHost } from './libp2p-host.ts'

const TOPIC = 'bench'

/** gossipsub as it comes, signed and encrypted: one gossip message per publish. */
export async function start(_role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { host, address, dial } = await startHost(context.peersDir, true)
  for (const peer of context.peers) await dial(peer)
  const { pubsub } = host.services
  return {
    address,
    // There is no back-pressure: publishing settles as soon as the bytes are queued.
    publish: (payload) => pubsub.publish(TOPIC, payload, { allowPublishToZeroTopicPeers: true }),
    subscribe(onMessage) {
      pubsub.addEventListener('message', ({ detail }) => {
        if (detail.topic === TOPIC) onMessage(detail.data)
      })
      pubsub.subscribe(TOPIC)
    },
    stop: () => host.stop()
  }
}
