import { readFileSync } from 'node:fs'

// Where the time of a CPU profile went: by kind of work (a sample goes to the nearest frame, from the leaf up, that a
// kind names) and by function (self time).
//   node --import tsx bench/profile.ts <file.cpuprofile> [rows]

interface Frame {
  readonly functionName: string
  readonly url: string
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: Frame
  readonly children?: readonly number[]
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Its own start and stop are left out. */
const PROFILER = 'the profiler'

const KINDS: ReadonlyArray<readonly [string, RegExp]> = [
  [PROFILER, /^dispatch $|node:inspector/],
  ['garbage collection', /^\(garbage collector\)/],
  ['Ed25519 sign', /signOneShot|hashAndSign/],
  ['Ed25519 verify', /verifyOneShot|hashAndVerify/],
  ['ChaCha20-Poly1305', /as-chacha20poly1305|wasm|internal\/crypto\/cipher|chacha20poly1305/i],
  ['SHA-256', /hashes\/sha|internal\/crypto\/hash/],
  ['store', /(?:dist|package)\/store\/|classic-level|abstract-level|node:fs|internal\/fs/],
  ['codec', /(?:dist|package)\/wire\//],
  ['delivery', /(?:dist|package)\/delivery\//],
  ['replication', /(?:dist|package)\/replication\//],
  ['node', /(?:dist|package)\/node\//],
  ['mesh', /(?:dist|package)\/mesh\//],
  ['noise framing', /libp2p-noise|@libp2p\/noise/],
  ['yamux', /@libp2p\/yamux/],
  ['gossipsub', /gossipsub|protons-runtime/],
  [
    'streams',
    /@libp2p\/utils|uint8arraylist|it-length-prefixed|it-pushable|main-event|event_target/
  ],
  ['sockets', /node:net|stream_base_commons|writeBuffer|writev|@libp2p\/tcp|internal\/streams/],
  ['copying buffers', /node:buffer|internal\/buffer|uint8arrays/],
  [
    'timers and promises',
    /internal\/timers|internal\/process\/task_queues|internal\/process\/promises/
  ],
  ['the bench', /bench\/(?:worker|adapters|harness)\//]
]

const ROWS = 25

function kindOf(frame: Frame): string | undefined {
  const text = `${frame.functionName} ${frame.url}`
  return KINDS.find(([, pattern]) => pattern.test(text))?.[0]
}

function placeOf({ functionName, url }: Frame): string {
  const packaged = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\/(.*)$/.exec(url)
  const parts = url.split('/')
  const place =
    packaged === null
      ? parts.slice(url.startsWith('node:') ? 0 : -2).join('/')
      : `${packaged[1]}/${packaged[2]?.split('/').pop()}`
  return `${functionName === '' ? '(anonymous)' : functionName} ${place}`
}

class Analysis {
  readonly byKind = new Map<string, number>()
  readonly byFunction = new Map<string, number>()
  busyUs = 0
  idleUs = 0
  readonly #nodes: Map<number, ProfileNode>
  readonly #parents = new Map<number, number>()
  readonly #kinds = new Map<number, string>()

  constructor({ nodes, samples, timeDeltas }: CpuProfile) {
    this.#nodes = new Map(nodes.map((node) => [node.id, node]))
    for (const node of nodes) {
      for (const child of node.children ?? []) this.#parents.set(child, node.id)
    }
    for (const [index, id] of samples.entries()) this.#add(id, timeDeltas[index] ?? 0)
  }

  #add(id: number, us: number): void {
    const frame = this.#nodes.get(id)?.callFrame
    if (frame === undefined) return
    if (frame.functionName === '(idle)') {
      this.idleUs += us
      return
    }
    const kind = this.#kind(id)
    if (kind === PROFILER) return
    this.busyUs += us
    const place = placeOf(frame)
    this.byKind.set(kind, (this.byKind.get(kind) ?? 0) + us)
    this.byFunction.set(place, (this.byFunction.get(place) ?? 0) + us)
  }

  #kind(id: number): string {
    const known = this.#kinds.get(id)
    if (known !== undefined) return known
    const frame = this.#nodes.get(id)?.callFrame
    const parent = this.#parents.get(id)
    const own = frame === undefined ? undefined : kindOf(frame)
    const kind = own ?? (parent === undefined ? 'other' : this.#kind(parent))
    this.#kinds.set(id, kind)
    return kind
  }
}

function print(title: string, shares: Map<string, number>, busyUs: number): void {
  console.log(`\n${title}`)
  const sorted = [...shares].toSorted(([, a], [, b]) => b - a)
  for (const [name, us] of sorted.slice(0, rows)) {
    const share = ((us / busyUs) * 100).toFixed(1).padStart(5)
    console.log(`${share} %  ${(us / 1000).toFixed(0).padStart(6)} ms  ${name}`)
  }
}

const [file, rowsText] = process.argv.slice(2)
const rows = rowsText === undefined ? ROWS : Number(rowsText)
if (file === undefined) {
  console.error('node --import tsx bench/profile.ts <file.cpuprofile> [rows]')
  process.exit(2)
}
const analysis = new Analysis(JSON.parse(readFileSync(file, 'utf8')) as CpuProfile)
const busyMs = (analysis.busyUs / 1000).toFixed(0)
console.log(`busy ${busyMs} ms, idle ${(analysis.idleUs / 1000).toFixed(0)} ms`)
print('by kind of work', analysis.byKind, analysis.busyUs)
print('by function, self time', analysis.byFunction, analysis.busyUs)
