import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { SkeinNode } from '../node/contract.ts'
import { print, printJson } from './terminal.ts'
import { parseCount, parseDuration, usageError } from './units.ts'

interface BenchOptions {
  readonly size: string
  readonly count: string
  readonly duration: string
  readonly json?: boolean
}

interface BenchResult {
  readonly bytes: number
  readonly messages: number
  readonly messagesPerSecond: number
  readonly megabytesPerSecond: number
  readonly latencyMs: { readonly p50: number; readonly p99: number }
}

/** Messages published and not yet confirmed. */
const WINDOW = 4096
/** Messages a second while latency is measured: far below what limits throughput. */
const RATE = 1000
const JOIN_MS = 10_000

function counter(target: number): { readonly done: Promise<void>; add(): void } {
  let seen = 0
  let resolve = (): void => {}
  const done = new Promise<void>((resolveDone) => {
    resolve = resolveDone
  })
  return {
    done,
    add() {
      if (++seen === target) resolve()
    }
  }
}

/** Resolves once what one node publishes arrives at the other. */
async function connected(publisher: SkeinNode, subscriber: SkeinNode): Promise<void> {
  const subscription = subscriber.subscribe('bench/hello')
  await subscription.ready
  const deadline = performance.now() + JOIN_MS
  try {
    while (performance.now() < deadline) {
      await publisher.publish('bench/hello', 'hello')
      if ((await subscription.pull(1, 100)).length > 0) return
    }
  } finally {
    await subscription.stop()
  }
  throw new SkeinError('ERR_TIMEOUT', 'The two nodes of the benchmark did not find each other')
}

async function throughput(
  nodes: readonly [SkeinNode, SkeinNode],
  size: number,
  count: number
): Promise<number> {
  const [publisher, subscriber] = nodes
  const arrived = counter(count)
  const subscription = subscriber.subscribe('bench/load')
  await subscription.ready
  subscription.onMessage(() => arrived.add())
  const payload = new Uint8Array(size)
  const began = performance.now()
  const windows: Array<Promise<unknown>> = []
  for (let n = 0; n < count; n++) {
    const published = publisher.publish('bench/load', payload)
    if (n % WINDOW !== WINDOW - 1) windows.push(published)
    else {
      await Promise.all([...windows, published])
      windows.length = 0
    }
  }
  await Promise.all(windows)
  await arrived.done
  const seconds = (performance.now() - began) / 1000
  await subscription.stop()
  return seconds
}

async function latency(
  nodes: readonly [SkeinNode, SkeinNode],
  size: number,
  ms: number
): Promise<number[]> {
  const [publisher, subscriber] = nodes
  const count = Math.max(1, Math.floor((ms / 1000) * RATE))
  const sentAt: number[] = []
  const took: number[] = []
  const arrived = counter(count)
  const subscription = subscriber.subscribe('bench/latency')
  await subscription.ready
  subscription.onMessage((message) => {
    const n = Buffer.from(message.payload).readUInt32BE(0)
    took.push(performance.now() - (sentAt[n] ?? 0))
    arrived.add()
  })
  const began = performance.now()
  while (sentAt.length < count) {
    const due = Math.min(count, Math.floor(((performance.now() - began) / 1000) * RATE))
    while (sentAt.length < due) {
      const payload = Buffer.alloc(Math.max(4, size))
      payload.writeUInt32BE(sentAt.length, 0)
      sentAt.push(performance.now())
      // A publish that fails shows in the count of what arrived, and is thrown by the last one.
      void publisher.publish('bench/latency', payload).catch(() => {})
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await arrived.done
  await subscription.stop()
  return took.toSorted((a, b) => a - b)
}

async function measure(
  nodes: readonly [SkeinNode, SkeinNode],
  options: BenchOptions
): Promise<BenchResult> {
  const bytes = parseCount(options.size, '--size', 0)
  if (bytes > LIMITS.payloadBytes) {
    throw usageError(
      '--size',
      `${bytes} is above the largest payload, ${LIMITS.payloadBytes} bytes`
    )
  }
  const messages = parseCount(options.count, '--count')
  await connected(nodes[0], nodes[1])
  const seconds = await throughput(nodes, bytes, messages)
  const took = await latency(nodes, bytes, parseDuration(options.duration, '--duration'))
  const at = (share: number): number =>
    Number((took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0).toFixed(3))
  return {
    bytes,
    messages,
    messagesPerSecond: Math.round(messages / seconds),
    megabytesPerSecond: Number(((messages * bytes) / seconds / 1e6).toFixed(1)),
    latencyMs: { p50: at(0.5), p99: at(0.99) }
  }
}

async function bench(options: BenchOptions): Promise<void> {
  const { createNode } = await import('../node/create-node.ts')
  const home = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  const nodes: SkeinNode[] = []
  const open = async (name: string, join_: string[]): Promise<SkeinNode> => {
    const node = await createNode({
      name,
      mesh: 'bench',
      dataDir: join(home, name),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      join: join_,
      mdns: false,
      logLevel: 'error'
    })
    nodes.push(node)
    return node
  }
  try {
    const publisher = await open('publisher', [])
    const subscriber = await open('subscriber', [...publisher.status().addresses])
    const result = await measure([publisher, subscriber], options)
    if (options.json === true) return await printJson(result)
    return await print(
      `two nodes in one process, ${result.bytes} bytes, signed, encrypted, on disk with sync:\n` +
        `  throughput  ${result.messagesPerSecond} msg/s (${result.megabytesPerSecond} MB/s) over ${result.messages} messages\n` +
        `  latency     p50 ${result.latencyMs.p50} ms, p99 ${result.latencyMs.p99} ms at ${RATE} msg/s\n`
    )
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
    await rm(home, { recursive: true, force: true })
  }
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description('measure two nodes on this machine')
    .option('--size <bytes>', 'payload of each message', '128')
    .option('--count <n>', 'messages for the throughput', '100000')
    .option('--duration <duration>', 'how long latency is measured', '3s')
    .option('--json', 'print JSON')
    .option('--verbose', 'show stack traces of errors')
    .action(bench)
}
