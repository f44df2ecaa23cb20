import type { Frame } from '../../src/mesh/contract.ts'
import { frameId } from '../../src/mesh/network-key.ts'
import type { RecordReader } from '../../src/replication/record-reader.ts'
import { type Announcement, decodeAnnouncement } from '../../src/wire/presence.ts'
import type { RecordHead, SealedRecord } from '../../src/wire/record.ts'
import { openHead, openRecord } from '../../src/wire/sealed-record.ts'
import type { SharedSignatures } from './shared-signatures.ts'

export interface SharedRecords {
  readonly reader: RecordReader
  /** `decodeAnnouncement`. */
  readonly announcementOf: (payload: Uint8Array) => Announcement | undefined
}

/**
 * Reads each record of a world once: a frame goes from node to node as the same bytes, which nobody changes, and what
 * stands in them does not depend on who looks.
 */
export function createSharedRecords({ verify }: Pick<SharedSignatures, 'verify'>): SharedRecords {
  const announcements = new WeakMap<ArrayBufferLike, Map<number, Announcement | undefined>>()
  return {
    reader: {
      record: shared((bytes: Uint8Array): SealedRecord => openRecord(bytes, { verify: false })),
      head: shared((bytes: Uint8Array): RecordHead => openHead(bytes, { verify: false })),
      verify: shared(verify)
    },
    announcementOf: (payload) => {
      const { buffer, byteOffset } = payload
      let places = announcements.get(buffer)
      if (places === undefined) announcements.set(buffer, (places = new Map()))
      if (!places.has(byteOffset)) places.set(byteOffset, decodeAnnouncement(payload))
      return places.get(byteOffset)
    }
  }
}

/** `frameId` of whole frames: each is hashed once. */
export function createSharedFrameIds(): (bytes: Uint8Array, headLength: number) => string {
  const found = new WeakMap<Uint8Array, string>()
  return (bytes, headLength) => {
    let id = found.get(bytes)
    if (id === undefined) found.set(bytes, (id = frameId(bytes.subarray(0, headLength))))
    return id
  }
}

/** With the same bytes, and no Buffer: what comes from a stream is none. */
export function plainFrame({ bytes, headLength }: Frame): Frame {
  return { bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength), headLength }
}

/** What it throws is not remembered. */
function shared<Key extends object, Value>(read: (key: Key) => Value): (key: Key) => Value {
  const found = new WeakMap<Key, Value>()
  return (key) => {
    let value = found.get(key)
    if (value === undefined) found.set(key, (value = read(key)))
    return value
  }
}
