import { createHash } from 'node:crypto'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { ProtoReader, textSize, writeText, writeVarint } from './protobuf.ts'

/** A position in the journal of one channel of one store. */
export interface Cursor {
  /** Of the store: 16 hex digits. */
  readonly epoch: string
  readonly channel: string
  /** Everything below is done with. */
  readonly offset: number
}

const VERSION = 1
const EPOCH_BYTES = 8
const CHECK_BYTES = 4
const HASH_BYTES = 16
const HEAD_BYTES = 2 + EPOCH_BYTES

/** How the channel is written: by name, or by hash where its name would make the text too long. */
const BY_NAME = 0
const BY_HASH = 1

// Four characters for three bytes; an offset takes 8 bytes at most.
const NAME_BYTES = Math.floor((LIMITS.cursorBytes * 3) / 4) - HEAD_BYTES - 8 - CHECK_BYTES

/** A cursor as text, at most LIMITS.cursorBytes of URL-safe characters. */
export function encodeCursor({ epoch, channel, offset }: Cursor): string {
  const size = textSize(channel)
  const bytes = Buffer.allocUnsafe(LIMITS.cursorBytes)
  bytes[0] = VERSION
  bytes[1] = size <= NAME_BYTES ? BY_NAME : BY_HASH
  bytes.write(epoch, 2, EPOCH_BYTES, 'hex')
  let at = writeVarint(bytes, HEAD_BYTES, offset)
  if (size <= NAME_BYTES) at = writeText(bytes, at, channel, size)
  else at += channelHash(channel).copy(bytes, at)
  return closeCursor(bytes, at)
}

/** The first `end` bytes as the text of a cursor, with a checksum, which must have room. */
export function closeCursor(bytes: Buffer, end: number): string {
  return bytes.toString('base64url', 0, bytes.writeUInt32LE(checksum(bytes, end), end))
}

/**
 * Reads a cursor. A very long channel is not spelled out in it: it is looked for among `channels`. Throws
 * ERR_CURSOR_UNKNOWN when the text is no cursor, was cut or altered, or names none of `channels`.
 */
export function decodeCursor(text: string, channels: Iterable<string> = []): Cursor {
  return openCursor(text, VERSION, (bytes, end) => {
    if (end < HEAD_BYTES) throw unknown('it is malformed')
    const reader = new ProtoReader(bytes, HEAD_BYTES, end)
    const epoch = bytes.toString('hex', 2, HEAD_BYTES)
    const offset = reader.varint()
    return {
      epoch,
      channel: readChannel(bytes.subarray(reader.position, end), bytes[1], channels),
      offset
    }
  })
}

/** Reads what `closeCursor` wrote, where its first byte is `version`. Throws ERR_CURSOR_UNKNOWN. */
export function openCursor<Place>(
  text: string,
  version: number,
  read: (bytes: Buffer, end: number) => Place
): Place {
  if (text.length > LIMITS.cursorBytes) throw unknown('it is too long')
  const bytes = Buffer.from(text, 'base64url')
  // The decoder passes over what it does not know; writing it again finds that.
  const end = bytes.length - CHECK_BYTES
  if (end < 1 || bytes.toString('base64url') !== text) throw unknown('it is malformed')
  if (bytes.readUInt32LE(end) !== checksum(bytes, end)) throw unknown('it was cut or altered')
  if (bytes[0] !== version) throw unknown(`it is of kind ${bytes[0]}, not ${version}`)
  try {
    return read(bytes, end)
  } catch (error) {
    if (error instanceof SkeinError && error.code === 'ERR_RECORD') throw unknown('it is malformed')
    throw error
  }
}

function readChannel(bytes: Buffer, form: number | undefined, channels: Iterable<string>): string {
  if (form === BY_NAME) return bytes.toString('utf8')
  if (form === BY_HASH) {
    for (const channel of channels) if (channelHash(channel).equals(bytes)) return channel
  }
  throw unknown('its channel is not known here')
}

function channelHash(channel: string): Buffer {
  return createHash('sha256').update(channel).digest().subarray(0, HASH_BYTES)
}

/** FNV-1a: finds slips of the hand, not forgers; a forged cursor reads nothing its owner may not read. */
function checksum(bytes: Uint8Array, end: number): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < end; index++) {
    hash = Math.imul(hash ^ (bytes[index] as number), 0x01000193)
  }
  return hash >>> 0
}

function unknown(why: string): SkeinError {
  return new SkeinError('ERR_CURSOR_UNKNOWN', `the cursor cannot be used: ${why}; begin without it`)
}
