import '../../src/polyfill.ts'
import { importPeer } from './peer-packages.ts'

interface StreamEvent extends Event {
  readonly data: { subarray(): Uint8Array }
}

export interface Stream {
  send(chunk: Uint8Array): boolean
  addEventListener(
    event: 'message' | 'drain',
    listener: (event: StreamEvent) => void,
    options?: { once: boolean }
  ): void
}

interface GossipEvent extends Event {
  readonly detail: { readonly topic: string; readonly data: Uint8Array }
}

interface Gossip {
  publish(
    topic: string,
    data: Uint8Array,
    options: { allowPublishToZeroTopicPeers: boolean }
  ): Promise<unknown>
  subscribe(topic: string): void
  addEventListener(event: 'message', listener: (event: GossipEvent) => void): void
}

interface Host {
  readonly services: { readonly pubsub: Gossip }
  getMultiaddrs(): ReadonlyArray<{ toString(): string }>
  handle(protocol: string, handler: (stream: Stream) => void): Promise<void>
  dial(address: unknown): Promise<{ newStream(protocol: string): Promise<Stream> }>
  stop(): Promise<void>
}

type Factory = (init?: object) => unknown

export interface StartedHost {
  readonly host: Host
  readonly address: string
  readonly dial: (address: unknown) => Promise<{ newStream(protocol: string): Promise<Stream> }>
}

/** One libp2p node as its packages come: TCP on loopback, Noise, yamux; with gossipsub where asked. */
export async function startHost(peersDir: string, gossip: boolean): Promise<StartedHost> {
  const load = <T>(name: string): Promise<T> => importPeer<T>(peersDir, name)
  const { createLibp2p } = await load<{ createLibp2p: (init: object) => Promise<Host> }>('libp2p')
  const { multiaddr } = await load<{ multiaddr: (text: string) => unknown }>(
    '@multiformats/multiaddr'
  )
  const { tcp } = await load<{ tcp: Factory }>('@libp2p/tcp')
  const { noise } = await load<{ noise: Factory }>('@libp2p/noise')
  const { yamux } = await load<{ yamux: Factory }>('@libp2p/yamux')
  const { identify } = await load<{ identify: Factory }>('@libp2p/identify')
  const { gossipsub } = await load<{ gossipsub: Factory }>('@libp2p/gossipsub')
  const host = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // The default refuses a sixth connection a second from one host, and every node here is on one host.
    connectionManager: { inboundConnectionThreshold: 1000 },
    services: {
      identify: identify(),
      ...(gossip ? { pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign' }) } : {})
    }
  })
  return {
    host,
    address: String(host.getMultiaddrs()[0]),
    dial: (address) => host.dial(multiaddr(String(address)))
  }
}
