import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { access, constants, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import { Option } from 'commander'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { ApiClient } from './api-client.ts'
import { defaultDataDir, isAlive, readApiFile } from './data-home.ts'
import { runningNodes } from './node-locator.ts'
import type { ApiTarget } from './node-locator.ts'
import { print, printJson } from './terminal.ts'

/** What one check found, and what to do about it. */
interface Finding {
  readonly check: string
  readonly result: 'ok' | 'warn' | 'fail'
  readonly text: string
}

interface DoctorOptions {
  readonly dataDir?: string
  readonly mesh?: string
  readonly name?: string
  readonly networkKey?: string
  readonly http?: string
  readonly repair?: boolean
  readonly json?: boolean
}

const finding = (check: string, result: Finding['result'], text: string): Finding => ({
  check,
  result,
  text
})

/** The multicast group and port of mDNS (RFC 6762). */
const MDNS_GROUP = '224.0.0.251'
/** Not the mDNS port itself: a test packet must not reach other responders. */
const MULTICAST_WAIT_MS = 1000

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown'

function bound(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(0, () => resolve())
  })
}

/** Sends a packet to the mDNS group, on a port of our own, and waits to hear it. */
async function checkMulticast(): Promise<Finding> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  const probe = randomUUID()
  const hint =
    'mDNS cannot find peers; allow multicast (firewall, container network, route 224.0.0.0/4) or give --join'
  try {
    await bound(socket)
    socket.addMembership(MDNS_GROUP)
    socket.setMulticastLoopback(true)
    const heard = new Promise<boolean>((resolve, reject) => {
      const timer = setTimeout(() => resolve(false), MULTICAST_WAIT_MS)
      socket.on('error', reject)
      socket.on('message', (message) => {
        if (message.toString() !== probe) return
        clearTimeout(timer)
        resolve(true)
      })
    })
    socket.send(probe, socket.address().port, MDNS_GROUP)
    if (await heard) return finding('multicast', 'ok', 'a packet to the mDNS group came back')
    return finding('multicast', 'fail', `a packet to the mDNS group did not come back: ${hint}`)
  } catch (error) {
    return finding('multicast', 'fail', `multicast failed (${codeOf(error)}): ${hint}`)
  } finally {
    socket.close()
  }
}

function checkInterfaces(): Finding {
  const outside = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ internal, family }) => !internal && family === 'IPv4')
      .map(({ address }) => `${name} ${address}`)
  )
  if (outside.length > 0) return finding('interfaces', 'ok', outside.join(', '))
  return finding(
    'interfaces',
    'warn',
    'there is no IPv4 address but loopback: only nodes of this machine can be reached'
  )
}

/** Without a key file: what the running nodes say of theirs. */
function keysInUse(nodes: readonly SeenStatus[]): Finding {
  const open = nodes.filter(({ networkKeyId }) => networkKeyId === undefined)
  if (nodes.length > 0 && open.length === 0) {
    const keys = nodes.map(({ name, networkKeyId }) => `'${name}' uses the key ${networkKeyId}`)
    return finding('network key', 'ok', `${keys.join(', ')}; peers must show the same id`)
  }
  const who =
    nodes.length === 0
      ? 'none given, and no running node to ask: without one'
      : `${open.map(({ name }) => `'${name}'`).join(', ')} has none:`
  return finding(
    'network key',
    'warn',
    `${who} the mesh is open to everyone on the network; make one with: skein key create <file>`
  )
}

async function checkNetworkKey(
  options: DoctorOptions,
  nodes: readonly SeenStatus[]
): Promise<Finding> {
  const { networkKey: path } = options
  if (path === undefined) return keysInUse(nodes)
  try {
    const { describeNetworkKey } = await import('../node/network-key.ts')
    const { keyId } = await describeNetworkKey(path, options.mesh)
    return finding(
      'network key',
      'ok',
      `${path} holds the key ${keyId}; peers must show the same id`
    )
  } catch (error) {
    if (!isSkeinError(error)) throw error
    return finding('network key', 'fail', error.message)
  }
}

/** The nearest folder of `path` that exists. */
async function existing(path: string): Promise<string> {
  try {
    await stat(path)
    return path
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || dirname(path) === path) throw error
    return existing(dirname(path))
  }
}

async function checkDataDir(dataDir: string): Promise<Finding> {
  try {
    await access(await existing(dataDir), constants.R_OK | constants.W_OK | constants.X_OK)
    const file = await readApiFile(dataDir)
    if (file === undefined) return finding('data dir', 'ok', `${dataDir} can be written`)
    return isAlive(file.pid)
      ? finding('data dir', 'ok', `${dataDir} is in use by process ${file.pid}`)
      : finding(
          'data dir',
          'warn',
          `${dataDir} is left from process ${file.pid}, which did not stop cleanly`
        )
  } catch (error) {
    const why = isSkeinError(error) ? error.message : `${dataDir} (${codeOf(error)})`
    return finding('data dir', 'fail', `${why}: it cannot be used; choose another with --data-dir`)
  }
}

function checkPort(http: string, nodeRuns: boolean): Promise<Finding> {
  const colon = http.lastIndexOf(':')
  const host = http.slice(0, colon).replace(/^\[|\]$/g, '')
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => {
      const taken = codeOf(error) === 'EADDRINUSE'
      const text = taken
        ? `${http} is taken${nodeRuns ? '' : ' by another program'}; a node takes the next free port unless --http names one`
        : `${http} cannot be listened on (${codeOf(error)}); give another --http address`
      resolve(finding('HTTP port', taken ? (nodeRuns ? 'ok' : 'warn') : 'fail', text))
    })
    server.listen(Number(http.slice(colon + 1)), host, () => {
      server.close(() => resolve(finding('HTTP port', 'ok', `${http} is free`)))
    })
  })
}

interface SeenStatus {
  readonly ready: boolean
  readonly mesh: string
  readonly name: string
  readonly networkKeyId?: string
  readonly addresses: readonly string[]
  readonly peers: { readonly connected: number; readonly known: number }
  readonly store: { readonly condition: string }
}

/** A running node as it was found, and its status where it answered. */
interface SeenNode {
  readonly findings: readonly Finding[]
  readonly status?: SeenStatus
}

async function checkNode(target: ApiTarget): Promise<SeenNode> {
  const client = new ApiClient(target)
  const check = `node ${target.url}`
  try {
    const status = await client.json<SeenStatus>('GET', '/v1/status')
    const about = `'${status.name}' of mesh '${status.mesh}', ${status.peers.connected} of ${status.peers.known} known peers connected`
    const found = [
      status.ready
        ? finding(check, 'ok', about)
        : finding(check, 'fail', `${about}: not ready, its store is ${status.store.condition}`)
    ]
    if (status.addresses.length === 0) {
      found.push(finding(check, 'fail', 'it listens on no address; check --listen'))
    } else if (status.addresses.every((address) => address.startsWith('/ip4/127.'))) {
      found.push(
        finding(check, 'warn', 'it listens on loopback only: other machines cannot reach it')
      )
    }
    if (status.peers.connected === 0) {
      found.push(
        finding(
          check,
          'warn',
          'no peer is connected: is another node of the same mesh and key running?'
        )
      )
    }
    if (status.networkKeyId === undefined) {
      found.push(finding(check, 'warn', 'its mesh is open: anyone on the network may join'))
    }
    return { findings: found, status }
  } catch (error) {
    if (!isSkeinError(error)) throw error
    return { findings: [finding(check, 'fail', error.message)] }
  } finally {
    client.close()
  }
}

async function checkNodes(options: DoctorOptions): Promise<SeenNode[]> {
  const file = options.dataDir === undefined ? undefined : await readApiFile(options.dataDir)
  const targets =
    file !== undefined && isAlive(file.pid)
      ? [{ url: file.url, token: file.token ?? undefined }]
      : await runningNodes({ mesh: options.mesh, name: options.name })
  return Promise.all(targets.map(checkNode))
}

async function repair(dataDir: string, json: boolean): Promise<void> {
  const { repairDataDirectory } = await import('../node/repair.ts')
  const { location, setAside } = await repairDataDirectory(dataDir)
  if (json) return printJson({ location, setAside })
  const aside = setAside.length === 0 ? 'nothing' : setAside.join(', ')
  return print(
    `Put the store ${location} together from what is readable.\nSet aside in ${location}/lost: ${aside}.\nThe node can be started; it says what is missing as it finds it.\n`
  )
}

async function doctor(options: DoctorOptions): Promise<void> {
  const dataDir = options.dataDir ?? defaultDataDir(options.mesh ?? 'default', options.name)
  if (options.repair === true) return repair(dataDir, options.json === true)
  const nodes = await checkNodes(options)
  const statuses = nodes.flatMap(({ status }) => (status === undefined ? [] : [status]))
  const findings = [
    ...(nodes.length === 0
      ? [finding('nodes', 'warn', 'no running node was found')]
      : nodes.flatMap((node) => node.findings)),
    await checkMulticast(),
    checkInterfaces(),
    await checkNetworkKey(options, statuses),
    await checkDataDir(dataDir),
    await checkPort(options.http ?? '127.0.0.1:7400', nodes.length > 0)
  ]
  if (options.json === true) await printJson(findings)
  else {
    const lines = findings.map(
      ({ check, result, text }) => `${result.padEnd(4)}  ${check.padEnd(12)}  ${text}`
    )
    await print(`${lines.join('\n')}\n`)
  }
  const failed = findings.filter(({ result }) => result === 'fail')
  if (failed.length === 0) return
  throw new SkeinError(
    'ERR_INTERNAL',
    `${failed.length} of ${findings.length} checks failed: ${failed.map(({ check }) => check).join(', ')}`
  )
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('find out why a node sees no peers')
    .addOption(new Option('--data-dir <dir>', 'data directory to check').env('SKEIN_DATA_DIR'))
    .addOption(new Option('--mesh <mesh>', 'mesh of the node').env('SKEIN_MESH'))
    .addOption(new Option('--name <name>', 'name of the node').env('SKEIN_NAME'))
    .addOption(new Option('--network-key <file>', 'network key to check').env('SKEIN_NETWORK_KEY'))
    .addOption(new Option('--http <host:port>', 'HTTP address to check').env('SKEIN_HTTP'))
    .option(
      '--repair',
      'put together what is readable of a damaged store; its node must be stopped'
    )
    .option('--json', 'print JSON')
    .option('--verbose', 'show stack traces of errors')
    .action(doctor)
}
