import { SkeinError } from '../core/errors.ts'
import { peerIdFromPublicKey } from '../wire/peer-id.ts'
import { privateKeyOf, RAW_KEY_BYTES, rawPublicKey } from '../wire/raw-keys.ts'

/** Public side of a node's Ed25519 key. */
export class Identity {
  readonly id: string
  readonly publicKey: Uint8Array

  /** Throws ERR_OPTIONS when the seed is not 32 bytes. */
  constructor(seed: Uint8Array) {
    if (seed.length !== RAW_KEY_BYTES) {
      throw new SkeinError(
        'ERR_OPTIONS',
        `privateKey: the seed has ${seed.length} bytes, not ${RAW_KEY_BYTES}`
      )
    }
    this.publicKey = rawPublicKey(privateKeyOf('Ed25519', seed))
    this.id = peerIdFromPublicKey(this.publicKey)
  }
}
