import { setImmediate as nextTurn } from 'node:timers/promises'
import type { AdapterContext, AdapterNode, Role } from './contract.ts'
import { importPeer } from './peer-packages.ts'

interface KeyPair {
  publicKey: string
  secretKey: string
}

interface Publisher {
  readonly lastEndpoint: string
  bind(endpoint: string): Promise<void>
  send(payload: Buffer): Promise<void>
  close(): void
}

interface Subscriber extends AsyncIterable<readonly Buffer[]> {
  curveServerKey: string
  curvePublicKey: string
  curveSecretKey: string
  connect(endpoint: string): void
  subscribe(prefix: string): void
  close(): void
}

interface ZeroMq {
  curveKeyPair(): KeyPair
  Publisher: new (options: object) => Publisher
  Subscriber: new (options: object) => Subscriber
}

interface Address {
  readonly endpoint: string
  readonly serverKey: string | undefined
}

/** ZeroMQ publish and subscribe without a broker. `options.curve`: encrypted, the publisher authenticated. */
export async function start(role: Role, context: AdapterContext): Promise<AdapterNode> {
  const zmq = await importPeer<ZeroMq>(context.peersDir, 'zeromq')
  return role === 'publisher' ? startPublisher(zmq, context) : startSubscriber(zmq, context)
}

async function startPublisher(zmq: ZeroMq, { options }: AdapterContext): Promise<AdapterNode> {
  const keys = options.curve === true ? zmq.curveKeyPair() : undefined
  const socket = new zmq.Publisher({
    // The default socket silently drops at its high-water mark of 1,000 messages.
    noDrop: true,
    linger: 0,
    ...(keys === undefined ? {} : { curveServer: true, curveSecretKey: keys.secretKey })
  })
  await socket.bind('tcp://127.0.0.1:*')
  const address: Address = { endpoint: socket.lastEndpoint, serverKey: keys?.publicKey }
  return {
    address,
    publish: (payload) => send(socket, payload),
    stop: () => socket.close()
  }
}

/** A socket that must not drop answers EAGAIN at its high-water mark: tried again at the next turn. */
async function send(socket: Publisher, payload: Buffer): Promise<void> {
  for (;;) {
    try {
      return await socket.send(payload)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await nextTurn()
    }
  }
}

function startSubscriber(zmq: ZeroMq, { peers }: AdapterContext): AdapterNode {
  const socket = new zmq.Subscriber({ linger: 0 })
  return {
    subscribe(onMessage) {
      for (const { endpoint, serverKey } of peers as readonly Address[]) {
        if (serverKey !== undefined) {
          const keys = zmq.curveKeyPair()
          socket.curveServerKey = serverKey
          socket.curvePublicKey = keys.publicKey
          socket.curveSecretKey = keys.secretKey
        }
        socket.connect(endpoint)
      }
      socket.subscribe('')
      void receive(socket, onMessage)
    },
    stop: () => socket.close()
  }
}

async function receive(socket: Subscriber, onMessage: (bytes: Buffer) => void): Promise<void> {
  for await (const [payload] of socket) onMessage(payload as Buffer)
}
