import { peerIdFromPublicKey, publicKeyFromPeerId } from '../wire/peer-id.ts'
import type { LogRef } from './contract.ts'

/**
 * Keys are binary and ordered. The first byte names the space; names are length-prefixed, so that no channel is
 * the prefix of another; numbers are big-endian, so that the order of keys is the order of sequences.
 */
export const SPACE = {
  meta: 1,
  record: 2,
  head: 3,
  journal: 4,
  bounds: 5,
  registration: 6,
  cursor: 7,
  value: 8,
  proof: 9
} as const

const KEY_BYTES = 32
const SESSION_BYTES = 8
const NUMBER_BYTES = 8

/** A range of keys: `gte` included, `lt` not. */
export interface KeyRange {
  readonly gte: Buffer
  readonly lt: Buffer
}

/** Everything that starts with `prefix`. */
export function rangeOf(prefix: Buffer): KeyRange {
  return { gte: prefix, lt: successor(prefix) }
}

/** The least key above everything that starts with `prefix`. */
export function successor(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix)
  let at = end.length - 1
  while (at > 0 && end[at] === 0xff) at--
  end[at] = (end[at] as number) + 1
  return end.subarray(0, at + 1)
}

export function metaKey(name: string): Buffer {
  return Buffer.concat([Buffer.of(SPACE.meta), Buffer.from(name)])
}

/** Prefix of one log in the space of records, heads or proofs. */
export function logPrefix(space: number, { channel, publisher, session }: LogRef): Buffer {
  return Buffer.concat([
    namePrefix(space, channel),
    publicKeyFromPeerId(publisher),
    Buffer.from(session, 'hex')
  ])
}

/** `prefix` (of a log or a journal) with a sequence or offset. */
export function numberKey(prefix: Buffer, number: number): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + NUMBER_BYTES)
  prefix.copy(key)
  writeNumber(key, prefix.length, number)
  return key
}

/** The sequence or offset that a key ends with. */
export function keyNumber(key: Buffer): number {
  const at = key.length - NUMBER_BYTES
  return key.readUInt32BE(at) * 0x1_0000_0000 + key.readUInt32BE(at + 4)
}

/** The log that a key of the record, head or proof space belongs to; undefined when it is no such key. */
export function keyLog(key: Buffer): LogRef | undefined {
  const nameLength = key[1] ?? 0
  const at = 2 + nameLength
  if (key.length < at + KEY_BYTES + SESSION_BYTES) return undefined
  return {
    channel: key.toString('utf8', 2, at),
    publisher: peerIdFromPublicKey(key.subarray(at, at + KEY_BYTES)),
    session: key.toString('hex', at + KEY_BYTES, at + KEY_BYTES + SESSION_BYTES)
  }
}

export function journalPrefix(channel: string): Buffer {
  return namePrefix(SPACE.journal, channel)
}

/** Space, length of the name, name. A name takes at most 255 bytes. */
export function namePrefix(space: number, name: string): Buffer {
  const bytes = Buffer.from(name)
  return Buffer.concat([Buffer.of(space, bytes.length), bytes])
}

/** What follows the name of `namePrefix`. */
export function afterName(key: Buffer): Buffer {
  return key.subarray(2 + (key[1] ?? 0))
}

/** The name of `namePrefix`. */
export function nameOf(key: Buffer): string {
  return key.toString('utf8', 2, 2 + (key[1] ?? 0))
}

export function cursorKey(name: string, channel: string): Buffer {
  return Buffer.concat([namePrefix(SPACE.cursor, name), Buffer.from(channel)])
}

/** Names one log in memory. */
export function logName({ publisher, session }: Pick<LogRef, 'publisher' | 'session'>): string {
  return `${publisher}/${session}`
}

function writeNumber(into: Buffer, at: number, number: number): void {
  into.writeUInt32BE(Math.floor(number / 0x1_0000_0000), at)
  into.writeUInt32BE(number >>> 0, at + 4)
}
