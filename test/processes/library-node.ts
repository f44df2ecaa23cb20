import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NodeOptions, SubscribeOptions } from '../../src/index.ts'

const fileOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const library = new URL('../../dist/index.js', import.meta.url).href

let built: string | undefined

/** The worker as JavaScript: it is started hundreds of times, and a loader of TypeScript doubles each start. */
function worker(): string {
  if (built !== undefined) return built
  const folder = mkdtempSync(join(tmpdir(), 'skein-worker-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  const options = ['--ignoreConfig', '--noCheck', '--module', 'nodenext', '--target', 'es2023']
  const compiler = fileOf('../../node_modules/typescript/bin/tsc')
  const source = fileOf('./library-worker.ts')
  const rewrite = ['--rewriteRelativeImportExtensions', '--rootDir', fileOf('../..')]
  execFileSync(process.execPath, [compiler, ...options, ...rewrite, '--outDir', folder, source])
  built = join(folder, 'test/processes/library-worker.js')
  return built
}

export type Command =
  | { readonly op: 'start'; readonly options: NodeOptions }
  | {
      readonly op: 'subscribe'
      readonly name: string
      readonly filter: string
      readonly options?: SubscribeOptions
      /** Each message is reported rather than counted, before it is acknowledged. */
      readonly say?: boolean
      /** Payloads begin with the time of their publishing: latencies are kept. */
      readonly timed?: boolean
      /** false: payloads are not summed up, which takes as long as the rest of a hand-over. */
      readonly digests?: boolean
    }
  | {
      readonly op: 'publish'
      readonly topic: string
      readonly count: number
      readonly bytes: number
      /** Default: as fast as they are confirmed. */
      readonly perSecond?: number
      /** Each confirmation is reported. */
      readonly say?: boolean
    }
  | { readonly op: 'tally' | 'latencies'; readonly name: string }
  | { readonly op: 'members'; readonly channel: string }
  /** As process.memoryUsage() says; `collect` needs --expose-gc. */
  | { readonly op: 'memory'; readonly collect: boolean }
  | { readonly op: 'connected' | 'metrics' | 'topics' | 'stop' }

/** What a subscription got of one log. */
export interface Log {
  readonly count: number
  readonly last: number
  /** Of its payloads, in the order in which they came. */
  readonly digest: string
}

export interface Tally {
  readonly handed: number
  /** Not above what had been handed over of the log. */
  readonly repeated: number
  /** More than one above it. */
  readonly jumps: number
  readonly late: number
  /** Wall clock, ms. */
  readonly firstAt: number
  readonly lastAt: number
  /** By publisher and session: for subscriptions to one channel. */
  readonly logs: Readonly<Record<string, Log>>
}

export interface Request {
  readonly id: number
  readonly command: Command
}

export type Report =
  | { readonly event: 'alive' }
  | { readonly event: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly event: 'refused'; readonly id: number; readonly text: string }
  | { readonly event: 'error'; readonly text: string }
  | { readonly event: 'confirmed'; readonly id: string; readonly topic: string }
  | {
      readonly event: 'handed'
      readonly name: string
      readonly id: string
      readonly attempt: number
      readonly late: boolean
    }
  | { readonly event: 'acked'; readonly name: string; readonly id: string }
  | {
      readonly event: 'gap'
      readonly name: string
      readonly channel: string
      readonly publisher: string
      readonly session: string
      readonly from: number
      readonly to: number
      readonly reason: string
    }

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

/** Ends whatever a test left behind. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** One node of the library in a process of its own, which can be killed and started again. */
export class LibraryNode {
  readonly options: NodeOptions
  readonly log: string[] = []
  /** What it says beyond its answers. */
  onReport: (report: Report) => void = () => {}
  #child: ChildProcess | undefined
  readonly #waiting = new Map<number, Waiting>()
  #next = 0
  #peerId = ''

  constructor(options: NodeOptions) {
    this.options = options
  }

  get peerId(): string {
    return this.#peerId
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  /** A process with a node in it. `execArgv` goes to Node, for profiles. */
  async start(execArgv: readonly string[] = []): Promise<readonly string[]> {
    const child = fork(worker(), [library], {
      execArgv: [...execArgv],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    this.#child = child
    running.add(child)
    child.stderr?.on('data', (chunk: Buffer) => this.log.push(chunk.toString()))
    child.once('exit', (code, signal) => {
      running.delete(child)
      const error = new Error(`the process ended: ${String(signal ?? code)}; ${this.log.join('')}`)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    })
    const alive = new Promise<void>((resolve, reject) => {
      child.on('message', (report: Report) => {
        if (report.event === 'alive') resolve()
        else this.#hear(report)
      })
      child.once('exit', () => reject(new Error(`no worker came up: ${this.log.join('')}`)))
    })
    await alive
    const { addresses, peerId } = await this.call<{ peerId: string; addresses: string[] }>({
      op: 'start',
      options: this.options
    })
    this.#peerId = peerId
    return addresses
  }

  call<Answer = void>(command: Command): Promise<Answer> {
    const id = this.#next++
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve: (answer) => resolve(answer as Answer), reject })
      const request: Request = { id, command }
      this.#child?.send(request, (error) => {
        if (error === null) return
        this.#waiting.delete(id)
        reject(error)
      })
    })
  }

  tally(name: string): Promise<Tally> {
    return this.call<Tally>({ op: 'tally', name })
  }

  /** Stops the node in order, and its process. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || !child.connected) return
    await this.call({ op: 'stop' })
    const ended = once(child, 'exit')
    child.disconnect()
    await ended
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    // What it has said is heard to the end.
    const ended = Promise.all([once(child, 'exit'), child.connected && once(child, 'disconnect')])
    child.kill(signal)
    await ended
  }

  #hear(report: Report): void {
    if (report.event !== 'answer' && report.event !== 'refused') {
      this.onReport(report)
      return
    }
    const waiting = this.#waiting.get(report.id)
    this.#waiting.delete(report.id)
    if (report.event === 'answer') waiting?.resolve(report.answer)
    else waiting?.reject(new Error(report.text))
  }
}
