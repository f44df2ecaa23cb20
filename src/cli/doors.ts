import { SkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { SkeinNode } from '../node/contract.ts'
import type { StartOptions } from './start-options.ts'
import { usageError } from './units.ts'

export interface ApiDoor {
  /** For this machine. */
  readonly url: string
  readonly token: string | undefined
  /** Where it listens: a name or address, IPv6 in brackets. */
  readonly hostname: string
}

/** Where clients of a node come in; undefined: not there. */
export interface Doors {
  readonly api: ApiDoor | undefined
  /** `host:port` */
  readonly mqtt: string | undefined
  stop(): Promise<void>
}

const asked = (address: string | undefined): string | undefined =>
  address === 'off' ? undefined : address

/** Throws ERR_OPTIONS for addresses that no door can have: before anything is created on disk. */
export async function checkDoors(options: StartOptions): Promise<void> {
  const { parseHostPort } = await import('../sidecar/index.ts')
  const [http, mqtt] = [asked(options.http), asked(options.mqtt)]
  if (http !== undefined) parseHostPort('http', http)
  if (mqtt === undefined) return
  parseHostPort('mqtt', mqtt)
  const isTokenKnown = options.tokenFile !== undefined || options.insecureApi === true
  if (options.http !== 'off' || isTokenKnown) return
  throw usageError(
    '--mqtt',
    'with --http off, nobody could learn the password; give it with --token-file'
  )
}

/** Opens the doors that were asked for. Rejects with ERR_OPTIONS, ERR_LISTEN. */
export async function openDoors(
  node: SkeinNode,
  options: StartOptions,
  { logger, token }: { logger: Logger; token: string }
): Promise<Doors> {
  const { serve, serveMqtt } = await import('../sidecar/index.ts')
  const { insecureApi } = options
  const mqtt = asked(options.mqtt)
  if (options.http === 'off') {
    if (mqtt === undefined) return { api: undefined, mqtt, stop: () => Promise.resolve() }
    const listener = await serveMqtt(node, { mqtt, token, insecureApi, logger })
    return { api: undefined, mqtt: listener.address, stop: () => listener.stop() }
  }
  const served = await serve(node, {
    http: options.http,
    mqtt,
    token,
    allowHosts: options.allowHost,
    allowOrigins: options.allowOrigin,
    insecureApi,
    logger
  })
  const { token: given, url } = served
  const api = { url: localUrl(url), token: given, hostname: new URL(url).hostname }
  return { api, mqtt: served.mqtt, stop: () => served.stop() }
}

/** All addresses are none to dial, and no name for the Host header. */
function localUrl(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

/** How to use the MQTT interface with what people have at hand. */
export function mqttLines(mqtt: string | undefined, hasToken: boolean): string[] {
  if (mqtt === undefined) return []
  const { hostname, port } = hostOf(mqtt)
  const at = `-h ${hostname} -p ${port}${hasToken ? ' -u any -P "$TOKEN"' : ''}`
  return [
    'Or from any MQTT client:',
    `  mosquitto_sub ${at} -t 'demo/#'`,
    `  mosquitto_pub ${at} -t demo/hello -m "hello world"`
  ]
}

/** Doors have no TLS of their own: what each one that others can reach should be warned of. */
export async function clearTextWarnings({ api, mqtt }: Doors): Promise<string[]> {
  const { isLoopback } = await import('../sidecar/access/access.ts')
  const doors = [
    ['HTTP', api?.hostname],
    ['MQTT', mqtt === undefined ? undefined : hostOf(mqtt).hostname]
  ] as const
  return doors.flatMap(([kind, hostname]) => {
    if (hostname === undefined || isLoopback(hostname.replace(/^\[|\]$/g, ''))) return []
    return [
      `WARNING: the ${kind} interface on ${hostname} has no TLS: the token and all messages cross the network in clear, for anyone on it to read and use. Keep it on 127.0.0.1, or reach it through a TLS proxy or a tunnel only`
    ]
  })
}

function hostOf(address: string): { hostname: string; port: string } {
  const at = address.lastIndexOf(':')
  if (at === -1) throw new SkeinError('ERR_INTERNAL', `'${address}' is not host:port`)
  return {
    hostname: address.slice(0, at).replace(/^\[|\]$/g, ''),
    port: address.slice(at + 1)
  }
}
