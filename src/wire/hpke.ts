import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  diffieHellman
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { SkeinError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { privateKeyOf, publicKeyOf, rawPublicKey } from './raw-keys.ts'
import { SEED_BYTES } from './signature.ts'

/**
 * Hybrid public key encryption, RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
 * ChaCha20Poly1305. The names of the steps are the RFC's.
 */

/** Bytes of an X25519 key, and of an encapsulated key (RFC 9180, 7.1). */
export const AGREEMENT_KEY_BYTES = 32
/** Bytes that sealing adds to a plaintext. */
export const TAG_BYTES = 16

const VERSION = Buffer.from('HPKE-v1')
const NONCE_BYTES = 12
const HASH_BYTES = 32
const AEAD = 'chacha20-poly1305'

/** RFC 9180, 7: KEM 0x0020, KDF 0x0001, AEAD 0x0003. */
const kem = labeled(Buffer.from('KEM\x00\x20', 'latin1'))
const suite = labeled(Buffer.from('HPKE\x00\x20\x00\x01\x00\x03', 'latin1'))
const NOTHING = Buffer.alloc(0)
const MODE_BASE = Buffer.of(0)

/** An X25519 key pair whose private half stays inside. */
export interface AgreementKey {
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
  /** The secret shared with the holder of `publicKey`, 32 bytes. Throws ERR_SEALED for a key of small order. */
  agree(publicKey: Uint8Array): Uint8Array
}

/** The key pair of a raw X25519 private key. */
export function agreementKey(secret: Uint8Array): AgreementKey {
  const privateKey = privateKeyOf('X25519', secret)
  return {
    publicKey: rawPublicKey(privateKey),
    agree: (publicKey) => agree(privateKey, publicKey)
  }
}

/** The key pair that belongs to an Ed25519 seed: its public key is `agreementPublicKey` of the seed's public key. */
export function agreementKeyFromSeed(seed: Uint8Array): AgreementKey {
  if (seed.length !== SEED_BYTES) {
    throw new SkeinError('ERR_OPTIONS', `a seed has ${SEED_BYTES} bytes, not ${seed.length}`)
  }
  // RFC 8032, 5.1.5: the scalar is the first half of the hash; X25519 clamps it in the same way.
  return agreementKey(createHash('sha512').update(seed).digest().subarray(0, SEED_BYTES))
}

/**
 * The X25519 public key that corresponds to an Ed25519 one: the birational map of RFC 7748, 4.1, so that a PeerId
 * alone is enough to seal to it. Throws ERR_OPTIONS for 32 bytes that are no point of the curve.
 */
export function agreementPublicKey(publicKey: Uint8Array): Uint8Array {
  try {
    return ed25519.utils.toMontgomery(publicKey)
  } catch (error) {
    throw new SkeinError('ERR_OPTIONS', 'the key in the PeerId is not an Ed25519 public key', {
      cause: error
    })
  }
}

/** DeriveKeyPair (7.1.3): a key pair out of 32 or more bytes that nobody can guess. */
export function deriveAgreementKey(material: Uint8Array): AgreementKey {
  const prk = kem.extract(NOTHING, 'dkp_prk', material)
  return agreementKey(kem.expand(prk, 'sk', NOTHING, AGREEMENT_KEY_BYTES))
}

/** SetupBaseS (5.1.1): a context to seal in, and what its recipient needs to make the same one. */
export function setupSender(
  recipient: Uint8Array,
  info: Uint8Array,
  random: Random
): { readonly encapsulated: Uint8Array; readonly context: HpkeContext } {
  const ephemeral = deriveAgreementKey(random.bytes(AGREEMENT_KEY_BYTES))
  const shared = sharedSecret(ephemeral.agree(recipient), ephemeral.publicKey, recipient)
  return { encapsulated: ephemeral.publicKey, context: new HpkeContext(shared, info) }
}

/** SetupBaseR (5.1.1). Throws ERR_SEALED where `encapsulated` cannot be a key. */
export function setupRecipient(
  encapsulated: Uint8Array,
  key: AgreementKey,
  info: Uint8Array
): HpkeContext {
  const shared = sharedSecret(key.agree(encapsulated), encapsulated, key.publicKey)
  return new HpkeContext(shared, info)
}

/** A key schedule of its own, which seals, or opens, one text after the other. */
export class HpkeContext {
  readonly #key: Buffer
  readonly #baseNonce: Buffer
  readonly #exporterSecret: Buffer
  #sequence = 0

  constructor(shared: Uint8Array, info: Uint8Array) {
    const context = Buffer.concat([
      MODE_BASE,
      suite.extract(NOTHING, 'psk_id_hash', NOTHING),
      suite.extract(NOTHING, 'info_hash', info)
    ])
    const secret = suite.extract(shared, 'secret', NOTHING)
    this.#key = suite.expand(secret, 'key', context, HASH_BYTES)
    this.#baseNonce = suite.expand(secret, 'base_nonce', context, NONCE_BYTES)
    this.#exporterSecret = suite.expand(secret, 'exp', context, HASH_BYTES)
  }

  seal(plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
    const cipher = createCipheriv(AEAD, this.#key, this.#nonce(), { authTagLength: TAG_BYTES })
    cipher.setAAD(aad, { plaintextLength: plaintext.length })
    const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    this.#sequence++
    return sealed
  }

  /** Throws ERR_SEALED where a bit of anything differs; the same sequence is tried again then. */
  open(sealed: Uint8Array, aad: Uint8Array): Uint8Array {
    const length = sealed.length - TAG_BYTES
    if (length < 0) throw sealedError('what is sealed is shorter than its tag')
    const decipher = createDecipheriv(AEAD, this.#key, this.#nonce(), { authTagLength: TAG_BYTES })
    decipher.setAAD(aad, { plaintextLength: length })
    decipher.setAuthTag(sealed.subarray(length))
    const plaintext = decipher.update(sealed.subarray(0, length))
    try {
      decipher.final()
    } catch (error) {
      throw sealedError('it was sealed to another key, by another sender, or was changed', error)
    }
    this.#sequence++
    return plaintext
  }

  /** A secret of `length` bytes for another use (5.3). */
  export(context: Uint8Array, length: number): Uint8Array {
    return suite.expand(this.#exporterSecret, 'sec', context, length)
  }

  #nonce(): Buffer {
    const nonce = Buffer.from(this.#baseNonce)
    // 48 bits are more messages than a context ever seals.
    const mask = Buffer.alloc(NONCE_BYTES)
    mask.writeUIntBE(this.#sequence, NONCE_BYTES - 6, 6)
    for (const [index, byte] of mask.entries()) nonce[index] = (nonce[index] as number) ^ byte
    return nonce
  }
}

/** ERR_SEALED and why. */
export function sealedError(why: string, cause?: unknown): SkeinError {
  return new SkeinError('ERR_SEALED', `a sealed message cannot be opened: ${why}`, { cause })
}

function agree(privateKey: KeyObject, publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== AGREEMENT_KEY_BYTES) {
    throw sealedError(`a key has ${AGREEMENT_KEY_BYTES} bytes, not ${publicKey.length}`)
  }
  const theirs = publicKeyOf('X25519', publicKey)
  let shared: Buffer
  try {
    shared = diffieHellman({ privateKey, publicKey: theirs })
  } catch (error) {
    // OpenSSL refuses a secret of zeros, as RFC 9180, 7.1.4 asks for.
    throw sealedError('a key of small order shares no secret', error)
  }
  return shared
}

/** ExtractAndExpand (4.1). */
function sharedSecret(
  agreed: Uint8Array,
  encapsulated: Uint8Array,
  recipient: Uint8Array
): Uint8Array {
  const prk = kem.extract(NOTHING, 'eae_prk', agreed)
  const context = Buffer.concat([encapsulated, recipient])
  return kem.expand(prk, 'shared_secret', context, HASH_BYTES)
}

/** LabeledExtract and LabeledExpand (4) of one suite. */
function labeled(suite: Buffer): {
  extract(salt: Uint8Array, label: string, material: Uint8Array): Buffer
  expand(prk: Uint8Array, label: string, info: Uint8Array, length: number): Buffer
} {
  return {
    extract: (salt, label, material) =>
      hmac(salt, Buffer.concat([VERSION, suite, Buffer.from(label), material])),
    expand: (prk, label, info, length) => {
      const size = Buffer.of(length >>> 8, length & 0xff)
      const labeledInfo = Buffer.concat([size, VERSION, suite, Buffer.from(label), info])
      const blocks: Buffer[] = []
      let block: Buffer = NOTHING
      for (let index = 1; blocks.length * HASH_BYTES < length; index++) {
        block = hmac(prk, Buffer.concat([block, labeledInfo, Buffer.of(index)]))
        blocks.push(block)
      }
      return Buffer.concat(blocks).subarray(0, length)
    }
  }
}

function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest()
}
