// Run by mdns.test.ts in a network namespace of its own: prints what the test looks at, as JSON.
import '../../src/polyfill.ts'
import { libp2p, until } from './harness.ts'

const sameMesh = [0, 1, 2].map(() => libp2p({ mdns: true }))
const stranger = libp2p({ mdns: true, mesh: 'other' })
const refused: string[] = []
for (const node of [...sameMesh, stranger]) {
  node.events.on('peer:refused', ({ code }) => refused.push(code))
}

async function main(): Promise<void> {
  await stranger.start()
  await Promise.all(sameMesh.slice(0, 2).map((node) => node.start()))
  await until('two have met', () => sameMesh[0]?.peers().some((peer) => peer.connected) ?? false)
  const began = performance.now()
  await sameMesh[2]?.start()
  await until('three have met', () =>
    sameMesh.every((node) => node.peers().filter((peer) => peer.connected).length === 2)
  )
  const joinMs = performance.now() - began
  await Promise.all([...sameMesh, stranger].map((node) => node.stop()))
  const found = stranger.peers().length
  process.stdout.write(JSON.stringify({ joinMs, refused, found, dials: stranger.stats().dials }))
}

void main()
