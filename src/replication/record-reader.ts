import type { RecordHead, SealedRecord } from '../wire/record.ts'
import { RecentCache } from '../wire/recent-cache.ts'
import { openHead, openRecord, verifyHead } from '../wire/sealed-record.ts'

/** Opens what neighbours send. Nodes that share a process may share one, and what it found. */
export interface RecordReader {
  /** A whole record, its body's hash checked, its signature not. Throws ERR_RECORD. */
  record(bytes: Uint8Array): SealedRecord
  /** A record's head, its signature not checked. Throws ERR_RECORD. */
  head(bytes: Uint8Array): RecordHead
  /** Did its publisher sign it? */
  verify(head: RecordHead): boolean
}

/** Digests remembered: some seconds of traffic at full rate, a megabyte of memory. */
const RECENT_DIGESTS = 8_192

/** A reader that looks at the signature of a record once, however often the record comes. */
export function createRecordReader(): RecordReader {
  /** Digests with the very signature that was found good for them. */
  const verified = new RecentCache<string, true>(RECENT_DIGESTS)
  return {
    record: (bytes) => openRecord(bytes, { verify: false }),
    head: (bytes) => openHead(bytes, { verify: false }),
    verify: (head) => {
      const key = proofKey(head)
      if (verified.has(key)) return true
      if (!verifyHead(head)) return false
      verified.set(key, true)
      return true
    }
  }
}

/** 16 bytes of a SHA-256 are enough to tell records apart, and half of the memory. */
export function digestKey(head: RecordHead): string {
  return Buffer.from(head.digest.buffer, head.digest.byteOffset, 16).toString('latin1')
}

/** With the signature (the last 64 bytes of a head): a true header under a wrong signature is not known good. */
function proofKey(head: RecordHead): string {
  const { buffer, byteOffset } = head.bytes
  const signature = Buffer.from(buffer, byteOffset + head.headLength - 64, 64)
  return digestKey(head) + signature.toString('latin1')
}
