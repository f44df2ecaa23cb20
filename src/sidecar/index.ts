import { randomBytes } from 'node:crypto'
import { SkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { createLogger } from '../core/pino-logger.ts'
import type { SkeinNode } from '../node/contract.ts'
import { Figures } from './figures.ts'
import type { MqttListener } from './mqtt/listener.ts'
import { createSidecar } from './server.ts'

export { createSidecar } from './server.ts'
export type { Sidecar, SidecarComponents, SidecarInit } from './server.ts'
export type { MqttListener } from './mqtt/listener.ts'
export type { Problem } from './problem.ts'

/** Where the HTTP interface listens when nothing is said. */
const DEFAULT_HTTP = '127.0.0.1:7400'

const EXAMPLES = { http: '127.0.0.1:7400 or [::1]:7400', mqtt: '127.0.0.1:1883 or [::1]:1883' }

export interface ServeOptions {
  /** `host:port`. Default 127.0.0.1:7400, or the next free port when that is taken; a given one is exact. */
  readonly http?: string | undefined
  /** `host:port` where MQTT clients connect. Default: nowhere. */
  readonly mqtt?: string | undefined
  /** Clients must send it as `Authorization: Bearer <token>`, by MQTT as their password. Default: a new random one. */
  readonly token?: string | undefined
  /** Names allowed in the Host header beside loopback ones. Default none. */
  readonly allowHosts?: readonly string[] | undefined
  /** Origins of web pages that may call. Default none. */
  readonly allowOrigins?: readonly string[] | undefined
  /** Ask for no token; on a loopback address only. Default false. */
  readonly insecureApi?: boolean | undefined
  /** Default: JSON lines on stderr, warnings and errors only. */
  readonly logger?: Logger | undefined
}

/** The open doors of a node. */
export interface ServedNode {
  /** Of the HTTP interface. */
  readonly url: string
  /** `host:port` of the MQTT interface; undefined where there is none. */
  readonly mqtt: string | undefined
  /** Undefined with `insecureApi`. */
  readonly token: string | undefined
  /** Closes the doors, not the node. Idempotent. */
  stop(): Promise<void>
}

/** Takes `host:port` apart; IPv6 addresses stand in brackets. Throws ERR_OPTIONS, which names the option. */
export function parseHostPort(
  option: 'http' | 'mqtt',
  text: string
): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `${option}: '${text}' is not host:port; write it like ${EXAMPLES[option]}.`,
      { details: { option } }
    )
  }
  return { host: match[1] ?? match[2] ?? '', port }
}

/** What an MQTT interface is opened with. */
export type ServeMqttOptions = Pick<ServeOptions, 'token' | 'insecureApi' | 'logger'> & {
  /** `host:port` to listen on. */
  readonly mqtt: string
}

/** Opens the MQTT interface alone on a node. Rejects with ERR_OPTIONS or ERR_LISTEN. */
export async function serveMqtt(
  node: SkeinNode,
  options: ServeMqttOptions,
  figures = new Figures()
): Promise<MqttListener> {
  // Most nodes never load it.
  const { createMqttListener } = await import('./mqtt/listener.ts')
  const listener = createMqttListener(
    { node, logger: loggerOf(node, options), figures },
    {
      ...parseHostPort('mqtt', options.mqtt),
      token: options.token,
      insecure: options.insecureApi ?? false
    }
  )
  await listener.start()
  return listener
}

/** Opens the HTTP interface on a node, and the MQTT one where asked for. Rejects with ERR_OPTIONS or ERR_LISTEN. */
export async function serve(node: SkeinNode, options: ServeOptions = {}): Promise<ServedNode> {
  const insecure = options.insecureApi ?? false
  const token = insecure ? undefined : (options.token ?? randomBytes(32).toString('base64url'))
  const figures = new Figures()
  const sidecar = createSidecar(
    { node, logger: loggerOf(node, options), figures },
    {
      ...parseHostPort('http', options.http ?? DEFAULT_HTTP),
      exactPort: options.http !== undefined,
      token,
      allowHosts: options.allowHosts ?? [],
      allowOrigins: options.allowOrigins ?? [],
      insecure
    }
  )
  await sidecar.start()
  const { mqtt } = options
  if (mqtt === undefined) {
    return { url: sidecar.url, mqtt, token, stop: () => sidecar.stop() }
  }
  try {
    const listener = await serveMqtt(node, { ...options, token, mqtt }, figures)
    const stop = async (): Promise<void> => {
      await Promise.all([sidecar.stop(), listener.stop()])
    }
    return { url: sidecar.url, mqtt: listener.address, token, stop }
  } catch (error) {
    await sidecar.stop()
    throw error
  }
}

function loggerOf(node: SkeinNode, { logger }: Pick<ServeOptions, 'logger'>): Logger {
  return logger ?? createLogger({ level: 'warn', name: node.name })
}
