import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TestContext } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'
import { finished } from './skein-process.ts'

/** A network, mounts and processes of our own; what is made in there is gone with the last process. */
const UNSHARE = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child']

/** One interface with multicast, in a network that leads nowhere. Kernels without `dummy` have `veth`. */
export const LAN = [
  'ip link set lo up',
  '(ip link add lan0 type dummy 2>/dev/null || { ip link add lan0 type veth peer name lan1 && ip link set lan1 up; })',
  'ip addr add 10.77.0.1/24 dev lan0',
  'ip link set lan0 up multicast on',
  'ip route add 224.0.0.0/4 dev lan0'
].join(' && ')

/** Loopback only. */
export const LOOPBACK = 'ip link set lo up'

function lack(): string | undefined {
  const { error, status, stderr } = spawnSync(
    'unshare',
    [...UNSHARE, 'sh', '-c', `${LAN} && mount -t tmpfs tmpfs /mnt`],
    { encoding: 'utf8' }
  )
  if (error !== undefined) return `unshare cannot be run (${error.message})`
  if (status === 0) return undefined
  return `no namespaces with unshare and ip: ${stderr.trim().replaceAll('\n', '; ')}`
}

/**
 * Runs a script in namespaces of its own, after the shell commands of `setup`. Resolves with the
 * JSON value on the last line it prints; skips the test where namespaces cannot be had.
 */
export async function inNamespace<Answer>(
  context: Pick<TestContext, 'skip'>,
  setup: string,
  script: URL,
  args: readonly string[] = []
): Promise<Answer> {
  skipFor(lack(), context)
  const command = [process.execPath, '--import', 'tsx', fileURLToPath(script), ...args]
  const child = spawn('unshare', [...UNSHARE, 'sh', '-c', `${setup} && "$@"`, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const end = (): void => void child.kill('SIGKILL')
  process.once('exit', end)
  const { code, stdout, stderr } = await finished(child)
  process.off('exit', end)
  if (code !== 0) throw new Error(`${script.pathname} failed:\n${stderr}\n${stdout}`)
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Answer
}
