import '../polyfill.ts'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type {
  ComponentLogger,
  Libp2p,
  Logger as Libp2pLogger,
  StreamMuxerFactory
} from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'

import { SkeinError } from '../core/errors.ts'
import { LIMITS, MIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'

import { createEncrypters } from './encrypters.ts'
import type { EncryptersInit } from './encrypters.ts'
import type { ChannelGossip } from './gossip.ts'

/** Streams a neighbour may have open: gossip, push, ping, identify, and what sync and requests open. */
const STREAMS = 256
/** Received and not yet read on one stream before the sender has to wait. */
const WINDOW_BYTES = 4 * MIB
/** Above the window, so that a paused stream is never cut for what the window allowed. */
const READ_BYTES = 6 * MIB
/** Bytes that one stream may have waiting: the push queue in front of it holds the rest. */
const WRITE_BYTES = 2 * LIMITS.neighbourBufferBytes
/** Many nodes behind one address are the rule here: a whole mesh may restart on one machine. */
const INBOUND_PER_SECOND = 1000
const PENDING_INBOUND = 100
const CONNECTIONS = 1000
/** A handshake that takes longer is given up, so that half-open ones cannot fill the pending slots. */
const UPGRADE_MS = 5000
const CLOSE_MS = 500
/** mDNS asks again this often; a node that starts asks at once. */
const MDNS_INTERVAL_MS = 10_000

/** Someone that mDNS heard of. */
interface Found {
  readonly id: string
  readonly addresses: readonly string[]
}

export interface HostInit {
  readonly seed: Uint8Array
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  /** The mDNS service to look for; undefined: no mDNS. */
  readonly serviceTag: string | undefined
  readonly encrypters: EncryptersInit
  readonly gossip: ChannelGossip
  readonly logger: Logger
  /** Is the peer cut off for now? */
  readonly isOutcast: (peer: string) => boolean
  readonly onFound: (found: Found) => void
}

export interface Host {
  readonly libp2p: Libp2p
  /** Asks the LAN for peers now. */
  readonly query: () => void
}

/** Checks a multiaddr. Throws ERR_OPTIONS that names the option. */
export function parseAddress(option: string, address: string): Multiaddr {
  try {
    return multiaddr(address)
  } catch (error) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `${option}: '${address}' is not a multiaddr; write it like /ip4/192.0.2.1/tcp/7401`,
      { details: { option, value: address }, cause: error }
    )
  }
}

/** libp2p's own log lines, errors at debug level: what matters of them comes back as results and events. */
function componentLogger(logger: Logger): ComponentLogger {
  const nothing = (): void => {}
  const create = (component: string): Libp2pLogger =>
    Object.assign(nothing.bind(undefined), {
      enabled: false,
      trace: nothing,
      error: (format: unknown, ...values: unknown[]) =>
        logger.debug({ component, values: values.map(String) }, String(format)),
      newScope: (name: string) => create(`${component}:${name}`)
    })
  return { forComponent: create }
}

/** What @libp2p/mdns has and its interface does not show. */
interface Mdns {
  serviceTag?: string
  mdns?: { query(question: object): void }
}

/**
 * yamux writes the opening of a stream in a microtask. Where the connection closed in between, the write throws
 * with nobody to catch it, and the process ends; here a closed connection just takes nothing.
 */
function safeYamux(): StreamMuxerFactory {
  const factory = yamux({
    maxInboundStreams: STREAMS,
    maxOutboundStreams: STREAMS,
    streamOptions: {
      maxStreamWindowSize: WINDOW_BYTES,
      maxReadBufferLength: READ_BYTES,
      maxWriteBufferLength: WRITE_BYTES
    }
  })()
  const create = factory.createStreamMuxer.bind(factory)
  factory.createStreamMuxer = (connection) => {
    const send = connection.send.bind(connection)
    connection.send = (data) => connection.status === 'open' && send(data)
    return create(connection)
  }
  return factory
}

/** A libp2p node with all of this stack's defaults that must change changed; not started. */
export async function createHost(init: HostInit): Promise<Host> {
  const tag = init.serviceTag
  let service: Mdns | undefined
  const libp2p = await createLibp2p({
    start: false,
    privateKey: await generateKeyPairFromSeed('Ed25519', init.seed),
    nodeInfo: { name: 'skein', version: '1', userAgent: 'skein' },
    logger: componentLogger(init.logger),
    addresses: { listen: [...init.listen], announce: [...init.announce] },
    transports: [tcp()],
    streamMuxers: [safeYamux],
    connectionEncrypters: createEncrypters(init.encrypters),
    connectionGater: {
      denyDialPeer: (peer) => init.isOutcast(peer.toString()),
      denyInboundEncryptedConnection: (peer) => init.isOutcast(peer.toString())
    },
    connectionManager: {
      maxConnections: CONNECTIONS,
      maxIncomingPendingConnections: PENDING_INBOUND,
      inboundConnectionThreshold: INBOUND_PER_SECOND,
      inboundUpgradeTimeout: UPGRADE_MS,
      connectionCloseTimeout: CLOSE_MS
    },
    // The link heartbeat does this, faster.
    connectionMonitor: { enabled: false },
    ...(tag === undefined
      ? {}
      : {
          peerDiscovery: [
            (components) => {
              const discovery = mdns({ serviceTag: tag, interval: MDNS_INTERVAL_MS })(components)
              // libp2p tells of a peer once in its life; the service itself at every answer.
              discovery.addEventListener('peer', ({ detail }) =>
                init.onFound({ id: detail.id.toString(), addresses: detail.multiaddrs.map(String) })
              )
              service = discovery as unknown as Mdns
              return discovery
            }
          ]
        }),
    services: { identify: identify(), ping: ping(), gossip: init.gossip.service }
  })
  return {
    libp2p,
    query: () => service?.mdns?.query({ questions: [{ name: service.serviceTag, type: 'PTR' }] })
  }
}
