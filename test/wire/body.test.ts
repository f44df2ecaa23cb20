import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import {
  BodyBuilder,
  BodyReader,
  checkMessages,
  decodeMessages,
  messageSize
} from '../../src/wire/body.ts'
import type { EncodableMessage } from '../../src/wire/body.ts'
import { accepted, message } from './arbitraries.ts'

const schema = protobuf.loadSync(new URL('../../src/wire/record.proto', import.meta.url).pathname)
const Body = schema.lookupType('skein.v1.Body')

function encode(messages: readonly EncodableMessage[]): Uint8Array {
  const builder = new BodyBuilder(64)
  for (const one of messages) builder.add(one)
  return Uint8Array.from(builder.finish())
}

const bare = (fields: Partial<EncodableMessage> = {}): EncodableMessage => ({
  suffix: '/a',
  payload: Uint8Array.of(1, 2, 3),
  ...fields
})

/** A message as the generated codec takes and gives it. */
interface Generated {
  suffix?: string
  payload?: Uint8Array
  contentType?: string
  key?: string
  headers?: { name?: string; value?: string }[]
  ttlMs?: number
  priority?: number
  deliverAt?: number
  id?: string
  replyTo?: string
}

function toGenerated({ headers, ...rest }: EncodableMessage): Generated {
  const present = Object.entries(rest).filter(
    ([, value]) => value !== undefined && value !== '' && (value as Uint8Array).length !== 0
  )
  const optionals = Object.entries(rest).filter(
    ([name, value]) => value === '' && name !== 'suffix'
  )
  return {
    ...(Object.fromEntries([...present, ...optionals]) as Generated),
    ...(headers === undefined
      ? {}
      : {
          headers: Object.entries(headers).map(([name, value]) => ({
            ...(name === '' ? {} : { name }),
            ...(value === '' ? {} : { value })
          }))
        })
  }
}

describe('body', () => {
  it('body: what was encoded is decoded, and takes the size that was told', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
        const builder = new BodyBuilder(64)
        for (const one of messages) {
          const before = builder.size
          expect(builder.add(one)).toBe(true)
          expect(builder.size - before).toBe(messageSize(one))
        }
        expect(builder.count).toBe(messages.length)
        const body = builder.finish()
        expect(decodeMessages(body, messages.length)).toEqual(messages)
        expect(() => checkMessages(body, messages.length)).not.toThrow()
      })
    )
  })

  it('body: the generated codec reads what this one writes', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        const decoded = Body.toObject(Body.decode(encode(messages)), { longs: Number }) as {
          messages?: Generated[]
        }
        const plain = (decoded.messages ?? []).map((one) => ({
          ...one,
          ...(one.payload === undefined ? {} : { payload: Uint8Array.from(one.payload) })
        }))
        expect(plain).toEqual(messages.map(toGenerated))
      })
    )
  })

  it('body: this codec reads what the generated one writes, byte for byte the same', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        const generated = Body.encode(
          Body.fromObject({ messages: messages.map(toGenerated) })
        ).finish()
        expect(decodeMessages(generated, messages.length)).toEqual(messages)
        expect(Buffer.from(encode(messages)).equals(generated)).toBe(true)
      })
    )
  })

  it('body: absent fields cost nothing', () => {
    expect(encode([{ suffix: '', payload: new Uint8Array(0) }])).toEqual(Uint8Array.of(0x0a, 0))
    expect(messageSize({ suffix: '', payload: new Uint8Array(0), priority: 0 })).toBe(2)
  })

  it('body: a suffix given as bytes is the same as one given as text', () => {
    const suffix = '/straße/αβγ'
    expect(encode([bare({ suffix, suffixBytes: Buffer.from(suffix) })])).toEqual(
      encode([bare({ suffix })])
    )
  })

  it('body: a message over the limit changes nothing', () => {
    const builder = new BodyBuilder()
    const size = messageSize(bare())
    expect(builder.add(bare(), size)).toBe(true)
    expect(builder.add(bare(), 2 * size - 1)).toBe(false)
    expect([builder.size, builder.count]).toEqual([size, 1])
    expect(builder.add(bare(), 2 * size)).toBe(true)
    expect(decodeMessages(builder.finish(), 2)).toHaveLength(2)
  })

  it('body: a builder is empty again after finish', () => {
    const builder = new BodyBuilder()
    builder.add(bare())
    builder.finish()
    expect([builder.size, builder.count, builder.finish().length]).toEqual([0, 0, 0])
  })

  it.each([
    ['ERR_PAYLOAD_TOO_LARGE', bare({ payload: new Uint8Array(LIMITS.payloadBytes + 1) })],
    ['ERR_HEADERS_TOO_LARGE', bare({ headers: { a: 'x'.repeat(LIMITS.headersBytes) } })],
    ['ERR_OPTIONS', bare({ key: 'ü'.repeat(LIMITS.fieldBytes / 2 + 1) })],
    ['ERR_OPTIONS', bare({ contentType: 'x'.repeat(LIMITS.fieldBytes + 1) })],
    ['ERR_OPTIONS', bare({ contentType: 'ü'.repeat(LIMITS.fieldBytes / 2 + 1) })],
    ['ERR_OPTIONS', bare({ id: 'x'.repeat(LIMITS.fieldBytes + 1) })],
    ['ERR_OPTIONS', bare({ priority: 10 })],
    ['ERR_OPTIONS', bare({ priority: 1.5 })],
    ['ERR_OPTIONS', bare({ ttlMs: -1 })],
    ['ERR_OPTIONS', bare({ deliverAt: Number.NaN })]
  ])('body: a message beyond a limit is refused with %s, and nothing is added', (code, fields) => {
    const builder = new BodyBuilder()
    builder.add(bare())
    const { size } = builder
    expect(() => builder.add(fields)).toThrow(expect.objectContaining({ code }))
    expect([builder.size, builder.count]).toEqual([size, 1])
  })

  it('body: the largest message of all limits together fits one record', () => {
    const full = bare({
      payload: new Uint8Array(LIMITS.payloadBytes),
      headers: { n: 'x'.repeat(LIMITS.headersBytes - 1) },
      key: 'x'.repeat(LIMITS.fieldBytes),
      id: 'x'.repeat(LIMITS.fieldBytes),
      contentType: 'x'.repeat(LIMITS.fieldBytes),
      replyTo: 'x'.repeat(LIMITS.fieldBytes)
    })
    expect(messageSize(full)).toBeLessThan(LIMITS.pushBytes - LIMITS.headBytes)
    expect(decodeMessages(encode([full]), 1)).toHaveLength(1)
  })

  it('body: a header named __proto__ is a header and no more', () => {
    const headers = JSON.parse('{"__proto__":"x","a":"b"}') as Record<string, string>
    const decoded = decodeMessages(encode([bare({ headers })]), 1)[0]?.headers as object
    expect(Object.keys(decoded)).toEqual(['__proto__', 'a'])
    expect(Object.getPrototypeOf(decoded)).toBe(null)
    expect(({} as Record<string, unknown>)['a']).toBe(undefined)
  })

  it('body: payloads are views of the body, as plain byte arrays', () => {
    const body = Buffer.from(encode([bare()]))
    const payload = decodeMessages(body, 1)[0]?.payload as Uint8Array
    expect(Buffer.isBuffer(payload)).toBe(false)
    expect(payload.buffer).toBe(body.buffer)
  })

  it('body: a reader takes some messages and passes over others', () => {
    const body = encode(['/a', '/b', '/c'].map((suffix) => bare({ suffix })))
    const reader = new BodyReader(body)
    expect(reader.check()).toBe(true)
    expect(reader.next()?.suffix).toBe('/b')
    expect(reader.next()?.suffix).toBe('/c')
    expect(reader.next()).toBe(undefined)
    expect(reader.check()).toBe(false)
  })

  it('body: unknown fields of later versions are passed over', () => {
    const later = Buffer.concat([
      Buffer.from([0x0a, 22]),
      Buffer.from([0x0a, 2, 0x2f, 0x61, 0x12, 1, 9]), // suffix, payload
      Buffer.from([0x58, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), // 11: 2^64 - 1
      Buffer.from([0x62, 2, 1, 2]), // 12: bytes
      Buffer.from([0x10, 1]), // Body 2: varint
      Buffer.from([0x1d, 1, 2, 3, 4]), // Body 3: fixed32
      Buffer.from([0x21, 1, 2, 3, 4, 5, 6, 7, 8]) // Body 4: fixed64
    ])
    expect(decodeMessages(later, 1)).toEqual([
      expect.objectContaining({ suffix: '/a', payload: Uint8Array.of(9) })
    ])
  })

  it.each([
    ['count', 'a message less', encode([bare()]), 2],
    ['count', 'a message more', encode([bare(), bare()]), 1],
    ['truncated', 'a message beyond the end', Uint8Array.of(0x0a, 5, 1), 1],
    [
      'truncated',
      'a length of 2^52',
      Uint8Array.of(0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 8),
      1
    ],
    [
      'varint',
      'a length of 2^63',
      Uint8Array.of(0x0a, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1),
      1
    ],
    ['varint', 'a length without end', new Uint8Array(40).fill(0xff).fill(0x0a, 0, 1), 1],
    ['field', 'field number 0', Uint8Array.of(0x02, 0), 1],
    ['field', 'a message that is a number', Uint8Array.of(0x08, 1), 1],
    ['field', 'a payload that is a number', Uint8Array.of(0x0a, 2, 0x10, 1), 1],
    ['field', 'a TTL that is a text', Uint8Array.of(0x0a, 3, 0x32, 1, 65), 1],
    ['field', 'a group', Uint8Array.of(0x0a, 1, 0x5b), 1],
    [
      'truncated',
      'a payload beyond its message',
      Uint8Array.of(0x0a, 3, 0x12, 9, 1, 0, 0, 0, 0, 0, 0),
      1
    ],
    [
      'truncated',
      'a header beyond its message',
      Uint8Array.of(0x0a, 3, 0x2a, 9, 1, 0, 0, 0, 0, 0, 0),
      1
    ],
    ['utf8', 'a key that is not UTF-8', Uint8Array.of(0x0a, 4, 0x22, 2, 0xc3, 0x28), 1],
    [
      'utf8',
      'a suffix that is half a surrogate',
      Uint8Array.of(0x0a, 6, 0x0a, 4, 0x2f, 0xed, 0xa0, 0x80),
      1
    ],
    ['topic', 'a suffix without its slash', Uint8Array.of(0x0a, 3, 0x0a, 1, 0x61), 1],
    ['topic', 'a wildcard in the suffix', Uint8Array.of(0x0a, 4, 0x0a, 2, 0x2f, 0x23), 1],
    ['topic', 'NUL in the suffix', Uint8Array.of(0x0a, 4, 0x0a, 2, 0x2f, 0), 1],
    ['topic', 'too many levels', Uint8Array.of(0x0a, 17, 0x0a, 15, ...Buffer.alloc(15, 0x2f)), 1],
    ['limit', 'priority 10', Uint8Array.of(0x0a, 2, 0x38, 10), 1],
    [
      'limit',
      'a long key',
      Uint8Array.of(0x0a, 0x84, 8, 0x22, 0x81, 8, ...Buffer.alloc(1025, 65)),
      1
    ]
  ] as const)('body: refused as %s: %s', (reason, _name, bytes, count) => {
    expect(() => decodeMessages(bytes, count)).toThrow(
      expect.objectContaining({ code: 'ERR_RECORD', details: { reason } })
    )
  })

  it('body: headers beyond their limit are refused', () => {
    const pair = Buffer.concat([
      Buffer.from([0x2a, 0x82, 0x40, 0x12, 0xff, 0x3f]),
      Buffer.alloc(8191, 65)
    ])
    const two = Buffer.concat([pair, Buffer.from([0x2a, 5, 0x0a, 3, 65, 65, 65])])
    const body = Buffer.concat([Buffer.from([0x0a, 0x8c, 0x40]), two])
    expect(two.length).toBe(0x40 * 128 + 12)
    expect(() => decodeMessages(body, 1)).toThrow(
      expect.objectContaining({ details: { reason: 'limit' } })
    )
  })

  it('body: any bytes are decoded or refused with ERR_RECORD', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(fc.array(message, { minLength: 1, maxLength: 3 }), fc.nat(), fc.nat({ max: 255 }))
        .map(([messages, at, byte]) => {
          const bytes = encode(messages)
          bytes[at % bytes.length] = byte
          return bytes
        })
    )
    fc.assert(
      fc.property(anything, fc.integer({ min: 0, max: 4 }), (bytes, count) => {
        const messages = accepted(() => decodeMessages(bytes, count))
        expect(messages?.length ?? count).toBe(count)
        // The check that decodes nothing comes to the same verdict.
        const checked = accepted(() => {
          checkMessages(bytes, count)
          return true
        })
        expect(checked === true).toBe(messages !== undefined)
      }),
      { numRuns: 2000 }
    )
  })

  it('body: a check without decoding agrees on the count', () => {
    const body = encode([bare(), bare()])
    expect(() => checkMessages(body, 2)).not.toThrow()
    expect(() => checkMessages(body, 3)).toThrow(
      expect.objectContaining({ details: { reason: 'count' } })
    )
  })
})
