// Runs with a small file system of its own, see namespace.ts and full-disk.test.ts. A node's disk fills up and is
// freed again; prints one JSON line of what the node said and kept meanwhile.
import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { NodeProcess, eventually, randomMesh, run } from './skein-process.ts'

const MIB = 1024 * 1024
const [disk = '', mode = ''] = process.argv.slice(2)
const ballast = join(disk, 'ballast')

interface Line {
  readonly id: string
  readonly payload: string
}

/** What a publish was answered with. */
interface Answer {
  readonly status: number
  readonly code: string | undefined
}

let next = 0
/** Payload by id, of all that was confirmed. */
const confirmed = new Map<string, string>()
let repeated = 0

async function publish(node: NodeProcess, bytes: number): Promise<Answer> {
  const payload = `${next++} `.padEnd(bytes, '.')
  const response = await node.fetch('/v1/publish/a', { method: 'POST', body: payload })
  const body = (await response.json()) as { id?: string; code?: string }
  if (response.status === 202 && body.id !== undefined) {
    if (confirmed.has(body.id)) repeated++
    confirmed.set(body.id, payload)
  }
  return { status: response.status, code: body.code }
}

/** Publishes until it is refused. */
async function publishUntilRefused(node: NodeProcess): Promise<Answer> {
  for (;;) {
    const answer = await publish(node, 60_000)
    if (answer.status !== 202) return answer
  }
}

async function condition(node: NodeProcess): Promise<string> {
  const status = await node.call<{ store: { condition: string } }>('GET', '/v1/status')
  return status.store.condition
}

/** Confirmed messages that the node's log does not hold as they were published, and ids in it that repeat. */
async function missing(node: NodeProcess): Promise<{ lost: number; twice: number }> {
  const topics = await node.call<{ logs: { floor: number; head: number }[] }[]>('GET', '/v1/topics')
  const logs = topics.flatMap((topic) => topic.logs)
  const count = String(logs.reduce((sum, { floor, head }) => sum + head - floor + 1, 0))
  const args = ['sub', 'a', '--from', 'earliest', '--json', '--count', count, '--timeout', '30s']
  const { stdout } = await run([...args, '--data-dir', node.dataDir])
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
  const held = new Map(lines.map(({ id, payload }) => [id, payload]))
  const lost = [...confirmed].filter(([id, payload]) => held.get(id) !== payload).length
  return { lost, twice: lines.length - held.size }
}

/** Takes so many bytes of the disk, or all that is left. */
async function fill(bytes: number): Promise<void> {
  const file = await open(ballast, 'a')
  try {
    for (let written = 0; written < bytes; written += 64 * 1024) {
      await file.write(Buffer.alloc(64 * 1024))
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    await file.close()
  }
}

async function pullAndAck(node: NodeProcess): Promise<number> {
  const { messages } = await node.call<{ messages: { skeinid: string }[] }>(
    'POST',
    '/v1/subscriptions/worker/pull',
    { max: 20, waitMs: 1000 }
  )
  await node.call('POST', '/v1/subscriptions/worker/ack', {
    ack: messages.map((message) => message.skeinid)
  })
  return messages.length
}

const lag = async (node: NodeProcess): Promise<number> =>
  (await node.call<{ lag: number }>('GET', '/v1/subscriptions/worker')).lag

async function main(): Promise<unknown> {
  const config = join(disk, 'skein.yaml')
  await writeFile(config, mode === 'failing' ? 'reserveBytes: 0\n' : '{}\n')
  const args = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--mesh', randomMesh()]
  const node = new NodeProcess(join(disk, 'data'), [...args, '--config', config])
  await node.start()
  const worker = { filter: 'a/#', from: 'earliest' }
  await node.call('PUT', '/v1/subscriptions/worker', worker)
  await publish(node, 60_000)
  if (mode === 'reserve') await fill(12 * MIB)
  const refused = publishUntilRefused(node)
  if (mode === 'failing') await fill(Number.POSITIVE_INFINITY)
  const refusal = await refused
  const whileFull = await condition(node)
  const health = (await node.fetch('/healthz')).status
  const lagBefore = mode === 'reserve' ? await lag(node) : 0
  const acked = mode === 'reserve' ? await pullAndAck(node) : 0
  const lagAfter = mode === 'reserve' ? await lag(node) : 0
  const still = await publish(node, 10)

  const sessionBefore = [...confirmed.keys()].at(-1)?.split('/')[1]
  await rm(ballast)
  await eventually(async () => (await publish(node, 10)).status === 202 || undefined, {
    what: 'publishing after space is there again',
    timeoutMs: 20_000
  })
  const sessionAfter = [...confirmed.keys()].at(-1)?.split('/')[1]
  const kept = await missing(node)
  await node.kill()
  await node.start()
  await publish(node, 10)
  const keptAfterKill = await missing(node)
  await node.kill('SIGTERM')
  const lagged = lagBefore - lagAfter
  const newSession = sessionAfter !== sessionBefore
  const seen = { refusal, whileFull, health, acked, lagged, still, repeated }
  return { ...seen, confirmed: confirmed.size, newSession, kept, keptAfterKill }
}

process.stdout.write(`${JSON.stringify(await main())}\n`)
