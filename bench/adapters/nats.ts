import type { AdapterContext, AdapterNode, BrokerCommand, BrokerContext, Role } from './contract.ts'
import { importPeer } from './peer-packages.ts'

interface Received {
  readonly data: Uint8Array
  respond(data: Uint8Array): boolean
}

interface Connection {
  publish(subject: string, payload: Uint8Array): void
  flush(): Promise<void>
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: Received) => void }
  ): unknown
  request(subject: string, payload: Uint8Array, options: { timeout: number }): Promise<unknown>
  close(): Promise<void>
}

interface Transport {
  connect: (options: { servers: string; reconnect: boolean }) => Promise<Connection>
}

interface JetStreamPackage {
  jetstreamManager(connection: Connection): Promise<{
    streams: {
      add(config: { name: string; subjects: string[]; storage: 'file' }): Promise<unknown>
    }
  }>
  jetstream(connection: Connection): {
    publish(subject: string, payload: Uint8Array): Promise<unknown>
  }
}

/** Bytes between two pings: the client alone never says "wait". */
const FLUSH_BYTES = 256 * 1024

const REQUEST_MS = 10_000

/** NATS: core publish and subscribe, and JetStream with a file store for durable publishing. */
export function broker({ options, port, dir }: BrokerContext): BrokerCommand {
  const store = options.jetstream === true ? ['-js', '-sd', dir] : []
  return { command: 'nats-server', args: ['-a', '127.0.0.1', '-p', String(port), ...store] }
}

export async function start(_role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { connect } = await importPeer<Transport>(context.peersDir, '@nats-io/transport-node')
  const servers = `127.0.0.1:${context.brokerPort}`
  const connection = await connect({ servers, reconnect: false })
  const stream = context.options.jetstream === true ? await openStream(context, connection) : {}
  let unflushed = 0
  let flushing = Promise.resolve()
  return {
    ...stream,
    publish(payload) {
      connection.publish('bench', payload)
      unflushed += payload.length
      if (unflushed < FLUSH_BYTES) return undefined
      unflushed = 0
      // At most two flushes are under way.
      const previous = flushing
      flushing = connection.flush()
      return previous
    },
    request: (payload) => connection.request('echo', payload, { timeout: REQUEST_MS }),
    async serve() {
      connection.subscribe('echo', {
        callback: (error, message) => {
          if (error === null) message.respond(message.data)
        }
      })
      await connection.flush()
    },
    async subscribe(onMessage) {
      connection.subscribe('bench', {
        callback: (error, message) => {
          if (error === null) onMessage(message.data)
        }
      })
      await connection.flush()
    },
    flush: () => connection.flush(),
    stop: () => connection.close()
  }
}

async function openStream(
  { peersDir }: AdapterContext,
  connection: Connection
): Promise<Pick<AdapterNode, 'publishDurable'>> {
  const packages = await importPeer<JetStreamPackage>(peersDir, '@nats-io/jetstream')
  const manager = await packages.jetstreamManager(connection)
  await manager.streams.add({ name: 'BENCH', subjects: ['durable'], storage: 'file' })
  const stream = packages.jetstream(connection)
  return { publishDurable: (payload) => stream.publish('durable', payload) }
}
