import { DIGEST_BYTES, MAX_BUCKETS } from './sync-frames.ts'
import { heldRanges, type VectorEntry } from './vector.ts'

/** Logs a bucket has on average, so that one log that differs brings few others along. */
const LOGS_PER_BUCKET = 16

/** Into how many buckets a channel of so many logs is divided: a power of two. */
export function bucketsFor(logs: number): number {
  let buckets = 1
  while (buckets < MAX_BUCKETS && buckets * LOGS_PER_BUCKET < logs) buckets *= 2
  return buckets
}

/** The bucket of a log, of a power of two of them. */
export function bucketOf(publisher: string, session: string, buckets: number): number {
  return hashText(publisher, hashText(session, 0x811c9dc5)) & (buckets - 1)
}

/**
 * Says what is held of a channel's logs in DIGEST_BYTES a bucket: equal digests mean equal heads and islands.
 * Floors do not count, for retention differs from node to node. Logs of which nothing is held do not count
 * either. The order of the logs does not matter. No defence against a liar, who only keeps others from asking him.
 */
export function logDigests(logs: Iterable<VectorEntry>, buckets: number): Uint8Array {
  const bytes = Buffer.alloc(buckets * DIGEST_BYTES)
  for (const { publisher, session, held } of logs) {
    const ranges = heldRanges(held)
    if (ranges.length === 0) continue
    let low = hashText(publisher, hashText(session, 0x9e3779b9))
    let high = hashText(session, hashText(publisher, 0x85ebca6b))
    for (const [index, { from, to }] of ranges.entries()) {
      // Where the first range begins is the floor.
      const start = index === 0 ? 0 : from
      low = mix(low, start, to)
      high = mix(high ^ 0x5bd1e995, to, start)
    }
    const at = bucketOf(publisher, session, buckets) * DIGEST_BYTES
    bytes.writeUInt32LE((bytes.readUInt32LE(at) ^ low) >>> 0, at)
    bytes.writeUInt32LE((bytes.readUInt32LE(at + 4) ^ high) >>> 0, at + 4)
  }
  return bytes
}

/** FNV-1a over UTF-16 units, finished as in MurmurHash3. */
function hashText(text: string, seed: number): number {
  let hash = seed
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return finish(hash)
}

function mix(hash: number, a: number, b: number): number {
  const high = Math.imul(Math.floor(a / 0x1_0000_0000) ^ Math.floor(b / 0x1_0000_0000), 0x27d4eb2f)
  return finish(Math.imul(hash ^ (a >>> 0), 0x01000193) ^ Math.imul(b >>> 0, 0xcc9e2d51) ^ high)
}

function finish(value: number): number {
  let hash = value ^ (value >>> 16)
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
