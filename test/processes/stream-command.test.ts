import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MIB } from '../../src/core/limits.ts'
import {
  NodeProcess,
  eventually,
  finished,
  full,
  randomMesh,
  skein,
  temporaryFolder
} from './skein-process.ts'
import { rawTransfer } from './raw-transfer.ts'

const BYTES = 2048 * MIB
/** What a process may grow by between a quarter of the transfer and its end, MiB: garbage that waits to be collected. */
const GROWTH = 96

interface Done {
  readonly bytes: number
  readonly digest: string
  readonly ms: number
}

/** A file in which no MiB is like another. */
async function writeSource(path: string): Promise<void> {
  const file = await open(path, 'w')
  const chunk = Buffer.alloc(MIB)
  for (let at = 0; at < chunk.length; at += 4) {
    chunk.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at)
  }
  for (let at = 0; at < BYTES / MIB; at++) {
    chunk.writeUInt32LE(at, 0)
    await file.write(chunk)
  }
  await file.close()
}

/** Resident memory of a process, MiB. */
async function residentOf(pid: number | undefined): Promise<number> {
  const text = await readFile(`/proc/${pid ?? 0}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) / 1024
}

async function node(mesh: string, args: readonly string[] = []): Promise<NodeProcess> {
  const folder = await temporaryFolder(onTestFinished)
  const base = ['--mesh', mesh, '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const started = new NodeProcess(join(folder, 'data'), [...base, ...args])
  onTestFinished(async () => void (await started.kill()))
  await started.start()
  return started
}

describe.runIf(full && process.platform === 'linux')(
  'skein stream: 2 GiB between two processes',
  () => {
    it('arrive whole, and no process grows', async () => {
      const mesh = randomMesh()
      const one = await node(mesh, ['--name', 'one'])
      const two = await node(mesh, ['--name', 'two', '--join', one.ready.listen[0] ?? ''])
      await eventually(async () => (await one.connected()).includes(two.ready.peerId))
      const folder = await temporaryFolder(onTestFinished)
      const [from, to] = [join(folder, 'from'), join(folder, 'to')]
      await writeSource(from)
      const command = (args: readonly string[], of: NodeProcess): ChildProcess => {
        const child = skein(['stream', ...args, '--json', '--data-dir', of.dataDir])
        onTestFinished(() => void child.kill('SIGKILL'))
        return child
      }
      const receiver = command(['receive', 'bulk', to], two)
      const sender = command(['send', 'bulk', from, '--wait', '30s'], one)
      const results = Promise.all([finished(sender), finished(receiver)])
      const pids = { sender: sender.pid, one: one.pid, two: two.pid, receiver: receiver.pid }
      const atQuarter: Record<string, number> = {}
      const most: Record<string, number> = {}
      const ended = once(sender, 'exit')
      for (let isOver = false; !isOver;) {
        const timer = new Promise((resolve) => setTimeout(resolve, 100, false))
        isOver = (await Promise.race([timer, ended.then(() => true)])) as boolean
        const size = await stat(`${to}.part`).then(
          (found) => found.size,
          () => 0
        )
        if (isOver || size < BYTES / 4) continue
        for (const [name, pid] of Object.entries(pids)) {
          const resident = await residentOf(pid)
          atQuarter[name] ??= resident
          most[name] = Math.max(most[name] ?? 0, resident)
        }
      }
      const [sent, received] = await results
      expect([sent.stderr, received.stderr]).toEqual(['', ''])
      const near = JSON.parse(sent.stdout) as Done
      expect(JSON.parse(received.stdout)).toMatchObject({ bytes: BYTES, digest: near.digest })
      expect((await stat(to)).size).toBe(BYTES)
      const shown = Object.keys(pids).map((name) => {
        const [before = 0, after = 0] = [atQuarter[name], most[name]]
        expect(after - before).toBeLessThan(GROWTH)
        return `${name} ${Math.round(before)} to ${Math.round(after)}`
      })
      const rawMs = await rawTransfer(BYTES)
      const rate = (ms: number): number => Math.round(BYTES / 1000 / ms)
      process.stdout.write(
        `${BYTES / MIB} MiB by skein stream, file to file with SHA-256: ${rate(near.ms)} MB/s; on a raw encrypted ` +
          `stream: ${rate(rawMs)} MB/s; resident memory, MiB: ${shown.join(', ')}\n`
      )
    }, 600_000)
  }
)
