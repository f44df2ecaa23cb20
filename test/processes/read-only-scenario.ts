// Runs with a file system of its own, see namespace.ts and bad-input.test.ts: what `start` says on a data directory
// that cannot be written, new and used before. Prints one JSON line.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { NodeProcess, randomMesh, run } from './skein-process.ts'

const [disk = ''] = process.argv.slice(2)
const used = join(disk, 'used')
const args = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--mesh', randomMesh()]

async function main(): Promise<unknown> {
  const node = new NodeProcess(used, args)
  await node.start()
  await node.kill('SIGTERM')
  const { status, stderr } = spawnSync('mount', ['-o', 'remount,ro', disk], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`remount: ${stderr}`)
  const start = ['start', '--http', 'off', ...args, '--data-dir']
  return Promise.all([run([...start, join(disk, 'new')]), run([...start, used])])
}

process.stdout.write(`${JSON.stringify(await main())}\n`)
