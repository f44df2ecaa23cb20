import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** The whole loop of a test with SKEIN_TEST_FULL, else a tenth of it. */
export const full = process.env['SKEIN_TEST_FULL'] === '1'
export const loops = (count: number): number => (full ? count : Math.max(1, Math.ceil(count / 10)))

/** What `start --json` says when it is ready. */
export interface Ready {
  readonly peerId: string
  readonly name: string
  readonly mesh: string
  readonly listen: readonly string[]
  readonly api: string
  readonly dataDir: string
}

export interface Result {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Ends whatever a test left behind. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts the command line as users do. */
export function skein(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; stdin?: 'pipe' | 'ignore' } = {}
): ChildProcess {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ...options.env },
    stdio: [options.stdin ?? 'pipe', 'pipe', 'pipe']
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** Runs a command to its end. */
export async function run(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: string | Uint8Array } = {}
): Promise<Result> {
  const child = skein(args, options.env === undefined ? {} : { env: options.env })
  const result = finished(child)
  child.stdin?.end(options.input ?? '')
  return result
}

/** Collects what a child prints until it ends. */
export async function finished(child: ChildProcess): Promise<Result> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return {
    code,
    signal,
    stdout: Buffer.concat(out).toString(),
    stderr: Buffer.concat(err).toString()
  }
}

/** Resolves once `condition` gives something; asks again every few ms. Rejects after `timeoutMs` with what it knows. */
export async function eventually<Value>(
  condition: () => Promise<Value | undefined> | Value | undefined,
  options: { timeoutMs?: number; what?: string } = {}
): Promise<Value> {
  const end = performance.now() + (options.timeoutMs ?? 15_000)
  let last: unknown
  while (performance.now() < end) {
    try {
      const value = await condition()
      if (value !== undefined && value !== false) return value
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`${options.what ?? 'condition'} did not come about in time`, { cause: last })
}

/** A folder that is gone after the test. */
export async function temporaryFolder(onEnd: (undo: () => Promise<void>) => void): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'skein-test-'))
  onEnd(() => rm(path, { recursive: true, force: true }))
  return path
}

export const randomMesh = (): string =>
  `test-${process.pid}-${Math.random().toString(36).slice(2, 10)}`

/** One node in a process of its own, whose data dir outlives it. */
export class NodeProcess {
  readonly #args: readonly string[]
  readonly dataDir: string
  readonly log: string[] = []
  #child: ChildProcess | undefined
  #ready: Ready | undefined
  #token = ''

  constructor(dataDir: string, args: readonly string[] = []) {
    this.dataDir = dataDir
    this.#args = args
  }

  get ready(): Ready {
    if (this.#ready === undefined) throw new Error('the node has not been started')
    return this.#ready
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  get env(): NodeJS.ProcessEnv {
    return { SKEIN_TOKEN: this.#token }
  }

  /** The token of this life's API. */
  get token(): string {
    return this.#token
  }

  async start(extra: readonly string[] = []): Promise<Ready> {
    const args = ['start', '--json', '--http', '127.0.0.1:0', '--data-dir', this.dataDir]
    const child = skein([...args, ...this.#args, ...extra], { stdin: 'ignore' })
    this.#child = child
    child.stderr?.on('data', (chunk: Buffer) => this.log.push(chunk.toString()))
    if (child.stdout === null) throw new Error('no stdout')
    const lines = createInterface(child.stdout)
    const line = await Promise.race([
      once(lines, 'line').then(([text]) => text as string),
      once(child, 'exit').then(([code]) => {
        throw new Error(
          `the node ended with ${String(code)} before it was ready: ${this.log.join('')}`
        )
      })
    ])
    this.#ready = JSON.parse(line) as Ready
    const api = JSON.parse(await readFile(join(this.dataDir, 'api.json'), 'utf8')) as {
      token: string
    }
    this.#token = api.token
    return this.#ready
  }

  /** Calls the node's API; rejects on any answer but 2xx. */
  async call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.fetch(path, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as Answer
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    if (!headers.has('authorization')) headers.set('authorization', `Bearer ${this.#token}`)
    return fetch(new URL(path, this.ready.api), { ...init, headers })
  }

  /** Ids of the peers it is connected to. */
  async connected(): Promise<string[]> {
    const peers = await this.call<{ peerId: string; connected: boolean }[]>('GET', '/v1/peers')
    return peers.filter((peer) => peer.connected).map((peer) => peer.peerId)
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<unknown> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      return Promise.resolve()
    }
    const ended = once(child, 'exit')
    child.kill(signal)
    return ended
  }
}
