import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach } from 'vitest'
import { writeApiFile } from '../../src/cli/data-home.ts'
import type { Bench } from '../sidecar/http-client.ts'
import { TOKEN, startBench } from '../sidecar/http-client.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

export interface Result {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
  /** stdout as text */
  readonly text: string
}

export interface RunOptions {
  readonly env?: Record<string, string>
  readonly input?: string | Buffer
}

/** A command that runs. */
export interface Running {
  readonly child: ChildProcess
  readonly result: Promise<Result>
  /** Resolves when stderr or stdout holds `text`. */
  seen(text: string): Promise<void>
}

const folders: string[] = []
const running = new Set<ChildProcess>()

export async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skein-cli-'))
  folders.push(folder)
  return folder
}

/** Starts `skein ...args` as its own process, with nothing of this machine's nodes in sight. */
export function launch(args: readonly string[], options: RunOptions = {}): Running {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: '/nonexistent',
    XDG_DATA_HOME: '/nonexistent',
    ...options.env
  }
  const child = spawn(process.execPath, [MAIN, ...args], { env })
  running.add(child)
  const out: Buffer[] = []
  let stderr = ''
  const wakers = new Set<() => void>()
  const wake = (): void => {
    for (const waker of wakers) waker()
  }
  child.stdout.on('data', (chunk: Buffer) => {
    out.push(chunk)
    wake()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
    wake()
  })
  const result = new Promise<Result>((resolve) => {
    child.on('close', (code) => {
      running.delete(child)
      wake()
      const stdout = Buffer.concat(out)
      resolve({ code, stdout, stderr, text: stdout.toString('utf8') })
    })
  })
  child.stdin.on('error', () => {})
  if (options.input !== undefined) child.stdin.end(options.input)
  const holds = (text: string): boolean =>
    stderr.includes(text) || Buffer.concat(out).includes(text)
  const seen = async (text: string): Promise<void> => {
    while (!holds(text)) {
      if (!running.has(child)) throw new Error(`ended without '${text}': ${stderr}`)
      await new Promise<void>((resolve) => {
        const waker = (): void => {
          wakers.delete(waker)
          resolve()
        }
        wakers.add(waker)
      })
    }
  }
  return { child, result, seen }
}

export function run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return launch(args, { input: '', ...options }).result
}

/** What a node says when it is ready. */
export interface Ready {
  readonly peerId: string
  readonly name: string
  readonly mesh: string
  readonly listen: readonly string[]
  readonly api: string | null
  readonly mqtt: string | null
  readonly dataDir: string
}

/** A real node on loopback, with a new data directory unless `args` name one. */
export async function startNode(
  args: readonly string[] = []
): Promise<Running & { readonly ready: Ready }> {
  const base = ['start', '--json', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const place = args.includes('--data-dir') ? [] : ['--data-dir', join(await tempFolder(), 'data')]
  const node = launch([...base, '--http', '127.0.0.1:0', ...place, ...args])
  let text = ''
  node.child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await node.seen('\n')
  await node.seen('"dataDir"')
  return { ...node, ready: JSON.parse(text) as Ready }
}

/** A fake node whose HTTP interface the commands find by `--data-dir`. */
export async function fakeNode(): Promise<Bench & { readonly at: readonly string[] }> {
  const bench = await startBench()
  const dataDir = await tempFolder()
  await writeApiFile(dataDir, { url: bench.sidecar.url, token: TOKEN, pid: process.pid })
  return Object.assign(bench, { at: ['--data-dir', dataDir] })
}

afterEach(async () => {
  for (const child of running) child.kill('SIGKILL')
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})
