import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { AdapterOptions } from './adapters/contract.ts'
import { hasPackage } from './adapters/peer-packages.ts'
import type { AdapterName } from './adapters/registry.ts'
import type { Cell, Workload } from './cells.ts'

/** Someone who is measured. */
export interface Contender {
  readonly name: string
  readonly adapter: AdapterName
  readonly options: AdapterOptions
  readonly workloads: readonly Workload[]
  /** Packages it needs from the folder of the competitors. */
  readonly packages: readonly string[]
  /** The server it needs on the PATH. */
  readonly command: string | undefined
  /** Its nodes forward for each other, so that a full mesh makes sense. */
  readonly forwards: boolean
  /** Its nodes need not be told the addresses of others. */
  readonly startsTogether: boolean
  /** How long it runs before it is measured, ms: the compiler needs longer for longer paths of code. */
  readonly warmUpMs: number
  /** Cells that it takes no part in, since one would last for minutes. */
  readonly skips: readonly string[]
}

const PLAIN_WARM_UP_MS = 500
const LIBP2P_WARM_UP_MS = 2500
const LIVE: readonly Workload[] = ['throughput', 'latency']
const LIBP2P = [
  'libp2p',
  '@libp2p/gossipsub',
  '@libp2p/identify',
  '@libp2p/noise',
  '@libp2p/tcp',
  '@libp2p/yamux',
  '@multiformats/multiaddr'
]

function contender(
  init: Partial<Contender> & Pick<Contender, 'name' | 'adapter' | 'workloads'>
): Contender {
  return {
    options: {},
    packages: [],
    command: undefined,
    forwards: false,
    startsTogether: false,
    warmUpMs: PLAIN_WARM_UP_MS,
    skips: [],
    ...init
  }
}

export const SKEIN: Contender = contender({
  name: 'skein',
  adapter: 'skein',
  workloads: ['throughput', 'latency', 'durable', 'request', 'idle'],
  forwards: true,
  warmUpMs: LIBP2P_WARM_UP_MS
})

/** What a user would take instead, and what bounds it. */
export const PEERS: readonly Contender[] = [
  contender({
    name: 'nats',
    adapter: 'nats',
    workloads: [...LIVE, 'request'],
    packages: ['@nats-io/transport-node'],
    startsTogether: true,
    command: 'nats-server'
  }),
  contender({ name: 'zeromq', adapter: 'zeromq', workloads: LIVE, packages: ['zeromq'] }),
  contender({
    name: 'zeromq-curve',
    adapter: 'zeromq',
    options: { curve: true },
    workloads: LIVE,
    packages: ['zeromq']
  }),
  contender({
    name: 'mosquitto',
    adapter: 'mosquitto',
    workloads: ['throughput'],
    packages: ['mqtt'],
    startsTogether: true,
    command: 'mosquitto'
  }),
  contender({
    name: 'moleculer',
    adapter: 'moleculer',
    workloads: [...LIVE, 'request'],
    packages: ['moleculer', 'cbor-x'],
    startsTogether: true
  }),
  contender({
    name: 'gossipsub',
    adapter: 'libp2p-gossipsub',
    workloads: LIVE,
    packages: LIBP2P,
    forwards: true,
    warmUpMs: LIBP2P_WARM_UP_MS,
    skips: ['1to4-64KiB', 'latency-1to4-mesh']
  }),
  contender({
    name: 'limit',
    adapter: 'libp2p-stream',
    workloads: ['throughput'],
    packages: LIBP2P,
    warmUpMs: LIBP2P_WARM_UP_MS
  }),
  contender({
    name: 'limit',
    adapter: 'libp2p-stream',
    options: { lingerMs: 0 },
    workloads: ['latency'],
    packages: LIBP2P,
    warmUpMs: LIBP2P_WARM_UP_MS
  }),
  contender({ name: 'floor', adapter: 'durable-floor', workloads: ['durable'] }),
  contender({
    name: 'redis',
    adapter: 'redis',
    options: { appendSync: 'always' },
    workloads: ['durable'],
    packages: ['ioredis'],
    command: 'redis-server'
  }),
  contender({
    name: 'jetstream',
    adapter: 'nats',
    options: { jetstream: true },
    workloads: ['durable'],
    packages: ['@nats-io/transport-node', '@nats-io/jetstream'],
    command: 'nats-server'
  }),
  contender({
    name: 'mosquitto-persist',
    adapter: 'mosquitto',
    options: { persistence: true },
    workloads: ['durable'],
    packages: ['mqtt'],
    command: 'mosquitto'
  })
]

export function takesPart(who: Contender, cell: Cell): boolean {
  if (!who.workloads.includes(cell.workload) || who.skips.includes(cell.name)) return false
  return cell.topology === 'star' || who.forwards
}

/** Debian keeps servers where a user's PATH does not look. */
const PATH = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/usr/local/sbin`

/** The environment that servers and workers get. */
export const ENVIRONMENT: NodeJS.ProcessEnv = { ...process.env, PATH }

/** What a contender lacks on this machine; undefined when nothing. */
export function missing(who: Contender, peersDir: string): string | undefined {
  const absent = who.packages.find((name) => !hasPackage(peersDir, name))
  if (absent !== undefined) return `package ${absent} is not installed in ${peersDir}`
  const { command } = who
  if (command === undefined) return undefined
  const found = PATH.split(delimiter).some((folder) => existsSync(join(folder, command)))
  return found ? undefined : `${command} is not on the PATH`
}
