import { SkeinError } from '../core/errors.ts'

/**
 * The push stream's bytes. Every frame is a 4-byte big-endian length of what follows, one byte of kind, and
 * fields of fixed width; integers are big-endian. Each side writes on a stream of its own.
 */
export const KIND = {
  /** u16 channel index, u16 via, u16 head length, the frame. */
  frame: 0,
  /** u16 channel index, u8 member, channel name: gives the index its name, says whether the sender is a member. */
  channel: 1,
  /** u16 via, channel name: stop forwarding what you get from that neighbour. */
  prune: 2,
  /** channel name, or nothing for all: forward everything again. */
  unprune: 3,
  /** f64 sender's time. */
  ping: 4,
  /** f64 time of the ping answered. */
  pong: 5,
  /** UTF-8 JSON: PeerAddresses of the sender first, then of peers it is connected to. */
  peers: 6
} as const

/** Where a peer can be dialled. */
export interface PeerAddresses {
  readonly id: string
  readonly addresses: readonly string[]
}

export type PushFrame =
  | { kind: 'frame'; channel: number; via: number; headLength: number; bytes: Uint8Array }
  | { kind: 'channel'; index: number; member: boolean; channel: string }
  | { kind: 'prune'; via: number; channel: string }
  | { kind: 'unprune'; channel: string }
  | { kind: 'ping'; time: number }
  | { kind: 'pong'; time: number }
  | { kind: 'peers'; peers: readonly PeerAddresses[] }

const LENGTH = 4
const FRAME_HEADER = LENGTH + 7
/** Bytes before the frame itself. */
export const FRAME_OVERHEAD = FRAME_HEADER
/** A list of 80 peers with a dozen addresses each fits. */
const CONTROL_BYTES = 64 * 1024

/** What stands before a frame's bytes on the stream. */
export function frameHeader(
  channel: number,
  via: number,
  headLength: number,
  length: number
): Uint8Array {
  const header = Buffer.allocUnsafe(FRAME_HEADER)
  header.writeUInt32BE(length + FRAME_HEADER - LENGTH, 0)
  header[4] = KIND.frame
  header.writeUInt16BE(channel, 5)
  header.writeUInt16BE(via, 7)
  header.writeUInt16BE(headLength, 9)
  return header
}

/** Is it all of what `frameHeader` gives? No control frame looks like that. */
export function isFrameHeader(bytes: Uint8Array): boolean {
  return bytes.length === FRAME_HEADER && bytes[LENGTH] === KIND.frame
}

/** The fields of a frame's header. */
export function decodeFrameHeader(
  bytes: Uint8Array
): Pick<Extract<PushFrame, { kind: 'frame' }>, 'channel' | 'via' | 'headLength'> {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, FRAME_HEADER)
  return {
    channel: header.readUInt16BE(LENGTH + 1),
    via: header.readUInt16BE(LENGTH + 3),
    headLength: header.readUInt16BE(LENGTH + 5)
  }
}

function control(kind: number, fixed: number, text: string): Buffer {
  const length = Buffer.byteLength(text)
  const bytes = Buffer.allocUnsafe(LENGTH + 1 + fixed + length)
  bytes.writeUInt32BE(1 + fixed + length, 0)
  bytes[4] = kind
  bytes.write(text, 5 + fixed)
  return bytes
}

export const encodeControl = {
  channel(index: number, member: boolean, channel: string): Uint8Array {
    const bytes = control(KIND.channel, 3, channel)
    bytes.writeUInt16BE(index, 5)
    bytes[7] = member ? 1 : 0
    return bytes
  },
  prune(via: number, channel: string): Uint8Array {
    const bytes = control(KIND.prune, 2, channel)
    bytes.writeUInt16BE(via, 5)
    return bytes
  },
  unprune: (channel: string): Uint8Array => control(KIND.unprune, 0, channel),
  ping(time: number): Uint8Array {
    const bytes = control(KIND.ping, 8, '')
    bytes.writeDoubleBE(time, 5)
    return bytes
  },
  pong(time: number): Uint8Array {
    const bytes = control(KIND.pong, 8, '')
    bytes.writeDoubleBE(time, 5)
    return bytes
  },
  peers: (peers: readonly PeerAddresses[]): Uint8Array =>
    control(KIND.peers, 0, JSON.stringify(peers.map(({ id, addresses }) => [id, ...addresses])))
}

function malformed(why: string): SkeinError {
  return new SkeinError('ERR_STREAM', `a neighbour sent malformed push data: ${why}`)
}

function decodePeers(text: string): PeerAddresses[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SkeinError('ERR_STREAM', 'a neighbour sent a list of peers that is not JSON', {
      cause: error
    })
  }
  if (!Array.isArray(value)) throw malformed('the list of peers is none')
  return value.map((entry: unknown) => {
    if (!Array.isArray(entry) || !entry.every((item) => typeof item === 'string')) {
      throw malformed('a peer in the list is not a list of texts')
    }
    const [id = '', ...addresses] = entry as string[]
    return { id, addresses: addresses.slice(0, 16) }
  })
}

function decode(bytes: Buffer): PushFrame {
  const need = (length: number): void => {
    if (bytes.length < length) throw malformed(`kind ${bytes[0]} in ${bytes.length} bytes`)
  }
  const kind = bytes[0] as number
  switch (kind) {
    case KIND.frame: {
      need(7)
      const headLength = bytes.readUInt16BE(5)
      if (headLength > bytes.length - 7) throw malformed('a head longer than its frame')
      return {
        kind: 'frame',
        channel: bytes.readUInt16BE(1),
        via: bytes.readUInt16BE(3),
        headLength,
        bytes: new Uint8Array(bytes.buffer, bytes.byteOffset + 7, bytes.length - 7)
      }
    }
    case KIND.channel:
      need(4)
      return {
        kind: 'channel',
        index: bytes.readUInt16BE(1),
        member: bytes[3] === 1,
        channel: bytes.toString('utf8', 4)
      }
    case KIND.prune:
      need(3)
      return { kind: 'prune', via: bytes.readUInt16BE(1), channel: bytes.toString('utf8', 3) }
    case KIND.unprune:
      return { kind: 'unprune', channel: bytes.toString('utf8', 1) }
    case KIND.ping:
    case KIND.pong:
      need(9)
      return { kind: kind === KIND.ping ? 'ping' : 'pong', time: bytes.readDoubleBE(1) }
    case KIND.peers:
      return { kind: 'peers', peers: decodePeers(bytes.toString('utf8', 1)) }
    default:
      throw malformed(`unknown kind ${kind}`)
  }
}

/**
 * Cuts a byte stream into push frames. What lies within one chunk is not copied; a frame that spans several
 * is copied once. Throws ERR_STREAM on malformed data, after which the stream is of no use.
 */
export class PushDecoder {
  readonly #maxFrame: number
  readonly #prefix = Buffer.alloc(LENGTH)
  #prefixed = 0
  #partial: Buffer | undefined
  #filled = 0

  constructor(maxFrame: number) {
    this.#maxFrame = Math.max(maxFrame + FRAME_HEADER, CONTROL_BYTES)
  }

  *push(chunk: Uint8Array): Generator<PushFrame> {
    const data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    let at = 0
    while (at < data.length) {
      if (this.#partial === undefined) {
        const taken = this.#takePrefix(data, at)
        at += taken
        if (this.#prefixed < LENGTH) return
        const length = this.#length()
        if (data.length - at >= length) {
          this.#prefixed = 0
          yield decode(data.subarray(at, at + length))
          at += length
          continue
        }
        this.#partial = Buffer.allocUnsafeSlow(length)
        this.#filled = 0
      }
      const partial = this.#partial
      const part = data.subarray(at, at + partial.length - this.#filled)
      part.copy(partial, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled === partial.length) {
        this.#partial = undefined
        this.#prefixed = 0
        yield decode(partial)
      }
    }
  }

  #takePrefix(data: Buffer, at: number): number {
    const part = data.subarray(at, at + LENGTH - this.#prefixed)
    part.copy(this.#prefix, this.#prefixed)
    this.#prefixed += part.length
    return part.length
  }

  #length(): number {
    const length = this.#prefix.readUInt32BE(0)
    if (length === 0 || length > this.#maxFrame) throw malformed(`a frame of ${length} bytes`)
    return length
  }
}
