import { setTimeout as delay } from 'node:timers/promises'
import { type IClientOptions, type IPublishPacket, type MqttClient, connectAsync } from 'mqtt'
import { onTestFinished } from 'vitest'
import { type NodeOptions, type SkeinNode, createNode } from '../../src/index.ts'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import { type ServedNode, serve } from '../../src/sidecar/index.ts'

const TOKEN = 'a-token-of-the-tests'

/** A node with its doors. */
export interface MqttNode {
  readonly node: SkeinNode
  readonly doors: ServedNode
  readonly url: string
  /** Value of a metric, 0 where it has none. */
  metric(sample: string): Promise<number>
  stop(): Promise<void>
}

/** A node over TCP with an MQTT interface; `join`: nodes that it connects to. */
export async function mqttNode(
  options: NodeOptions = {},
  { insecureApi = false, logger = silentLogger }: { insecureApi?: boolean; logger?: Logger } = {}
): Promise<MqttNode> {
  const node = await createNode({
    mesh: `mqtt-${process.pid}`,
    mdns: false,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    logger: silentLogger,
    ...options
  })
  const doors = await serve(node, {
    http: '127.0.0.1:0',
    mqtt: '127.0.0.1:0',
    token: TOKEN,
    insecureApi,
    logger
  })
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= doors.stop().then(() => node.stop())
    return stopped
  }
  onTestFinished(stop)
  const metric = async (sample: string): Promise<number> => {
    const answer = await fetch(`${doors.url}/metrics`, {
      headers: { authorization: `Bearer ${TOKEN}` }
    })
    const line = (await answer.text()).split('\n').find((text) => text.startsWith(`${sample} `))
    return Number(line?.slice(sample.length + 1) ?? 0)
  }
  return { node, doors, url: `mqtt://${doors.mqtt}`, metric, stop }
}

/** Two nodes that are connected. */
export async function mqttPair(options: NodeOptions = {}): Promise<readonly [MqttNode, MqttNode]> {
  const first = await mqttNode({ name: 'a', ...options })
  const second = await mqttNode({ name: 'b', join: [...first.node.status().addresses], ...options })
  await until(() => first.node.peers().some(({ connected }) => connected))
  return [first, second]
}

/** An MQTT client, and what came to it. */
export interface Connected {
  readonly client: MqttClient
  readonly packets: IPublishPacket[]
  /** Session present. */
  readonly present: boolean
  /** Payloads as text. */
  texts(): string[]
}

export async function connected(
  { url }: Pick<MqttNode, 'url'>,
  options: IClientOptions = {}
): Promise<Connected> {
  const packets: IPublishPacket[] = []
  let present = false
  const client = await connectAsync(
    url,
    { username: 'any', password: TOKEN, reconnectPeriod: 0, keepalive: 0, ...options },
    false
  )
  client.on('message', (_topic, _payload, packet) => packets.push(packet))
  present =
    (client as unknown as { _connack?: { sessionPresent: boolean } })._connack?.sessionPresent ===
    true
  client.on('error', () => {})
  onTestFinished(async () => {
    await client.endAsync(true)
  })
  return { client, packets, present, texts: () => packets.map(({ payload }) => payload.toString()) }
}

/** Waits for what happens soon. */
export async function until(holds: () => boolean | Promise<boolean>, ms = 8000): Promise<void> {
  for (const start = performance.now(); !(await holds()); await delay(5)) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${holds.toString()}`)
  }
}
