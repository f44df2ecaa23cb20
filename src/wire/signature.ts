import { sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { SkeinError } from '../core/errors.ts'
import { PUBLIC_KEY_BYTES } from './peer-id.ts'
import { asBuffer } from './protobuf.ts'
import { privateKeyOf, publicKeyOf, rawPublicKey } from './raw-keys.ts'
import { RecentCache } from './recent-cache.ts'

/** Bytes of an Ed25519 seed. */
export const SEED_BYTES = 32
/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64

/** Signs with one Ed25519 key. */
export interface Signer {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array
}

// Points of small order, without their sign bit: for these keys anybody can make signatures (RFC 8032 leaves
// it to the verifier to refuse them). The last two are longer forms of 0 and 1.
const WEAK_KEYS: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
])

// Importing a key costs about as much as using it once, so keys of known publishers are kept.
const publicKeys = new RecentCache<string, KeyObject>(1024)

/** A signer from a raw 32-byte Ed25519 seed, which it does not keep. Throws ERR_OPTIONS on another length. */
export function createSigner(seed: Uint8Array): Signer {
  if (seed.length !== SEED_BYTES) {
    throw new SkeinError('ERR_OPTIONS', `a seed has ${SEED_BYTES} bytes, not ${seed.length}`)
  }
  const privateKey = privateKeyOf('Ed25519', seed)
  return {
    publicKey: rawPublicKey(privateKey),
    sign: (bytes) => sign(null, bytes, privateKey)
  }
}

/** Did the holder of `publicKey` (raw, 32 bytes) sign `bytes`? False for anything malformed or weak. */
export function verifySignature(
  publicKey: Uint8Array,
  bytes: Uint8Array,
  signature: Uint8Array
): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false
  const key = keyObject(publicKey)
  return key !== undefined && verify(null, bytes, key, signature)
}

function keyObject(publicKey: Uint8Array): KeyObject | undefined {
  const name = asBuffer(publicKey).toString('latin1')
  let key = publicKeys.get(name)
  if (key === undefined) {
    if (isWeak(publicKey)) return undefined
    key = publicKeyOf('Ed25519', publicKey)
    publicKeys.set(name, key)
  }
  return key
}

function isWeak(publicKey: Uint8Array): boolean {
  const unsigned = Buffer.from(publicKey)
  unsigned[PUBLIC_KEY_BYTES - 1] = (unsigned[PUBLIC_KEY_BYTES - 1] as number) & 0x7f
  return WEAK_KEYS.has(unsigned.toString('hex'))
}
