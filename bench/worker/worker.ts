import { setTimeout as sleep } from 'node:timers/promises'
import type { AdapterNode } from '../adapters/contract.ts'
import { ADAPTERS } from '../adapters/registry.ts'
import { Profiler } from './profiler.ts'
import type { Orders, Reply, Request, StartOrder } from './protocol.ts'
import { Publishing } from './publishing.ts'
import { Receiving } from './receiving.ts'

// One role of one contender in a process of its own, driven over IPC.

const STOP_MS = 1000
const LAST_PROBES_MS = 100

const say = (reply: Reply): void => {
  process.send?.(reply)
}

const receiving = new Receiving(
  () => say({ event: 'probed' }),
  (count) => say({ event: 'progress', count })
)
const profiler = new Profiler()
let node: AdapterNode | undefined
let publishing = new Publishing({ stop: () => undefined })

async function start({
  adapter,
  role,
  serves,
  context
}: StartOrder): Promise<{ address: unknown }> {
  node = await (await ADAPTERS[adapter]()).start(role, context)
  publishing = new Publishing(node)
  if (role === 'subscriber') await node.subscribe?.((bytes) => receiving.take(bytes))
  if (serves) await node.serve?.()
  return { address: node.address }
}

/** A contender that hangs in its stop must not hold up the bench. */
async function stop(): Promise<void> {
  await Promise.race([node?.stop(), sleep(STOP_MS)])
  setTimeout(() => process.exit(0), 50)
}

function fail(error: unknown): never {
  console.error(error)
  process.exit(1)
}

const orders: Orders = {
  start,
  stop,
  async probe() {
    publishing.probe().catch(fail)
  },
  async unprobe() {
    publishing.stopProbing()
    await sleep(LAST_PROBES_MS)
  },
  async begin(order) {
    receiving.begin(order)
  },
  end: (order) => receiving.end(order),
  flood: (order) => publishing.flood(order),
  pace: (order) => publishing.pace(order),
  durable: (order) => publishing.durable(order),
  request: (order) => publishing.request(order),
  async usage() {
    const { user, system } = process.cpuUsage()
    return {
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage.rss(),
      peakBytes: process.resourceUsage().maxRSS * 1024
    }
  },
  startProfile: () => profiler.start(),
  stopProfile: ({ file }) => profiler.stop(file)
}

async function obey(name: keyof Orders, order: unknown): Promise<unknown> {
  return (orders[name] as (order: unknown) => Promise<unknown>)(order)
}

process.on('message', (request: Request) => {
  if ('delivered' in request) {
    publishing.delivered = request.delivered
    return
  }
  const { id, name, order } = request
  obey(name, order).then(
    (answer) => say({ id, answer }),
    (error: Error) => say({ id, error: error.stack ?? String(error) })
  )
})
process.on('disconnect', () => process.exit(0))
