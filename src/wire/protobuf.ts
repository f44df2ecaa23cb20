import { isUtf8 } from 'node:buffer'
import { SkeinError } from '../core/errors.ts'

/** Why bytes are not a valid record: `details.reason` of ERR_RECORD. Stable, like a code. */
export type RecordReason =
  /** The bytes end before what they announce. */
  | 'truncated'
  /** A variable-length integer is too long, too large, or not the shortest where it has to be. */
  | 'varint'
  /** A field is missing, malformed, of the wrong wire type, out of order or reserved. */
  | 'field'
  | 'utf8'
  /** Something is larger than Skein's limits. */
  | 'limit'
  | 'hash'
  | 'signature'
  | 'version'
  /** Messages and count disagree, or a number leaves the safe range. */
  | 'count'
  /** The channel or a topic breaks the topic grammar. */
  | 'topic'

/** ERR_RECORD with its reason. */
export function recordError(reason: RecordReason, message: string): SkeinError {
  return new SkeinError('ERR_RECORD', message, { details: { reason } })
}

/** Protobuf wire types that Skein reads; groups are refused. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

const TWO_32 = 0x1_0000_0000

// Up to these lengths a loop over characters beats the call into native code (measured on Node 20).
const SHORT_READ = 8
const SHORT_WRITE = 16
const SHORT_SIZE = 12

/** Above this the native check of UTF-8 beats a loop that looks for the first byte beyond ASCII. */
const SHORT_SCAN = 64

/** The same memory as a Buffer, whose text methods need no decoder object. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Reads protobuf from bytes of anybody. It never reads past `end`, allocates nothing by an announced length,
 * and throws ERR_RECORD (truncated, varint, field, utf8) for whatever it cannot accept.
 */
export class ProtoReader {
  readonly bytes: Buffer
  /** Offset of the next byte. */
  position: number
  /** Offset behind the last byte that may be read; narrowed while inside a nested message. */
  end: number

  constructor(bytes: Uint8Array, position = 0, end: number = bytes.length) {
    this.bytes = asBuffer(bytes)
    this.position = position
    this.end = end
  }

  /** An unsigned integer up to 2^53 - 1. */
  varint(): number {
    let position = this.position
    if (position >= this.end) throw truncated()
    const first = this.bytes[position++] as number
    if (first < 0x80) {
      this.position = position
      return first
    }
    let value = first & 0x7f
    let scale = 0x80
    for (let length = 2; length <= 10; length++) {
      if (position >= this.end) throw truncated()
      const byte = this.bytes[position++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        this.position = position
        return value
      }
      scale *= 0x80
    }
    throw recordError('varint', 'a variable-length integer is longer or larger than allowed')
  }

  /** A field's tag: number << 3 | wire type. */
  tag(): number {
    const tag = this.varint()
    if (tag < 8 || tag >= TWO_32) throw recordError('field', `field tag ${tag} is not valid`)
    return tag
  }

  /** The length of a length-delimited field; that many bytes are there. */
  length(): number {
    const length = this.varint()
    if (length > this.end - this.position) throw truncated()
    return length
  }

  /** A bytes field, as a view. */
  view(): Buffer {
    const length = this.length()
    const start = this.position
    this.position = start + length
    return this.bytes.subarray(start, this.position)
  }

  /** A string field of at most `limit` bytes, else ERR_RECORD (limit). */
  text(limit = Number.MAX_SAFE_INTEGER): string {
    const length = this.length()
    if (length > limit) throw recordError('limit', `a text takes more than ${limit} bytes`)
    const start = this.position
    this.position = start + length
    return readText(this.bytes, start, this.position)
  }

  /** A little-endian 64-bit field as 16 lower-case hex digits. */
  fixed64Hex(): string {
    const [high, low] = this.fixed64()
    return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
  }

  /** A little-endian 64-bit field as its upper and lower 32 bits. */
  fixed64(): readonly [number, number] {
    const start = this.position
    if (this.end - start < 8) throw truncated()
    this.position = start + 8
    return [this.bytes.readUInt32LE(start + 4), this.bytes.readUInt32LE(start)]
  }

  /** Passes over the value of an unknown field, so that later versions may add some. */
  skip(tag: number): void {
    switch (tag & 7) {
      case WIRE.varint:
        this.skipVarint()
        return
      case WIRE.bytes: {
        const length = this.length()
        this.position += length
        return
      }
      case WIRE.fixed64:
        this.#advance(8)
        return
      case WIRE.fixed32:
        this.#advance(4)
        return
      default:
        throw recordError('field', `wire type ${tag & 7} is not supported`)
    }
  }

  /** Like `varint`, but any 64-bit value will do. */
  skipVarint(): void {
    for (let length = 1; length <= 10; length++) {
      if (this.position >= this.end) throw truncated()
      if ((this.bytes[this.position++] as number) < 0x80) return
    }
    throw recordError('varint', 'a variable-length integer is longer than 10 bytes')
  }

  #advance(length: number): void {
    if (this.end - this.position < length) throw truncated()
    this.position += length
  }
}

function truncated(): SkeinError {
  return recordError('truncated', 'the bytes end before what they announce')
}

/** Throws unless `tag` is that of a known field with the wire type it must have. */
export function wrongWireType(tag: number): SkeinError {
  return recordError('field', `field ${tag >>> 3} has the wrong wire type ${tag & 7}`)
}

/** The UTF-8 text in `bytes` from `start` to `end`. Throws ERR_RECORD (utf8). */
export function readText(bytes: Buffer, start: number, end: number): string {
  const length = end - start
  if (length <= SHORT_SCAN) {
    let index = start
    while (index < end && (bytes[index] as number) < 0x80) index++
    if (index === end) {
      return length <= SHORT_READ
        ? readShort(bytes, start, end)
        : bytes.toString('latin1', start, end)
    }
  }
  if (!isUtf8(bytes.subarray(start, end))) throw recordError('utf8', 'a text is not valid UTF-8')
  return bytes.toString('utf8', start, end)
}

function readShort(bytes: Buffer, start: number, end: number): string {
  let text = ''
  for (let index = start; index < end; index++) text += String.fromCharCode(bytes[index] as number)
  return text
}

/** Bytes of `text` as UTF-8. */
export function textSize(text: string): number {
  const { length } = text
  if (length > SHORT_SIZE) return Buffer.byteLength(text)
  for (let index = 0; index < length; index++) {
    if (text.charCodeAt(index) >= 0x80) return Buffer.byteLength(text)
  }
  return length
}

/** Writes `text`, which takes `size` bytes (`textSize`), at `position`; returns the offset behind it. */
export function writeText(into: Buffer, position: number, text: string, size: number): number {
  if (size !== text.length) {
    into.write(text, position, 'utf8')
  } else if (size <= SHORT_WRITE) {
    for (let index = 0; index < size; index++) into[position + index] = text.charCodeAt(index)
  } else {
    into.write(text, position, 'latin1')
  }
  return position + size
}

/** Bytes of `value` as a varint. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  let size = 4
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 0x80)) size++
  return size
}

/** Writes a varint at `position`; returns the offset behind it. */
export function writeVarint(into: Uint8Array, position: number, value: number): number {
  let at = position
  let rest = value
  while (rest >= 0x8000_0000) {
    into[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  while (rest >= 0x80) {
    into[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  into[at++] = rest
  return at
}

/** Writes a length-delimited field; returns the offset behind it. */
export function writeBytesField(
  into: Buffer,
  position: number,
  tag: number,
  value: Uint8Array
): number {
  into[position] = tag
  const at = writeVarint(into, position + 1, value.length)
  into.set(value, at)
  return at + value.length
}

/** Writes a 64-bit value of two halves, little-endian, with its tag; returns the offset behind it. */
export function writeFixed64Field(
  into: Buffer,
  position: number,
  tag: number,
  halves: readonly [high: number, low: number]
): number {
  into[position] = tag
  into.writeUInt32LE(halves[1], position + 1)
  into.writeUInt32LE(halves[0], position + 5)
  return position + 9
}

/** Tag and varint; answers the position after them. */
export function writeNumberField(
  into: Buffer,
  position: number,
  tag: number,
  value: number
): number {
  into[position] = tag
  return writeVarint(into, position + 1, value)
}

/** Tag, length and UTF-8 bytes; answers the position after them. */
export function writeTextField(into: Buffer, position: number, tag: number, value: string): number {
  const size = textSize(value)
  into[position] = tag
  return writeText(into, writeVarint(into, position + 1, size), value, size)
}
