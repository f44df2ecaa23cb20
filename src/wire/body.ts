import type { SkeinError } from '../core/errors.ts'
import { KIB, LIMITS } from '../core/limits.ts'
import { contentSize, GREATEST_PRIORITY, MESSAGE_TAG, writeMessage } from './message-writer.ts'
import type { EncodableMessage } from './message-writer.ts'
import {
  ProtoReader,
  readText,
  recordError,
  textSize,
  varintSize,
  writeVarint,
  wrongWireType
} from './protobuf.ts'
import { isSuffix } from './topic.ts'

export type { EncodableMessage } from './message-writer.ts'

/** A message out of a body. `payload` is a view of the body; every field is present, absent ones undefined. */
export interface DecodedMessage {
  readonly suffix: string
  readonly payload: Uint8Array
  readonly contentType: string | undefined
  readonly key: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
  readonly ttlMs: number | undefined
  readonly priority: number | undefined
  readonly deliverAt: number | undefined
  readonly id: string | undefined
  readonly replyTo: string | undefined
}

const LAST_FIELD = 10
const NOTHING = new Uint8Array(0)

/**
 * Bytes that `message` takes in a body, its framing included: exactly what `BodyBuilder.add` will add. Throws
 * ERR_PAYLOAD_TOO_LARGE, ERR_HEADERS_TOO_LARGE and ERR_OPTIONS where the message breaks a limit.
 */
export function messageSize(message: EncodableMessage): number {
  const size = contentSize(message)
  return 1 + varintSize(size) + size
}

/** Puts messages together to a body, in one buffer that it uses again. */
export class BodyBuilder {
  #buffer: Buffer
  #size = 0
  #count = 0

  /** `capacity`: bytes to begin with, default 4 KiB: most channels are idle. Doubles when it is full. */
  constructor(capacity: number = 4 * KIB) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(64, capacity))
  }

  /** Bytes of the body so far. */
  get size(): number {
    return this.#size
  }

  /** Messages in the body so far. */
  get count(): number {
    return this.#count
  }

  /**
   * Adds a message, unless the body would then take more than `limit` bytes: answers false and changes nothing.
   * Throws like `messageSize`, and changes nothing then either.
   */
  add(message: EncodableMessage, limit: number = Number.MAX_SAFE_INTEGER): boolean {
    const content = contentSize(message)
    const size = this.#size + 1 + varintSize(content) + content
    if (size > limit) return false
    if (size > this.#buffer.length) this.#grow(size)
    const buffer = this.#buffer
    buffer[this.#size] = MESSAGE_TAG.message
    writeMessage(buffer, writeVarint(buffer, this.#size + 1, content), message)
    this.#size = size
    this.#count++
    return true
  }

  /** The body, as a view that holds until the next `add`; the builder is empty again. */
  finish(): Uint8Array {
    const body = this.#buffer.subarray(0, this.#size)
    this.#size = 0
    this.#count = 0
    return body
  }

  #grow(size: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(size, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#size))
    this.#buffer = larger
  }
}

/** All messages of a body. Throws ERR_RECORD when it is malformed or does not hold `count` messages. */
export function decodeMessages(body: Uint8Array, count: number): DecodedMessage[] {
  const reader = new BodyReader(body)
  const messages: DecodedMessage[] = []
  for (let message = reader.next(); message !== undefined; message = reader.next()) {
    messages.push(message)
    if (messages.length > count) break
  }
  if (messages.length !== count) throw wrongCount(count)
  return messages
}

/**
 * Throws ERR_RECORD unless `decodeMessages` would succeed, and allocates nothing for messages without key and
 * headers: what a receiver asks before it stores and passes on a record.
 */
export function checkMessages(body: Uint8Array, count: number): void {
  const reader = new BodyReader(body)
  let found = 0
  while (reader.check()) found++
  if (found !== count) throw wrongCount(count)
}

function wrongCount(count: number): SkeinError {
  return recordError('count', `the body does not hold the ${count} messages of its header`)
}

/** A text that most messages of a body repeat: compared as bytes, decoded once. */
class RepeatedText {
  #start = 0
  #end = 0
  #text = ''

  readonly #limit: number
  readonly #valid: ((text: string) => boolean) | undefined

  constructor(limit: number, valid?: (text: string) => boolean) {
    this.#limit = limit
    this.#valid = valid
  }

  read(reader: ProtoReader): string {
    const { bytes } = reader
    const length = reader.length()
    if (length > this.#limit) {
      throw recordError('limit', `a text takes more than ${this.#limit} bytes`)
    }
    const start = reader.position
    const end = start + length
    reader.position = end
    if (length === this.#end - this.#start) {
      let index = 0
      while (index < length && bytes[start + index] === bytes[this.#start + index]) index++
      if (index === length) return this.#text
    }
    const text = readText(bytes, start, end)
    if (this.#valid?.(text) === false) {
      throw recordError('topic', 'a message has a topic that breaks the grammar')
    }
    this.#start = start
    this.#end = end
    this.#text = text
    return text
  }
}

type Draft = { -readonly [Name in keyof DecodedMessage]: DecodedMessage[Name] }

/** Reads a body message by message, for who may not want them all. Throws ERR_RECORD where it is malformed. */
export class BodyReader {
  readonly #reader: ProtoReader
  readonly #memory: ArrayBufferLike
  readonly #offset: number
  readonly #end: number
  readonly #suffix = new RepeatedText(LIMITS.topicBytes + 1, isSuffix)
  readonly #contentType = new RepeatedText(LIMITS.fieldBytes)
  /** What `check` reads into. */
  readonly #scratch = emptyMessage()

  constructor(body: Uint8Array) {
    this.#reader = new ProtoReader(body)
    this.#memory = body.buffer
    this.#offset = body.byteOffset
    this.#end = body.length
  }

  /** The next message; undefined at the end. */
  next(): DecodedMessage | undefined {
    const reader = this.#reader
    if (!this.#enter()) return undefined
    const message = emptyMessage()
    while (reader.position < reader.end) {
      const tag = reader.tag()
      if (tag === MESSAGE_TAG.payload) message.payload = this.#payload()
      else if (tag === MESSAGE_TAG.suffix) message.suffix = this.#suffix.read(reader)
      else this.#field(tag, message)
    }
    if (message.headers !== undefined) checkHeaders(message.headers)
    reader.end = this.#end
    return message
  }

  /** Checks the next message as `next` does, without giving it; false at the end. */
  check(): boolean {
    const reader = this.#reader
    if (!this.#enter()) return false
    const scratch = this.#scratch
    scratch.headers = undefined
    while (reader.position < reader.end) {
      const tag = reader.tag()
      if (tag === MESSAGE_TAG.payload) reader.skip(tag)
      else if (tag === MESSAGE_TAG.suffix) this.#suffix.read(reader)
      else this.#field(tag, scratch)
    }
    if (scratch.headers !== undefined) checkHeaders(scratch.headers)
    reader.end = this.#end
    return true
  }

  /** Narrows the reader to the next message; false at the end. */
  #enter(): boolean {
    const reader = this.#reader
    while (reader.position < this.#end) {
      const tag = reader.tag()
      if (tag === MESSAGE_TAG.message) {
        const length = reader.length()
        reader.end = reader.position + length
        return true
      }
      if (tag >>> 3 === 1) throw wrongWireType(tag)
      reader.skip(tag)
    }
    return false
  }

  /** As a plain Uint8Array: a Buffer's `slice` shares memory where a Uint8Array's copies. */
  #payload(): Uint8Array {
    const reader = this.#reader
    const length = reader.length()
    const start = reader.position
    reader.position = start + length
    return new Uint8Array(this.#memory, this.#offset + start, length)
  }

  #field(tag: number, message: Draft): void {
    const reader = this.#reader
    switch (tag) {
      case MESSAGE_TAG.contentType:
        message.contentType = this.#contentType.read(reader)
        return
      case MESSAGE_TAG.key:
        message.key = reader.text(LIMITS.fieldBytes)
        return
      case MESSAGE_TAG.headers:
        message.headers = readPair(reader, message.headers)
        return
      case MESSAGE_TAG.ttlMs:
        message.ttlMs = reader.varint()
        return
      case MESSAGE_TAG.priority:
        message.priority = readPriority(reader)
        return
      case MESSAGE_TAG.deliverAt:
        message.deliverAt = reader.varint()
        return
      case MESSAGE_TAG.id:
        message.id = reader.text(LIMITS.fieldBytes)
        return
      case MESSAGE_TAG.replyTo:
        message.replyTo = reader.text(LIMITS.fieldBytes)
        return
      default:
        if (tag >>> 3 <= LAST_FIELD) throw wrongWireType(tag)
        reader.skip(tag)
    }
  }
}

function emptyMessage(): Draft {
  return {
    suffix: '',
    payload: NOTHING,
    contentType: undefined,
    key: undefined,
    headers: undefined,
    ttlMs: undefined,
    priority: undefined,
    deliverAt: undefined,
    id: undefined,
    replyTo: undefined
  }
}

function readPriority(reader: ProtoReader): number | undefined {
  const priority = reader.varint()
  if (priority > GREATEST_PRIORITY) {
    throw recordError('limit', `priority ${priority} is greater than ${GREATEST_PRIORITY}`)
  }
  return priority === 0 ? undefined : priority
}

/** Adds one header. The object has no prototype, so no name is special. */
function readPair(
  reader: ProtoReader,
  headers: Readonly<Record<string, string>> | undefined
): Record<string, string> {
  const outer = reader.end
  const length = reader.length()
  reader.end = reader.position + length
  let name = ''
  let value = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === MESSAGE_TAG.name) name = reader.text()
    else if (tag === MESSAGE_TAG.value) value = reader.text()
    else if (tag >>> 3 <= 2) throw wrongWireType(tag)
    else reader.skip(tag)
  }
  reader.end = outer
  const all = (headers ?? Object.create(null)) as Record<string, string>
  all[name] = value
  return all
}

function checkHeaders(headers: Readonly<Record<string, string>>): void {
  let total = 0
  for (const name of Object.keys(headers)) {
    total += textSize(name) + textSize(headers[name] as string)
  }
  if (total > LIMITS.headersBytes) {
    throw recordError(
      'limit',
      `the headers of a message take more than ${LIMITS.headersBytes} bytes`
    )
  }
}
