import { createPrivateKey, createPublicKey } from 'node:crypto'

import { SkeinError } from '../core/errors.ts'
import { peerIdFromPublicKey } from '../wire/peer-id.ts'

/** What stands before the 32 bytes of seed in a PKCS #8 Ed25519 key (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SEED_BYTES = 32

/** Public side of a node's Ed25519 key. */
export class Identity {
  readonly id: string
  readonly publicKey: Uint8Array

  /** Throws ERR_OPTIONS when the seed is not 32 bytes. */
  constructor(seed: Uint8Array) {
    if (seed.length !== SEED_BYTES) {
      throw new SkeinError(
        'ERR_OPTIONS',
        `privateKey: the seed has ${seed.length} bytes, not ${SEED_BYTES}`
      )
    }
    const key = createPrivateKey({
      key: Buffer.concat([PKCS8, seed]),
      format: 'der',
      type: 'pkcs8'
    })
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
    this.publicKey = new Uint8Array(spki.subarray(-SEED_BYTES))
    this.id = peerIdFromPublicKey(this.publicKey)
  }
}
