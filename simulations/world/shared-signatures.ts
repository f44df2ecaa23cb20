import type { RecordHead } from '../../src/wire/record.ts'
import { RecentCache } from '../../src/wire/recent-cache.ts'
import { verifyHead } from '../../src/wire/sealed-record.ts'
import { SIGNATURE_BYTES, type Signer } from '../../src/wire/signature.ts'

/** Records remembered: those under way in a mesh at one time. */
const RECORDS = 16_384

export interface SharedSignatures {
  /** `verifyHead`. */
  readonly verify: (head: RecordHead) => boolean
  /** The same signer; what it signs is known to be good. */
  readonly signer: (inner: Signer) => Signer
}

/**
 * `verifyHead` for all nodes of a process: what a signature is worth does not depend on who looks. The digest covers
 * the header, and so the key; the signature is the end of a head.
 */
export function createSharedSignatures(): SharedSignatures {
  const found = new RecentCache<string, boolean>(RECORDS)
  return {
    verify: (head) => {
      const at = head.headLength - SIGNATURE_BYTES
      const key = textOf(head.digest) + textOf(head.bytes.subarray(at, head.headLength))
      const known = found.get(key)
      if (known !== undefined) return known
      const good = verifyHead(head)
      found.set(key, good)
      return good
    },
    signer: (inner) => ({
      publicKey: inner.publicKey,
      sign: (bytes) => {
        const signature = inner.sign(bytes)
        found.set(textOf(bytes) + textOf(signature), true)
        return signature
      }
    })
  }
}

function textOf({ buffer, byteLength, byteOffset }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}
