import type { AdapterContext, AdapterNode, BrokerCommand, BrokerContext, Role } from './contract.ts'
import { importPeer } from './peer-packages.ts'

interface Client {
  xadd(stream: string, id: '*', field: string, value: Buffer): Promise<unknown>
  disconnect(): void
}

interface RedisPackage {
  Redis: new (port: number, host: string, options: { retryStrategy: null }) => Client
}

/** Redis: durable publishing to a stream with an append-only file. */
export function broker({ options, port, dir }: BrokerContext): BrokerCommand {
  const append =
    options.appendSync === undefined
      ? ['--appendonly', 'no']
      : ['--appendonly', 'yes', '--appendfsync', options.appendSync]
  return {
    command: 'redis-server',
    args: ['--bind', '127.0.0.1', '--port', String(port), '--dir', dir, '--save', '', ...append]
  }
}

export async function start(_role: Role, context: AdapterContext): Promise<AdapterNode> {
  const { Redis } = await importPeer<RedisPackage>(context.peersDir, 'ioredis')
  const client = new Redis(context.brokerPort, '127.0.0.1', { retryStrategy: null })
  return {
    publishDurable: (payload) => client.xadd('durable', '*', 'm', payload),
    stop: () => client.disconnect()
  }
}
