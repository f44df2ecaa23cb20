import { once } from 'node:events'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import type { AdapterContext, AdapterNode, BrokerCommand, BrokerContext, Role } from './contract.ts'

/**
 * What the disk allows: a server of a few lines that appends every message to one file and answers after the sync;
 * whatever arrived during one sync shares the next.
 */
export function broker({ build, port, dir }: BrokerContext): BrokerCommand {
  const server = fileURLToPath(new URL('bench/adapters/durable-floor-server.js', build))
  return { command: process.execPath, args: [server, String(port), `${dir}/log`] }
}

const ACK_BYTES = 4

export async function start(_role: Role, { brokerPort }: AdapterContext): Promise<AdapterNode> {
  const socket = net.connect(brokerPort, '127.0.0.1')
  await once(socket, 'connect')
  socket.setNoDelay(true)
  const waiting: Array<() => void> = []
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (data) => {
    rest = rest.length > 0 ? Buffer.concat([rest, data]) : data
    while (rest.length >= ACK_BYTES) {
      for (const acknowledge of waiting.splice(0, rest.readUInt32BE(0))) acknowledge()
      rest = rest.subarray(ACK_BYTES)
    }
  })
  return {
    publishDurable(payload) {
      const header = Buffer.allocUnsafe(4)
      header.writeUInt32BE(payload.length)
      socket.cork()
      socket.write(header)
      socket.write(payload)
      process.nextTick(() => socket.uncork())
      return new Promise<void>((resolve) => waiting.push(resolve))
    },
    stop() {
      socket.destroy()
    }
  }
}
