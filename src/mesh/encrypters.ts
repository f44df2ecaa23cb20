import { noise } from '@chainsafe/libp2p-noise'
import type { NoiseComponents, NoiseExtensions } from '@chainsafe/libp2p-noise'
import { serviceCapabilities } from '@libp2p/interface'
import type {
  ConnectionEncrypter,
  MessageStream,
  MultiaddrConnection,
  SecureConnectionOptions,
  SecuredConnection
} from '@libp2p/interface'

import { SkeinError } from '../core/errors.ts'

import type { NetworkSecret } from './network-key.ts'

/** Offered last: two nodes come to it when they share no key, and then both know why they part. */
const MISMATCH_PROTOCOL = '/skein-noise/none'

export interface Refusal {
  /** The other side, where it is known: before the handshake only its address is. */
  readonly peer: string | undefined
  readonly address: string
  readonly code: 'ERR_NETWORK_KEY_MISMATCH' | 'ERR_IDENTITY_IN_USE'
  readonly reason: string
}

export interface EncryptersInit {
  /** The first is preferred. */
  readonly secrets: readonly NetworkSecret[]
  /** Random bytes of this life of the node: tells a dial to itself from another node with its identity. */
  readonly instance: Uint8Array
  readonly onRefused: (refusal: Refusal) => void
  /** The address led back to this very node. */
  readonly onSelf: (address: string) => void
}

type Encrypter = ConnectionEncrypter<NoiseExtensions>
type Secured = SecuredConnection<NoiseExtensions>

function addressOf(connection: MessageStream): string {
  return (connection as Partial<MultiaddrConnection>).remoteAddr?.toString() ?? ''
}

function same(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0
}

/** Noise whose protocol id names the network key, and which notices this node's own identity on the other side. */
function keyed(
  components: NoiseComponents,
  init: EncryptersInit,
  secret: NetworkSecret
): Encrypter {
  const inner = noise({
    prologueBytes: secret.prologue,
    // The one field of the handshake's payload that a node may fill freely; it is encrypted and authenticated.
    extensions: { webtransportCerthashes: [init.instance] }
  })(components)
  const self = components.peerId
  const check = (connection: MessageStream, secured: Secured): Secured => {
    if (!secured.remotePeer.equals(self)) return secured
    const address = addressOf(connection)
    if (same(init.instance, secured.remoteExtensions?.webtransportCerthashes[0])) {
      init.onSelf(address)
    } else {
      init.onRefused({
        peer: self.toString(),
        address,
        code: 'ERR_IDENTITY_IN_USE',
        reason:
          'another live node uses the identity of this one; give each node its own data directory'
      })
    }
    return secured
  }
  return {
    protocol: `/skein-noise/${secret.keyId}`,
    [serviceCapabilities]: ['@libp2p/connection-encryption'],
    secureInbound: async (connection, options) =>
      check(connection, await inner.secureInbound(connection, options)),
    secureOutbound: async (connection, options) =>
      check(connection, await inner.secureOutbound(connection, options))
  } as Encrypter
}

function mismatch(init: EncryptersInit): Encrypter {
  const refuse = async (
    connection: MessageStream,
    options?: SecureConnectionOptions
  ): Promise<Secured> => {
    const reason = 'the other node has another network key or belongs to another mesh'
    const address = addressOf(connection)
    const peer = options?.remotePeer?.toString()
    init.onRefused({ peer, address, code: 'ERR_NETWORK_KEY_MISMATCH', reason })
    throw new SkeinError('ERR_NETWORK_KEY_MISMATCH', `${address}: ${reason}`)
  }
  return { protocol: MISMATCH_PROTOCOL, secureInbound: refuse, secureOutbound: refuse }
}

/** The encrypters of a node, in the order they are offered. */
export function createEncrypters(
  init: EncryptersInit
): Array<(components: NoiseComponents) => ConnectionEncrypter> {
  return [
    ...init.secrets.map(
      (secret) =>
        (components: NoiseComponents): ConnectionEncrypter =>
          keyed(components, init, secret)
    ),
    () => mismatch(init)
  ]
}
