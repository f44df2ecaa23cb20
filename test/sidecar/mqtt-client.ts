import { once } from 'node:events'
import { type Socket, connect as connectSocket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type IClientOptions, type IPublishPacket, type MqttClient, connect } from 'mqtt'
import { type IConnectPacket, type Packet, parser, writeToStream } from 'mqtt-packet'
import { onTestFinished } from 'vitest'
import { type NodeOptions, type SkeinNode, createNode } from '../../src/index.ts'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import { type ServedNode, serve } from '../../src/sidecar/index.ts'

export const TOKEN = 'a-token-of-the-tests'

/** A node with its doors. */
export interface MqttNode {
  readonly node: SkeinNode
  readonly doors: ServedNode
  readonly url: string
  /** Value of a metric, 0 where it has none. */
  readonly metric: (sample: string) => Promise<number>
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
  readonly texts: () => string[]
}

export async function connected(
  { url }: Pick<MqttNode, 'url'>,
  options: IClientOptions = {}
): Promise<Connected> {
  const packets: IPublishPacket[] = []
  const client = connect(url, {
    username: 'any',
    password: TOKEN,
    reconnectPeriod: 0,
    keepalive: 0,
    ...options
  })
  client.on('message', (_topic, _payload, packet) => packets.push(packet))
  onTestFinished(() => client.endAsync(true))
  const present = await new Promise<boolean>((resolve, reject) => {
    client.once('connect', ({ sessionPresent }) => resolve(sessionPresent))
    client.once('error', reject)
    client.once('close', () => reject(new Error('closed')))
  })
  client.on('error', () => {})
  return { client, packets, present, texts: () => packets.map(({ payload }) => payload.toString()) }
}

/** Waits for what happens soon. */
export async function until(holds: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  for (const start = performance.now(); !(await holds()); await delay(5)) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${holds.toString()}`)
  }
}

/** A client that says what it is told to, and nothing by itself. */
export interface RawClient {
  readonly socket: Socket
  readonly packets: Packet[]
  /** Resolves to false when the node has ended the connection. */
  readonly isOpen: () => boolean
  send(packet: Packet): void
  /** The packets of a kind that have come, once there are so many. */
  received<Cmd extends Packet['cmd']>(
    cmd: Cmd,
    count?: number
  ): Promise<Array<Extract<Packet, { cmd: Cmd }>>>
}

export async function rawClient(
  { doors }: Pick<MqttNode, 'doors'>,
  connectPacket: Partial<IConnectPacket> = {}
): Promise<RawClient> {
  const client = await rawSocket({ doors })
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: 'raw',
    keepalive: 0,
    username: 'any',
    password: Buffer.from(TOKEN),
    ...connectPacket
  })
  await client.received('connack')
  return client
}

/** As `rawClient`, before its CONNECT. */
export async function rawSocket({ doors }: Pick<MqttNode, 'doors'>): Promise<RawClient> {
  const [host = '', port = ''] = (doors.mqtt ?? '').split(':')
  const socket = connectSocket({ host, port: Number(port) })
  onTestFinished(() => void socket.destroy())
  const packets: Packet[] = []
  const incoming = parser()
  incoming.on('packet', (packet) => packets.push(packet))
  socket.on('data', (chunk) => incoming.parse(chunk))
  let open = true
  socket.on('error', () => {})
  socket.on('close', () => {
    open = false
  })
  await once(socket, 'connect')
  return {
    socket,
    packets,
    isOpen: () => open,
    send: (packet) => void writeToStream(packet, socket),
    async received<Cmd extends Packet['cmd']>(cmd: Cmd, count = 1) {
      const found = () =>
        packets.filter((packet): packet is Extract<Packet, { cmd: Cmd }> => packet.cmd === cmd)
      await until(() => found().length >= count)
      return found()
    }
  }
}
