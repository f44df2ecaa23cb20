// What the encrypted transport takes to move bytes: one libp2p stream between two processes, by the defaults of the
// stack. `split-raw-stream.ts receive` prints its address; `send <address> <bytes>` prints how long it took, ms.
import '../../src/polyfill.ts'
import { noise } from '@chainsafe/libp2p-noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const PROTOCOL = '/raw/1.0.0'
const CHUNK = 64 * 1024

const [role = '', address = '', size = '0'] = process.argv.slice(2)
const receives = role === 'receive'
const host = await createLibp2p({
  addresses: { listen: receives ? ['/ip4/127.0.0.1/tcp/0'] : [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()]
})

if (receives) {
  await host.handle(PROTOCOL, (stream) => {
    let expected = -1
    let got = -8
    stream.addEventListener('message', ({ data }) => {
      if (expected === -1) expected = Buffer.from(data.subarray()).readDoubleBE()
      got += data.byteLength
      if (got === expected) stream.send(Uint8Array.of(1))
    })
  })
  process.stdout.write(`${String(host.getMultiaddrs()[0])}\n`)
} else {
  const bytes = Number(size)
  const stream = await host.dialProtocol(multiaddr(address), PROTOCOL)
  const done = new Promise((resolve) => stream.addEventListener('message', resolve, { once: true }))
  const head = Buffer.alloc(8)
  head.writeDoubleBE(bytes)
  const startedAt = performance.now()
  stream.send(head)
  for (let left = bytes; left > 0; left -= CHUNK) {
    if (stream.send(new Uint8Array(Math.min(CHUNK, left)))) continue
    await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
  }
  await done
  process.stdout.write(`${performance.now() - startedAt}\n`)
  await host.stop()
}
