import { ERRORS, type ErrorCode, isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { ProtoReader, recordError, varintSize, WIRE, writeVarint } from '../wire/protobuf.ts'
import type { StreamMetadata } from './contract.ts'

/** One stream of bytes in both directions on one stream of frames. */
export const STREAM_PROTOCOL = '/skein/stream/1.0.0'

/** Why a direction, or the whole stream, ends before its time. */
export interface StreamReason {
  /** An error code; one that is not known here counts as ERR_ABORTED. */
  readonly code: string
  readonly message: string
}

/** What the opener asks for. `window`: bytes that it takes before it grants more. */
export interface StreamOpening {
  readonly name: string
  readonly metadata: StreamMetadata
  readonly window: number
}

export type StreamFrame =
  | ({ readonly kind: 'open' } & StreamOpening)
  /** A handler has it; it takes `window` bytes before it grants more. */
  | { readonly kind: 'accept'; readonly window: number }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  /** The sender of this frame takes so many bytes more. */
  | { readonly kind: 'credit'; readonly bytes: number }
  /** The sender of this frame has written all. */
  | { readonly kind: 'end' }
  /** What the sender of this frame wrote is incomplete, and nothing follows. */
  | { readonly kind: 'reset'; readonly reason: StreamReason }
  /** The sender of this frame reads no more; `code` is empty where nothing is wrong. */
  | { readonly kind: 'stop'; readonly reason: StreamReason }
  /** Both directions are over; instead of `accept`: refused. */
  | { readonly kind: 'abort'; readonly reason: StreamReason }

const FIELDS = {
  open: 1,
  accept: 2,
  data: 3,
  credit: 4,
  end: 5,
  reset: 6,
  stop: 7,
  abort: 8
} as const

const KINDS = new Map(
  Object.entries(FIELDS).map(([kind, field]) => [
    (field << 3) | WIRE.bytes,
    kind as keyof typeof FIELDS
  ])
)

const DATA_TAG = (FIELDS.data << 3) | WIRE.bytes
const FIRST_TEXT = (1 << 3) | WIRE.bytes
const FIRST_NUMBER = (1 << 3) | WIRE.varint
const SECOND_TEXT = (2 << 3) | WIRE.bytes
const THIRD_NUMBER = (3 << 3) | WIRE.varint

/** Characters of a reason's message; more is cut. */
const MESSAGE_LENGTH = 250
/** A window must hold the largest piece, or its sender would wait for ever. */
const LEAST_WINDOW = LIMITS.streamPieceBytes
/** No honest peer grants this much. */
const MOST_WINDOW = 2 ** 30

/** What a piece of data takes of the window: small ones take memory beyond their bytes. */
export function costOf(bytes: number): number {
  return Math.max(bytes, LIMITS.streamPieceLeastCost)
}

/** A data frame with a copy of `bytes`: what was written belongs to its writer again. */
export function encodeData(bytes: Uint8Array): Uint8Array {
  const { length } = bytes
  const frame = Buffer.allocUnsafeSlow(1 + varintSize(length) + length)
  frame[0] = DATA_TAG
  frame.set(bytes, writeVarint(frame, 1, length))
  return frame
}

export function encodeFrame(frame: Exclude<StreamFrame, { kind: 'data' }>): Uint8Array {
  return new ProtoWriter().message(FIELDS[frame.kind], fieldsOf(frame)).finish()
}

function fieldsOf(frame: Exclude<StreamFrame, { kind: 'data' }>): ProtoWriter {
  const fields = new ProtoWriter()
  switch (frame.kind) {
    case 'open':
      return fields
        .text(1, frame.name)
        .text(2, encodeMetadata(frame.metadata))
        .number(3, frame.window)
    case 'accept':
      return fields.number(1, frame.window)
    case 'credit':
      return fields.number(1, frame.bytes)
    case 'end':
      return fields
    case 'reset':
    case 'stop':
    case 'abort':
      return fields.text(1, frame.reason.code).text(2, frame.reason.message)
  }
}

/** Throws ERR_RECORD where it is malformed or breaks a limit. Data is a view of `bytes`. */
export function decodeFrame(bytes: Uint8Array): StreamFrame {
  const outer = new ProtoReader(bytes)
  const kind = KINDS.get(outer.tag())
  if (kind === undefined) throw recordError('field', 'a frame of a stream is of an unknown kind')
  const content = outer.view()
  if (outer.position !== outer.end) {
    throw recordError('field', 'a frame of a stream has more than one field')
  }
  const reader = new ProtoReader(content)
  switch (kind) {
    case 'data':
      if (content.length === 0) throw recordError('field', 'a data frame is empty')
      if (content.length > LIMITS.streamPieceBytes) {
        throw recordError('limit', `a data frame has more than ${LIMITS.streamPieceBytes} bytes`)
      }
      return { kind, bytes: content }
    case 'open':
      return { kind, ...decodeOpening(reader) }
    case 'accept':
      return { kind, window: windowOf(decodeNumber(reader)) }
    case 'credit':
      return { kind, bytes: decodeNumber(reader) }
    case 'end':
      return { kind }
    case 'reset':
    case 'stop':
    case 'abort':
      return { kind, reason: decodeReason(reader) }
  }
}

function decodeOpening(reader: ProtoReader): StreamOpening {
  let name = ''
  let metadata = '{}'
  let window = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === FIRST_TEXT) name = reader.text(LIMITS.nameBytes)
    else if (tag === SECOND_TEXT) metadata = reader.text(LIMITS.streamMetadataBytes)
    else if (tag === THIRD_NUMBER) window = reader.varint()
    else reader.skip(tag)
  }
  if (!isStreamName(name)) throw recordError('field', 'the name of a stream is malformed')
  return { name, metadata: decodeMetadata(metadata), window: windowOf(window) }
}

function decodeNumber(reader: ProtoReader): number {
  let number = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === FIRST_NUMBER) number = reader.varint()
    else reader.skip(tag)
  }
  if (number > MOST_WINDOW) throw recordError('limit', 'a stream grants too much')
  return number
}

function windowOf(bytes: number): number {
  if (bytes < LEAST_WINDOW || bytes > MOST_WINDOW) {
    throw recordError('limit', `a window of ${bytes} bytes is out of its range`)
  }
  return bytes
}

function decodeReason(reader: ProtoReader): StreamReason {
  let code = ''
  let message = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === FIRST_TEXT) code = reader.text(LIMITS.nameBytes)
    else if (tag === SECOND_TEXT) message = reader.text(LIMITS.fieldBytes)
    else reader.skip(tag)
  }
  return { code, message }
}

/** 1 to 64 bytes of letters, digits, '.', '_' and '-', a letter or digit first: as nodes are named. */
export function isStreamName(name: string): boolean {
  return name.length <= LIMITS.nameBytes && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)
}

/** Throws ERR_OPTIONS where it is no JSON object or too large. */
export function encodeMetadata(metadata: StreamMetadata): string {
  let text: string
  try {
    text = JSON.stringify(metadata)
  } catch (error) {
    throw new SkeinError('ERR_OPTIONS', 'metadata: is no JSON', {
      details: { option: 'metadata' },
      cause: error
    })
  }
  const bytes = Buffer.byteLength(text)
  if (bytes > LIMITS.streamMetadataBytes) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `metadata: takes ${bytes} bytes, and at most ${LIMITS.streamMetadataBytes} go with a stream`,
      { details: { option: 'metadata' } }
    )
  }
  return text
}

function decodeMetadata(text: string): StreamMetadata {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) throw recordError('field', 'metadata is no JSON')
    throw error
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw recordError('field', 'metadata is no JSON object')
  }
  return value as StreamMetadata
}

/** What goes to the other side of what somebody gave as a reason: no more than code and text. */
export function reasonOf(reason: unknown): StreamReason {
  const message =
    reason instanceof Error
      ? reason.message
      : typeof reason === 'string'
        ? reason
        : 'the stream was aborted'
  return {
    code: isSkeinError(reason) ? reason.code : 'ERR_ABORTED',
    // Through bytes, so that no half of a character is left at the cut.
    message: Buffer.from(message.slice(0, MESSAGE_LENGTH)).toString()
  }
}

/** The error that a reason is at this side. */
export function errorOf({ code, message }: StreamReason, peer: PeerId): SkeinError {
  const known = Object.hasOwn(ERRORS, code)
  return new SkeinError(
    known ? (code as ErrorCode) : 'ERR_ABORTED',
    message === '' ? 'the other side aborted the stream' : message,
    { details: { peer } }
  )
}
