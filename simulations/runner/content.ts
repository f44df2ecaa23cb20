import { crc32 } from 'node:zlib'

/** A number that two messages share when they say the same. */
export function contentOf(topic: string, payload: Uint8Array): number {
  return crc32(payload, crc32(topic))
}
