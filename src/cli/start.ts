import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Option } from 'commander'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { LOG_LEVELS } from '../core/logger.ts'
import type { LogLevel, Logger } from '../core/logger.ts'
import type { SkeinNode } from '../node/contract.ts'
import { defaultDataDir, removeApiFile, writeApiFile } from './data-home.ts'
import {
  type ApiDoor,
  type Doors,
  checkDoors,
  clearTextWarnings,
  mqttLines,
  openDoors
} from './doors.ts'
import { resolveStartOptions } from './start-options.ts'
import type { StartOptions } from './start-options.ts'
import { print, printJson, reportError, say } from './terminal.ts'
import { usageError } from './units.ts'

/** What is running, to be closed in this order. */
interface Running extends Doors {
  readonly node: SkeinNode
  readonly dataDir: string
}

function levelOf(options: StartOptions): LogLevel {
  const level = options.logLevel ?? (options.verbose === true ? 'debug' : 'warn')
  const known = LOG_LEVELS.find((candidate) => candidate === level)
  if (known === undefined) {
    throw usageError('--log-level', `'${level}' is not one of ${LOG_LEVELS.join(', ')}`)
  }
  return known
}

async function tokenOf(options: StartOptions): Promise<string> {
  if (options.tokenFile === undefined) return randomBytes(32).toString('base64url')
  let token: string
  try {
    token = (await readFile(options.tokenFile, 'utf8')).trim()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new SkeinError(
      'ERR_OPTIONS',
      `--token-file: ${options.tokenFile} cannot be read (${code ?? 'unknown'})`,
      { cause: error, details: { option: 'tokenFile' } }
    )
  }
  if (/^[\x21-\x7e]{16,1024}$/.test(token)) return token
  throw usageError(
    '--token-file',
    `${options.tokenFile} must hold one token of 16 to 1024 printable characters`
  )
}

async function openNode(
  options: StartOptions,
  dataDir: string,
  logger: Logger
): Promise<SkeinNode> {
  // Loaded here, so that the other commands start fast.
  const { createNode } = await import('../node/create-node.ts')
  try {
    return await createNode({
      ...options.fileOnly,
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(options.mesh === undefined ? {} : { mesh: options.mesh }),
      ...(options.listen === undefined ? {} : { listen: [...options.listen] }),
      ...(options.announce === undefined ? {} : { announce: [...options.announce] }),
      ...(options.join === undefined ? {} : { join: [...options.join] }),
      ...(options.networkKey === undefined ? {} : { networkKey: options.networkKey }),
      ...(options.keep === undefined ? {} : { keep: [...options.keep] }),
      ...(options.noCustodian === undefined ? {} : { custodian: !options.noCustodian }),
      mdns: options.noMdns !== true,
      dataDir,
      logger
    })
  } catch (error) {
    if (!isSkeinError(error, 'ERR_DATA_DIR_LOCKED')) throw error
    throw new SkeinError(
      error.code,
      `${error.message.replace(/\.$/, '')}; start a second node beside it with --name <other name>`,
      { cause: error, details: error.details }
    )
  }
}

async function open(options: StartOptions): Promise<Running> {
  const level = levelOf(options)
  const { createLogger } = await import('../core/pino-logger.ts')
  const logger = createLogger({
    level,
    ...(options.name === undefined ? {} : { name: options.name })
  })
  const token = await tokenOf(options)
  await checkDoors(options)
  const dataDir = resolve(
    options.dataDir ?? defaultDataDir(options.mesh ?? 'default', options.name)
  )
  const node = await openNode(options, dataDir, logger)
  try {
    const doors = await openDoors(node, options, { logger, token })
    const { api, mqtt } = doors
    if (api !== undefined) {
      await writeApiFile(dataDir, {
        url: api.url,
        mqtt: mqtt ?? null,
        token: api.token ?? null,
        pid: process.pid
      })
    }
    const stop = async (): Promise<void> => {
      if (api !== undefined) await removeApiFile(dataDir)
      await doors.stop()
      await node.stop()
    }
    return { ...doors, node, dataDir, stop }
  } catch (error) {
    await node.stop()
    throw error
  }
}

/** As a POSIX shell takes it for one word. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}

/**
 * Where the page is: with the token for whoever starts the node on a terminal, without it where the output is kept or
 * goes on to others.
 */
export function dashboardLink(api: Pick<ApiDoor, 'token' | 'url'>, isTerminal: boolean): string {
  const { token, url } = api
  return isTerminal && token !== undefined
    ? `${url}/#token=${encodeURIComponent(token)}`
    : `${url}/`
}

function welcome({ node, dataDir, api, mqtt }: Running): string {
  const status = node.status()
  const lines = [
    `Skein ${status.version}: node '${node.name}' of mesh '${node.mesh}' is ready.`,
    `  peer id     ${node.peerId}`,
    ...status.addresses.map((address) => `  listens on  ${address}`),
    `  data        ${dataDir}`,
    `  HTTP API    ${api === undefined ? 'off' : api.url}`,
    ...(mqtt === undefined ? [] : [`  MQTT        ${mqtt}`]),
    ...(api === undefined ? [] : [`  dashboard   ${dashboardLink(api, process.stdout.isTTY)}`])
  ]
  if (api !== undefined) {
    // Works for each of several nodes, and wherever the data are.
    const at = `--data-dir ${shellWord(dataDir)}`
    lines.push(
      '',
      'In other terminals, here or (with a node of their own, without --data-dir) on other machines:',
      `  npx skein sub ${at} 'demo/#'`,
      `  npx skein pub ${at} demo/hello "hello world"`,
      'Or from any language:',
      api.token === undefined
        ? `  curl -d "hello world" ${api.url}/v1/publish/demo/hello`
        : `  curl -H "Authorization: Bearer $TOKEN" -d "hello world" ${api.url}/v1/publish/demo/hello`
    )
    lines.push(...mqttLines(mqtt, api.token !== undefined))
    if (api.token !== undefined) lines.push(`  (the token is in ${dataDir}/api.json)`)
  }
  return `${lines.join('\n')}\n`
}

function ready({ node, dataDir, api, mqtt }: Running): object {
  return {
    peerId: node.peerId,
    name: node.name,
    mesh: node.mesh,
    listen: node.status().addresses,
    api: api?.url ?? null,
    mqtt: mqtt ?? null,
    dataDir
  }
}

const OPEN_MESH =
  'WARNING: this is an open mesh: without --network-key, anyone who reaches this network may join, read and publish. Make a key with: skein key create <file>'

/** Resolves with the exit code that a signal or a failure of the node asks for. */
function asked(node: SkeinNode): Promise<number> {
  return new Promise((resolve) => {
    let stopping = false
    const onSignal = (signal: NodeJS.Signals): void => {
      if (stopping && signal === 'SIGINT') process.exit(130)
      stopping = true
      resolve(0)
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
    node.on('failed', ({ error }) => {
      if (stopping) return
      stopping = true
      resolve(reportError(error, false))
    })
  })
}

/** Drains and closes, or ends the process when that takes too long. */
async function stopInTime(running: Running): Promise<void> {
  const late = setTimeout(() => {
    say(`skein: stopping took longer than ${LIMITS.stopTimeoutMs / 1000} s; ended at once`)
    process.exit(1)
  }, LIMITS.stopTimeoutMs - 500)
  await running.stop()
  clearTimeout(late)
}

async function start(flags: Readonly<Record<string, unknown>>): Promise<void> {
  // Until there is something to drain, an interruption ends the process as usual.
  const options = await resolveStartOptions(flags)
  const running = await open(options)
  const end = asked(running.node)
  if (running.node.status().networkKeyId === undefined) say(OPEN_MESH)
  if (options.insecureApi === true && (running.api ?? running.mqtt) !== undefined) {
    const what = running.mqtt === undefined ? 'interface asks' : 'and MQTT interfaces ask'
    say(`WARNING: the HTTP ${what} for no token (--insecure-api): every local user may use it`)
  }
  for (const warning of await clearTextWarnings(running)) say(warning)
  await (options.json === true ? printJson(ready(running)) : print(welcome(running)))
  const code = await end
  await stopInTime(running)
  // A timer or socket left over by a library must not keep a stopped node alive.
  process.exit(code)
}

const collect = (value: string, all: readonly string[] | undefined): string[] => [
  ...(all ?? []),
  value
]

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run a node')
    .option('--name <name>', 'what people call this node; default: the host name')
    .option('--mesh <mesh>', 'nodes of one mesh find each other; default: default')
    .option(
      '--data-dir <dir>',
      'where logs and identity are kept; default: in the user data folder'
    )
    .option('--listen <multiaddr>', 'address to listen on; repeatable', collect)
    .option('--announce <multiaddr>', 'address to tell others; repeatable', collect)
    .option('--join <multiaddr>', 'node to connect to; repeatable', collect)
    .option('--no-mdns', 'do not look for nodes on the local network')
    .option(
      '--http <host:port|off>',
      'HTTP interface; default: 127.0.0.1:7400 or the next free port'
    )
    .option('--mqtt <host:port|off>', 'MQTT 3.1.1 interface; default: off')
    .option('--token-file <file>', 'file with the API token; default: a new one at each start')
    .option('--allow-host <host>', 'name allowed in the Host header; repeatable', collect)
    .option('--allow-origin <origin>', 'web origin that may call the API; repeatable', collect)
    .option('--network-key <file>', 'only nodes with the same key may join; default: an open mesh')
    .option('--keep <filter>', 'hold these channels for others, unread; repeatable', collect)
    .option('--no-custodian', 'keep no sealed messages for peers that are away')
    .option('--insecure-api', 'ask for no API token, on loopback only')
    .addOption(
      new Option('--log-level <level>', 'least level to log; default: warn').choices(LOG_LEVELS)
    )
    .option('--verbose', 'log at level debug, and show stack traces of errors')
    .option('--json', 'print one JSON line when ready')
    .option('--config <file>', 'YAML file with these options, in camelCase')
    .addHelpText(
      'after',
      '\nEvery option may also be given as SKEIN_<NAME> (lists with commas). Flags go before the environment, the environment before the file.'
    )
    .action((flags: Record<string, unknown>) => {
      const { mdns, custodian, ...rest } = flags
      // What was not said must not count as said: the environment and the file come next.
      return start({
        ...rest,
        ...(mdns === false ? { noMdns: true } : {}),
        ...(custodian === false ? { noCustodian: true } : {})
      })
    })
}
