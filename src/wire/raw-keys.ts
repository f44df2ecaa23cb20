import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

/** Bytes of a raw key, private or public. */
export const RAW_KEY_BYTES = 32

/*
 * Keys go in and out as JWK (RFC 8037). OpenSSL's decoders of DER try one format after the other: a private key takes
 * them 360 us and a public one 75 us, against 37 us and 7 us (measured on Node 20; less apart on 24).
 */

/** A private key of 32 bytes. Its public half is worked out from it. */
export function privateKeyOf(curve: 'Ed25519' | 'X25519', secret: Uint8Array): KeyObject {
  const d = textOf(secret)
  return createPrivateKey({ key: { kty: 'OKP', crv: curve, d, x: '' }, format: 'jwk' })
}

export function publicKeyOf(curve: 'Ed25519' | 'X25519', raw: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: curve, x: textOf(raw) }, format: 'jwk' })
}

/** The 32 bytes of the public half of a private key. */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const { x = '' } = privateKey.export({ format: 'jwk' })
  return Uint8Array.from(Buffer.from(x, 'base64url'))
}

function textOf({ buffer, byteLength, byteOffset }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64url')
}
