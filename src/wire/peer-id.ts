import { base58btc } from 'multiformats/bases/base58'
import { SkeinError } from '../core/errors.ts'
import { asBuffer } from './protobuf.ts'
import { RecentCache } from './recent-cache.ts'

/** Bytes of a raw Ed25519 public key. */
export const PUBLIC_KEY_BYTES = 32

/** Identity multihash of 36 bytes; protobuf PublicKey { type: Ed25519, data: 32 bytes }. */
const PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

const ids = new RecentCache<string, string>(1024)
const keys = new RecentCache<string, Uint8Array>(1024)

/** The PeerId, as text (`12D3KooW...`), of a raw Ed25519 public key. Throws ERR_OPTIONS on another length. */
export function peerIdFromPublicKey(publicKey: Uint8Array): string {
  if (publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `a public key has ${PUBLIC_KEY_BYTES} bytes, not ${publicKey.length}`
    )
  }
  const key = asBuffer(publicKey).toString('latin1')
  const known = ids.get(key)
  if (known !== undefined) return known
  const bytes = new Uint8Array(PREFIX.length + PUBLIC_KEY_BYTES)
  bytes.set(PREFIX)
  bytes.set(publicKey, PREFIX.length)
  const id = base58btc.baseEncode(bytes)
  ids.set(key, id)
  return id
}

/** The raw Ed25519 public key in a PeerId; shared, not to be written to. Throws ERR_OPTIONS when it is none, or one of another key type. */
export function publicKeyFromPeerId(id: string): Uint8Array {
  const key = keyIn(id)
  if (key !== undefined) return key
  throw new SkeinError(
    'ERR_OPTIONS',
    `'${id.slice(0, 64)}' is not the PeerId of an Ed25519 key; it would begin with 12D3KooW`
  )
}

/** Is `text` the PeerId of an Ed25519 key? */
export function isPeerId(text: string): boolean {
  return keyIn(text) !== undefined
}

function keyIn(id: string): Uint8Array | undefined {
  const known = keys.get(id)
  if (known !== undefined) return known
  const bytes = id.length <= 64 ? decodeBase58(id) : undefined
  const valid =
    bytes !== undefined &&
    bytes.length === PREFIX.length + PUBLIC_KEY_BYTES &&
    PREFIX.every((byte, index) => bytes[index] === byte)
  if (!valid) return undefined
  const key = bytes.slice(PREFIX.length)
  keys.set(id, key)
  return key
}

/** undefined where `text` is not base58: the decoder says so by throwing errors of no fixed kind. */
function decodeBase58(text: string): Uint8Array | undefined {
  if (!/^[1-9A-HJ-NP-Za-km-z]+$/.test(text)) return undefined
  return base58btc.baseDecode(text)
}
