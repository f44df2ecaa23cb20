import { LIMITS } from '../core/limits.ts'
import { ProtoWriter } from './proto-writer.ts'
import { ProtoReader, recordError, textSize, WIRE, wrongWireType } from './protobuf.ts'
import { isServiceName } from './service-name.ts'

/** What a request or a reply carries. */
export interface Content {
  readonly payload: Uint8Array
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** A request as it travels. */
export interface RequestCall {
  readonly service: string
  readonly content: Content
  /** What is left of the deadline, ms; 0 = none. */
  readonly timeoutMs: number
  /** Replies that may be sent before more is granted; 0 = one reply, and nothing after it. */
  readonly window: number
}

/**
 * The frames of `/skein/request/1.0.0`. `request`, `cancel` and `grant` come from the side that opened the stream,
 * the others answer. `id` is the opener's.
 */
export type RequestFrame =
  | { readonly kind: 'request'; readonly id: number; readonly call: RequestCall }
  /** Nobody waits for the answer any more. */
  | { readonly kind: 'cancel'; readonly id: number }
  /** So many more replies may be sent. */
  | { readonly kind: 'grant'; readonly id: number; readonly count: number }
  /** `last`: nothing follows. */
  | {
      readonly kind: 'reply'
      readonly id: number
      readonly content: Content
      readonly last: boolean
    }
  /** There are no more replies. */
  | { readonly kind: 'end'; readonly id: number }
  /** `refused`: no handler has seen the request, so that another node may be asked. */
  | {
      readonly kind: 'error'
      readonly id: number
      readonly code: string
      readonly message: string
      readonly refused: boolean
    }

const FIELD = { request: 1, cancel: 2, grant: 3, reply: 4, end: 5, error: 6 } as const

const NOTHING = Buffer.alloc(0)

/** UTF-16 units that never take more than LIMITS.fieldBytes. */
const MESSAGE_UNITS = Math.floor(LIMITS.fieldBytes / 3)

/** One frame as bytes: a field of a protobuf message. Frames behind each other are one such message too. */
export function encodeRequestFrame(frame: RequestFrame): Uint8Array {
  const body = new ProtoWriter().number(1, frame.id)
  switch (frame.kind) {
    case 'request': {
      const { content, service, timeoutMs, window } = frame.call
      body.text(2, service).number(3, Math.ceil(timeoutMs)).number(4, window)
      writeContent(body, content)
      break
    }
    case 'grant':
      body.number(2, frame.count)
      break
    case 'reply':
      body.flag(2, frame.last)
      writeContent(body, frame.content)
      break
    case 'error':
      body.text(2, short(frame.code, LIMITS.nameBytes / 3))
      body.text(3, short(frame.message, MESSAGE_UNITS)).flag(4, frame.refused)
      break
    case 'cancel':
    case 'end':
      break
  }
  return new ProtoWriter().message(FIELD[frame.kind], body).finish()
}

function short(text: string, units: number): string {
  return text.length <= units ? text : text.slice(0, units)
}

function writeContent(body: ProtoWriter, { contentType, headers, payload }: Content): void {
  if (payload.length > 0) body.bytes(10, payload)
  if (contentType !== undefined) body.text(11, contentType)
  for (const [name, value] of Object.entries(headers ?? {})) {
    body.message(12, new ProtoWriter().text(1, name).text(2, value))
  }
}

/** Bytes of names and values together. */
export function headersSize(headers: Readonly<Record<string, string>>): number {
  let total = 0
  for (const [name, value] of Object.entries(headers)) total += textSize(name) + textSize(value)
  return total
}

/** Reads frames of anybody. Throws ERR_RECORD. */
export function decodeRequestFrames(bytes: Uint8Array): RequestFrame[] {
  const reader = new ProtoReader(bytes)
  const frames: RequestFrame[] = []
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if ((tag & 7) !== WIRE.bytes) throw wrongWireType(tag)
    const body = new ProtoReader(reader.view())
    // What a later version adds is passed over.
    if (tag >>> 3 <= FIELD.error) frames.push(readFrame(tag >>> 3, readFields(body)))
  }
  return frames
}

interface Fields {
  readonly numbers: Record<number, number>
  readonly texts: Record<number, string>
  payload: Uint8Array
  contentType: string | undefined
  headers: Record<string, string> | undefined
}

/** Fields mean the same in every frame that has them, but for numbers 2 to 4, which are told apart by their type. */
function readFields(reader: ProtoReader): Fields {
  const fields: Fields = {
    numbers: {},
    texts: {},
    payload: NOTHING,
    contentType: undefined,
    headers: undefined
  }
  while (reader.position < reader.end) {
    const tag = reader.tag()
    const field = tag >>> 3
    if ((tag & 7) === WIRE.varint && field <= 4) fields.numbers[field] = reader.varint()
    else if ((tag & 7) !== WIRE.bytes || !readBytesField(reader, field, fields)) reader.skip(tag)
  }
  if (fields.headers !== undefined && headersSize(fields.headers) > LIMITS.headersBytes) {
    throw recordError('limit', `headers take more than ${LIMITS.headersBytes} bytes`)
  }
  return fields
}

/** False: the field is not known. */
function readBytesField(reader: ProtoReader, field: number, fields: Fields): boolean {
  switch (field) {
    case 2:
    case 3:
      fields.texts[field] = reader.text(LIMITS.fieldBytes)
      return true
    case 10:
      fields.payload = reader.view()
      if (fields.payload.length > LIMITS.payloadBytes) {
        throw recordError('limit', `a payload takes more than ${LIMITS.payloadBytes} bytes`)
      }
      return true
    case 11:
      fields.contentType = reader.text(LIMITS.fieldBytes)
      return true
    case 12:
      fields.headers ??= Object.create(null) as Record<string, string>
      readHeader(new ProtoReader(reader.view()), fields.headers)
      return true
    default:
      return false
  }
}

/** The object has no prototype, so no name is special. */
function readHeader(reader: ProtoReader, headers: Record<string, string>): void {
  let name = ''
  let value = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) name = reader.text(LIMITS.headersBytes)
    else if (tag === ((2 << 3) | WIRE.bytes)) value = reader.text(LIMITS.headersBytes)
    else reader.skip(tag)
  }
  headers[name] = value
}

function readFrame(kind: number, fields: Fields): RequestFrame {
  const { contentType, headers, numbers, payload } = fields
  const id = numbers[1] ?? 0
  if (id === 0) throw recordError('field', 'a frame of a request has no id')
  switch (kind) {
    case FIELD.request:
      return { kind: 'request', id, call: readCall(fields) }
    case FIELD.cancel:
      return { kind: 'cancel', id }
    case FIELD.grant:
      return { kind: 'grant', id, count: numbers[2] ?? 0 }
    case FIELD.reply: {
      const content = { payload, contentType, headers }
      return { kind: 'reply', id, content, last: (numbers[2] ?? 0) !== 0 }
    }
    case FIELD.end:
      return { kind: 'end', id }
    default:
      return readError(id, fields)
  }
}

function readCall({ contentType, headers, numbers, payload, texts }: Fields): RequestCall {
  const service = texts[2] ?? ''
  if (!isServiceName(service)) throw recordError('field', 'a request names no service')
  return {
    service,
    content: { payload, contentType, headers },
    timeoutMs: numbers[3] ?? 0,
    window: numbers[4] ?? 0
  }
}

function readError(id: number, { numbers, texts }: Fields): RequestFrame {
  const refused = (numbers[4] ?? 0) !== 0
  return { kind: 'error', id, code: texts[2] ?? '', message: texts[3] ?? '', refused }
}
