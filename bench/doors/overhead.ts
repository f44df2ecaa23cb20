import { median, percentilesOf } from '../stats.ts'
import type { NodeAnswer, Resources } from './node-role.ts'
import { Role } from './role.ts'

// What two sidecars add: an application asks its node over HTTP, the node of another one asks its webhook; and a
// publish over HTTP at the one to an event stream at the other. Beside them the same with the library alone.
//   npm run bench -- --doors overhead         SKEIN_BENCH_RATE=1000 SKEIN_BENCH_SECONDS=5 SKEIN_BENCH_RUNS=3

const load = {
  rate: Number(process.env['SKEIN_BENCH_RATE'] ?? 1000),
  seconds: Number(process.env['SKEIN_BENCH_SECONDS'] ?? 5)
}
const RUNS = Number(process.env['SKEIN_BENCH_RUNS'] ?? 3)
const WARM_UP = { rate: 500, seconds: 2 }

interface Cost {
  readonly p50: number
  readonly p90: number
  /** CPU of both nodes for each call, µs: hardly depends on what else the machine does. */
  readonly cpuUs: number
}

type Costs = Record<'request' | 'publish', Cost>

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20))
}

async function measure(http: boolean): Promise<Costs> {
  const nodes = [new Role('node-role.js'), new Role('node-role.js')] as const
  const apps = http ? ([new Role('client-role.js'), new Role('client-role.js')] as const) : nodes
  try {
    const mesh = `doors-${process.pid}`
    const first = await nodes[0].call<NodeAnswer>('open', { name: 'a', mesh, join: [], http })
    const join = first.addresses
    const second = await nodes[1].call<NodeAnswer>('open', { name: 'b', mesh, join, http })
    await apps[1].call('echo', second)
    await apps[1].call('watch', second)
    await until(() => nodes[0].call<boolean>('echoing'))
    const door = http ? { door: first } : {}
    for (const name of ['requests', 'publishMarks']) {
      await apps[0].call(name, { ...WARM_UP, ...door })
    }
    await settled(apps[1])
    const count = load.rate * load.seconds
    const cost = async (run: () => Promise<number[]>): Promise<Cost> => {
      const before = await cpuMs(nodes)
      const took = await run()
      const cpuUs = (1000 * ((await cpuMs(nodes)) - before)) / count
      return { ...percentilesOf(took), cpuUs }
    }
    const request = await cost(() => apps[0].call<number[]>('requests', { ...load, ...door }))
    const publish = await cost(async () => {
      await apps[0].call('publishMarks', { ...load, ...door })
      return settled(apps[1], count)
    })
    return { request, publish }
  } finally {
    const roles = http ? [...nodes, ...apps] : nodes
    await Promise.all(roles.map((role) => role.stop()))
  }
}

async function cpuMs(nodes: readonly Role[]): Promise<number> {
  const all = await Promise.all(nodes.map((node) => node.call<Resources>('resources')))
  return all.reduce((sum, one) => sum + one.cpuMs, 0)
}

/** Latencies of what was published, when all of it is there. */
async function settled(app: Role, count = WARM_UP.rate * WARM_UP.seconds): Promise<number[]> {
  const took: number[] = []
  await until(async () => took.push(...(await app.call<number[]>('marks'))) >= count)
  return took
}

const runs: Array<readonly [Costs, Costs]> = []
for (let run = 0; run < RUNS; run++) runs.push([await measure(false), await measure(true)])

console.log('| what | figure | library | two sidecars | added |\n|---|---|---:|---:|---:|')
for (const what of ['request', 'publish'] as const) {
  for (const figure of ['p50', 'p90', 'cpuUs'] as const) {
    const [library, sidecars] = [0, 1].map((side) =>
      median(runs.map((run) => (run[side] as Costs)[what][figure]))
    ) as [number, number]
    const name = figure === 'cpuUs' ? 'CPU of both nodes, µs' : `${figure}, ms`
    const cells = [
      what,
      name,
      ...[library, sidecars, sidecars - library].map((ms) => ms.toFixed(2))
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}
