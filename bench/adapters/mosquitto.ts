import { writeFileSync } from 'node:fs'
import type { AdapterContext, AdapterNode, BrokerCommand, BrokerContext, Role } from './contract.ts'
import { InFlightWindow } from './in-flight-window.ts'
import { importPeer } from './peer-packages.ts'

interface Client {
  publish(
    topic: string,
    payload: Buffer,
    options: { qos: 0 | 1 },
    done: (error?: Error | null) => void
  ): void
  publishAsync(topic: string, payload: Buffer, options: { qos: 0 | 1 }): Promise<unknown>
  subscribeAsync(topic: string, options: { qos: 0 | 1 }): Promise<unknown>
  on(event: 'message', listener: (topic: string, payload: Buffer) => void): void
  endAsync(force?: boolean): Promise<void>
}

interface MqttPackage {
  default: { connectAsync(url: string, options: object): Promise<Client> }
}

const AUTOSAVE_SECONDS = 1
const WINDOW_MESSAGES = 256

/** mosquitto with mqtt.js at QoS 0, and at QoS 1 with persistence for durable publishing. */
export function broker({ options, port, dir }: BrokerContext): BrokerCommand {
  const file = `${dir}/mosquitto.conf`
  const persistence = [
    'persistence true',
    `persistence_location ${dir}/`,
    `autosave_interval ${AUTOSAVE_SECONDS}`
  ]
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    // By default it drops beyond 1,000 queued messages of a client, which is at once at full speed.
    'max_queued_messages 0',
    'set_tcp_nodelay true',
    ...(options.persistence === true ? persistence : [])
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  return { command: 'mosquitto', args: ['-c', file] }
}

export async function start(_role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { default: mqtt } = await importPeer<MqttPackage>(context.peersDir, 'mqtt')
  const url = `mqtt://127.0.0.1:${context.brokerPort}`
  if (context.options.persistence === true) {
    // A session that is away, for which the broker has to store.
    const away = await mqtt.connectAsync(url, {
      reconnectPeriod: 0,
      clientId: 'away',
      clean: false
    })
    await away.subscribeAsync('durable', { qos: 1 })
    await away.endAsync()
  }
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0 })
  const window = new InFlightWindow(WINDOW_MESSAGES)
  return {
    publish(payload) {
      window.enter(payload.length)
      client.publish('bench', payload, { qos: 0 }, (error) => window.leave(payload.length, error))
      return window.room()
    },
    publishDurable: (payload) => client.publishAsync('durable', payload, { qos: 1 }),
    async subscribe(onMessage) {
      client.on('message', (_topic, payload) => onMessage(payload))
      await client.subscribeAsync('bench', { qos: 0 })
    },
    stop: () => client.endAsync(true)
  }
}
