// Runs in a network of its own, see namespace.ts. Three nodes that are told nothing of each other; one publishes
// a text line by line, the others write what they receive to files. Prints one JSON line.
import { createReadStream } from 'node:fs'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { NodeProcess, eventually, randomMesh, skein } from './skein-process.ts'

const [folder = '', text = '', lines = ''] = process.argv.slice(2)
const mesh = randomMesh()

async function start(name: string): Promise<NodeProcess> {
  // start() itself gives --data-dir and --http 127.0.0.1:0; the mesh is named to keep other tests out.
  const node = new NodeProcess(join(folder, name), ['--mesh', mesh])
  await node.start()
  return node
}

async function subscribe(node: NodeProcess, name: string): Promise<number> {
  const file = await open(join(folder, `${name}.out`), 'w')
  const args = ['sub', 'text', '--raw', '--count', lines, '--timeout', '60s', '--verbose']
  const child = skein([...args, '--data-dir', node.dataDir], { stdin: 'ignore' })
  const ended = once(child, 'close').then(([code]) => code as number)
  child.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk))
  for await (const chunk of child.stdout ?? []) await file.write(chunk as Buffer)
  await file.close()
  return ended
}

const first = await start('first')
const second = await start('second')
const third = await start('third')
const readyAt = performance.now()
const nodes = [first, second, third]
await eventually(
  async () => {
    const counts = await Promise.all(nodes.map(async (node) => (await node.connected()).length))
    return counts.every((count) => count === 2) || undefined
  },
  { what: 'all three connected' }
)
const discoveryMs = performance.now() - readyAt

const subs = [subscribe(second, 'second'), subscribe(third, 'third')]
await eventually(
  async () => {
    const peers = await first.call<{ channels: string[] }[]>('GET', '/v1/peers')
    return peers.filter((peer) => peer.channels.includes('text')).length === 2 || undefined
  },
  { what: 'both subscribers known to the publisher' }
)
const startedAt = performance.now()
const pub = skein(['pub', 'text', '--lines', '--json', '--data-dir', first.dataDir])
const published = (async () => {
  const parts: Buffer[] = []
  for await (const chunk of pub.stdout ?? []) parts.push(chunk as Buffer)
  return JSON.parse(Buffer.concat(parts).toString()) as { published: number }
})()
pub.stderr?.on('data', (chunk: Buffer) => process.stderr.write(chunk))
if (pub.stdin !== null) createReadStream(text).pipe(pub.stdin)
const codes = await Promise.all(subs)
const answer = {
  discoveryMs,
  transferMs: performance.now() - startedAt,
  published: (await published).published,
  codes,
  log: nodes.map((node) => node.log.join(''))
}
await Promise.all(nodes.map((node) => node.kill('SIGTERM')))
process.stdout.write(`${JSON.stringify(answer)}\n`)
