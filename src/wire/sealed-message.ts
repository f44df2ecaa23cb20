import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Random } from '../core/random.ts'
import { BodyBuilder, type DecodedMessage, decodeMessages, type EncodableMessage } from './body.ts'
import {
  AGREEMENT_KEY_BYTES,
  type AgreementKey,
  agreementPublicKey,
  sealedError,
  setupRecipient,
  setupSender,
  TAG_BYTES
} from './hpke.ts'
import { publicKeyFromPeerId } from './peer-id.ts'

/** Content type of a message whose payload is a sealed one. */
export const SEALED_TYPE = 'application/skein-sealed'

/** Keeps a sealed message from being taken for anything else that is sealed to the same key. */
const INFO = Buffer.from('skein/inbox/1')
const FORMAT = 1
const SALT_BYTES = 16
/** Format, salt and encapsulated key stand before the ciphertext. */
const HEAD_BYTES = 1 + SALT_BYTES + AGREEMENT_KEY_BYTES
/** What the body of the inner message may take, so that the outer payload keeps its limit. */
const INNER_BYTES = LIMITS.payloadBytes - HEAD_BYTES - TAG_BYTES

/** Who a sealed message is from and for, by PeerId. */
export interface Parties {
  readonly sender: string
  readonly recipient: string
}

/** The inner message as a body of its own: what is sealed, and what its sender keeps until it was received. */
export function encodeInner(inner: EncodableMessage): Uint8Array {
  const builder = new BodyBuilder()
  const { ttlMs: _outside, ...rest } = inner
  if (!builder.add(rest, INNER_BYTES)) {
    throw new SkeinError(
      'ERR_PAYLOAD_TOO_LARGE',
      `a message to one peer takes at most ${INNER_BYTES} bytes with its topic, key and headers; send it in parts`,
      { details: { limit: INNER_BYTES } }
    )
  }
  return builder.finish()
}

/** Reads what `encodeInner` wrote. Throws ERR_RECORD. */
export function decodeInner(body: Uint8Array): DecodedMessage {
  return decodeMessages(body, 1)[0] as DecodedMessage
}

/**
 * Seals a message to its recipient's key: payload, topic suffix, key and headers are for nobody else to read.
 * Outside stay only the length and the time to live. Throws ERR_PAYLOAD_TOO_LARGE, ERR_HEADERS_TOO_LARGE, and
 * ERR_OPTIONS where the recipient is no PeerId of an Ed25519 key.
 */
export function sealMessage(
  inner: EncodableMessage,
  parties: Parties & { readonly random: Random }
): EncodableMessage {
  return sealInner(encodeInner(inner), { ...parties, ttlMs: inner.ttlMs })
}

/** As `sealMessage`, of a message that `encodeInner` gave. */
export function sealInner(
  body: Uint8Array,
  init: Parties & { readonly random: Random; readonly ttlMs: number | undefined }
): EncodableMessage {
  const { random, recipient, ttlMs } = init
  const salt = random.bytes(SALT_BYTES)
  const key = agreementPublicKey(publicKeyFromPeerId(recipient))
  const { context, encapsulated } = setupSender(key, INFO, random)
  const ciphertext = context.seal(body, bound(init, salt))
  const payload = new Uint8Array(HEAD_BYTES + ciphertext.length)
  payload[0] = FORMAT
  payload.set(salt, 1)
  payload.set(encapsulated, 1 + SALT_BYTES)
  payload.set(ciphertext, HEAD_BYTES)
  return { suffix: '', payload, contentType: SEALED_TYPE, ttlMs }
}

/**
 * Opens a sealed message. Its time to live was for the way and is not taken over: what has arrived waits for its
 * consumer. Throws ERR_SEALED for what is not sealed, or not by this sender to this recipient's key.
 */
export function openMessage(
  outer: Pick<DecodedMessage, 'contentType' | 'payload'>,
  init: Parties & { readonly key: AgreementKey }
): DecodedMessage {
  const { contentType, payload } = outer
  if (contentType !== SEALED_TYPE) throw sealedError('it is not sealed')
  if (payload.length < HEAD_BYTES + TAG_BYTES) throw sealedError('it is too short')
  if (payload[0] !== FORMAT) throw sealedError(`format ${payload[0]} is not known`)
  const salt = payload.subarray(1, 1 + SALT_BYTES)
  const context = setupRecipient(payload.subarray(1 + SALT_BYTES, HEAD_BYTES), init.key, INFO)
  const body = context.open(payload.subarray(HEAD_BYTES), bound(init, salt))
  try {
    return { ...decodeInner(body), ttlMs: undefined }
  } catch (error) {
    if (!isSkeinError(error, 'ERR_RECORD')) throw error
    throw sealedError('its sender sealed no message', error)
  }
}

/** What the seal holds together: a copy under another publisher's signature does not open. */
function bound({ recipient, sender }: Parties, salt: Uint8Array): Buffer {
  return Buffer.concat([publicKeyFromPeerId(sender), publicKeyFromPeerId(recipient), salt])
}
