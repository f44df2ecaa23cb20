import type { AdapterContext, AdapterNode, OnMessage, Role } from './contract.ts'
import { importPeer } from './peer-packages.ts'

interface ServiceBroker {
  createService(schema: {
    name: string
    events: Record<string, (context: { params: Uint8Array }) => void>
    actions: Record<string, (context: { params: Uint8Array }) => Uint8Array>
  }): unknown
  start(): Promise<void>
  broadcast(event: string, payload: Buffer): Promise<unknown>
  call(action: string, payload: Buffer): Promise<unknown>
  stop(): Promise<void>
}

interface MoleculerPackage {
  default: { ServiceBroker: new (options: object) => ServiceBroker }
}

/** Moleculer with its TCP transporter, which needs no broker: broadcast events. */
export async function start(role: Role, context: AdapterContext): Promise<AdapterNode> {
  const moleculer = await importPeer<MoleculerPackage>(context.peersDir, 'moleculer')
  const { ports, index } = context
  const broker = new moleculer.default.ServiceBroker({
    nodeID: `node-${index}`,
    logger: false,
    // The default of JSON would turn a Buffer into a list of numbers.
    serializer: 'CBOR',
    transporter: {
      type: 'TCP',
      options: {
        udpDiscovery: false,
        port: ports[index],
        urls: ports.map((port, other) => `127.0.0.1:${port}/node-${other}`)
      }
    }
  })
  let deliver: OnMessage = () => undefined
  if (role === 'subscriber') {
    const events = {
      'bench.message': (event: { params: Uint8Array }): void => deliver(event.params)
    }
    // An action is known to others by the service that has it.
    const actions = { echo: ({ params }: { params: Uint8Array }): Uint8Array => params }
    broker.createService({ name: 'bench', events, actions })
  }
  await broker.start()
  return {
    publish: (payload) => broker.broadcast('bench.message', payload),
    request: (payload) => broker.call('bench.echo', payload),
    subscribe(onMessage) {
      deliver = onMessage
    },
    stop: () => broker.stop()
  }
}
