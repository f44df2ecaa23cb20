import type * as index from '../../src/index.ts'
import type { AdapterContext, AdapterNode, Role } from './contract.ts'
import { InFlightWindow } from './in-flight-window.ts'

type Skein = Pick<typeof index, 'createNode'>

const TOPIC = 'bench/messages'
const SERVICE = 'echo'

/** Unconfirmed at once: half of what the node itself would hold, so that its own limit is never what is measured. */
const WINDOW_BYTES = 4 * 1024 * 1024
const WINDOW_MESSAGES = 8192

/** Skein by its defaults: signed, encrypted, on disk, `publish` confirmed when stored. Only found without mDNS. */
export async function start(role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { createNode } = (await import(context.skeinUrl)) as Skein
  const node = await createNode({
    name: `bench-${context.index}`,
    mesh: 'bench',
    dataDir: context.dir,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    join: context.peers as string[],
    mdns: false
  })
  const window = new InFlightWindow(WINDOW_MESSAGES, WINDOW_BYTES)
  return {
    address: node.status().addresses[0],
    publish(payload) {
      const bytes = payload.length
      window.enter(bytes)
      node.publish(TOPIC, payload).then(
        () => window.leave(bytes),
        (error: Error) => window.leave(bytes, error)
      )
      return window.room()
    },
    publishDurable: (payload) => node.publish(TOPIC, payload, { confirm: 'stored' }),
    request: (payload) => node.request(SERVICE, payload),
    async serve() {
      node.reply(SERVICE, ({ payload }) => payload)
    },
    async subscribe(onMessage) {
      if (role !== 'subscriber') return
      const subscription = node.subscribe(TOPIC)
      subscription.onMessage((message) => onMessage(message.payload))
      await subscription.ready
    },
    stop: () => node.stop()
  }
}
