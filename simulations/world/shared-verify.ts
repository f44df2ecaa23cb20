import type { RecordHead } from '../../src/wire/record.ts'
import { RecentCache } from '../../src/wire/recent-cache.ts'
import { verifyHead } from '../../src/wire/sealed-record.ts'
import { SIGNATURE_BYTES } from '../../src/wire/signature.ts'

/** Records remembered: those under way in a mesh at one time. */
const RECORDS = 16_384

/**
 * `verifyHead` for all nodes of a process: what a signature is worth does not depend on who looks. The digest covers
 * the header, and so the key; the signature is the end of a head.
 */
export function createSharedVerify(): (head: RecordHead) => boolean {
  const found = new RecentCache<string, boolean>(RECORDS)
  return (head) => {
    const { buffer, byteOffset } = head.bytes
    const at = byteOffset + head.headLength - SIGNATURE_BYTES
    const signature = Buffer.from(buffer, at, SIGNATURE_BYTES).toString('latin1')
    const key = Buffer.from(head.digest).toString('latin1') + signature
    const known = found.get(key)
    if (known !== undefined) return known
    const good = verifyHead(head)
    found.set(key, good)
    return good
  }
}
