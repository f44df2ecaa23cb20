import type { AdapterContext, AdapterNode, Role } from './contract.ts'
import { createBatcher, createUnframer } from './frames.ts'
import { startHost, type Stream } from './libp2p-host.ts'

const PROTOCOL = '/bench/stream/1.0.0'
const LINGER_MS = 1

/** What the encrypted transport allows: one libp2p stream per subscriber, length-prefixed frames in chunks of 64 KiB. */
export async function start(_role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { host, address, dial } = await startHost(context.peersDir, false)
  const streams: Stream[] = []
  let room: Promise<void> | undefined
  const send = (chunk: Buffer): Promise<void> | undefined => {
    const full = streams.filter((stream) => !stream.send(chunk))
    if (full.length > 0) {
      room ??= Promise.all(full.map(drained)).then(() => {
        room = undefined
      })
    }
    return room
  }
  await host.handle(PROTOCOL, (stream) => {
    stream.addEventListener('message', () => streams.push(stream), { once: true })
  })
  return {
    address,
    ...createBatcher(send, context.options.lingerMs ?? LINGER_MS),
    async subscribe(onMessage) {
      const onBytes = createUnframer(onMessage)
      for (const peer of context.peers) {
        const connection = await dial(peer)
        const stream = await connection.newStream(PROTOCOL)
        stream.addEventListener('message', ({ data }) => {
          const bytes = data.subarray()
          onBytes(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
        })
        // A first byte opens the stream at the far end.
        stream.send(Uint8Array.of(1))
      }
    },
    stop: () => host.stop()
  }
}

/** The event always comes; `stream.onDrain()` of @libp2p/utils 7.4 only waits the first time it is called. */
function drained(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    stream.addEventListener('drain', () => resolve(), { once: true })
  })
}
