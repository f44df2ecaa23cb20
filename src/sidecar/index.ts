import { randomBytes } from 'node:crypto'
import { SkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { createLogger } from '../core/pino-logger.ts'
import type { SkeinNode } from '../node/contract.ts'
import { createSidecar } from './server.ts'

export { createSidecar } from './server.ts'
export type { Sidecar, SidecarComponents, SidecarInit } from './server.ts'
export type { Problem } from './problem.ts'

/** Where the HTTP interface listens when nothing is said. */
const DEFAULT_HTTP = '127.0.0.1:7400'

export interface ServeOptions {
  /** `host:port`. Default 127.0.0.1:7400, or the next free port when that is taken; a given one is exact. */
  readonly http?: string | undefined
  /** Clients must send it as `Authorization: Bearer <token>`. Default: a new random one. */
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

/** An open HTTP interface. */
export interface ServedNode {
  readonly url: string
  /** Undefined with `insecureApi`. */
  readonly token: string | undefined
  /** Closes the interface, not the node. Idempotent. */
  stop(): Promise<void>
}

/** Takes `host:port` apart; IPv6 addresses stand in brackets. Throws ERR_OPTIONS. */
export function parseHttpAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `http: '${text}' is not host:port; write it like 127.0.0.1:7400 or [::1]:7400.`,
      { details: { option: 'http' } }
    )
  }
  return { host: match[1] ?? match[2] ?? '', port }
}

/** Opens the HTTP interface on a node. Rejects with ERR_OPTIONS or ERR_LISTEN. */
export async function serve(node: SkeinNode, options: ServeOptions = {}): Promise<ServedNode> {
  const insecure = options.insecureApi ?? false
  const token = insecure ? undefined : (options.token ?? randomBytes(32).toString('base64url'))
  const sidecar = createSidecar(
    { node, logger: options.logger ?? createLogger({ level: 'warn', name: node.name }) },
    {
      ...parseHttpAddress(options.http ?? DEFAULT_HTTP),
      exactPort: options.http !== undefined,
      token,
      allowHosts: options.allowHosts ?? [],
      allowOrigins: options.allowOrigins ?? [],
      insecure
    }
  )
  await sidecar.start()
  return { url: sidecar.url, token, stop: () => sidecar.stop() }
}
