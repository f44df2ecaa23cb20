import fc from 'fast-check'
import protobuf from 'protobufjs'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import {
  headOf,
  openHead,
  openRecord,
  sealRecord,
  sha256,
  verifyHead
} from '../../src/wire/sealed-record.ts'
import type { RecordDraft } from '../../src/wire/sealed-record.ts'
import type { RecordHeader } from '../../src/wire/record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { draft, signer } from './arbitraries.ts'

const schema = protobuf.loadSync(new URL('../../src/wire/record.proto', import.meta.url).pathname)
const Record = schema.lookupType('skein.v1.Record')
const Header = schema.lookupType('skein.v1.Header')

const SESSION = '0190000000000001'

function plain(fields: Partial<RecordDraft> = {}): RecordDraft {
  return {
    session: SESSION,
    channel: 'orders',
    first: 1,
    count: 1,
    previous: undefined,
    before: undefined,
    time: { ms: 1_700_000_000_000, counter: 3 },
    body: Uint8Array.of(0x0a, 0),
    ...fields
  }
}

const hash32 = new Uint8Array(32).fill(5)
const refused = (reason: string): unknown =>
  expect.objectContaining({ code: 'ERR_RECORD', details: { reason } })

/** Seals a header of the generated codec with a good signature, so that only its content can be wrong. */
function sealGenerated(fields: object, body: Uint8Array = Uint8Array.of(0x0a, 0)): Uint8Array {
  const header = Header.encode(
    Header.fromObject({
      version: 1,
      publisher: signer.publicKey,
      session: BigInt(`0x${SESSION}`).toString(),
      channel: 'orders',
      first: 1,
      count: 1,
      time: '111411200000000003',
      bodyLength: body.length,
      bodyHash: sha256(body),
      ...fields
    })
  ).finish()
  const signature = signer.sign(sha256(Buffer.concat([Buffer.from('skein/record/1'), header])))
  return Record.encode(Record.create({ header, signature, body })).finish()
}

describe('sealed record', () => {
  it('sealed record: what was sealed is opened, whole and as a head', () => {
    fc.assert(
      fc.property(draft, (fields) => {
        const sealed = sealRecord(fields, signer)
        const opened = openRecord(sealed.bytes)
        expect(plainHeader(opened.header)).toMatchObject({
          ...fieldsOf(fields),
          publisher: sealed.header.publisher,
          bodyLength: fields.body.length
        })
        expect(opened.headLength).toBe(sealed.headLength)
        expect(opened.digest.every((byte, index) => byte === sealed.digest[index])).toBe(true)
        expect(Buffer.compare(opened.body, fields.body)).toBe(0)
        const head = openHead(sealed.bytes.subarray(0, sealed.headLength))
        expect(head.header).toEqual(opened.header)
        expect(Buffer.compare(head.digest, sealed.digest)).toBe(0)
        expect(verifyHead(head)).toBe(true)
        expect(verifyHead(headOf(sealed))).toBe(true)
      }),
      { numRuns: 60 }
    )
  })

  it('sealed record: keeps no memory beside its own', () => {
    const { bytes } = sealRecord(plain(), signer)
    expect(bytes.buffer.byteLength).toBe(bytes.length)
  })

  it('sealed record: equals the generated codec, byte for byte', () => {
    fc.assert(
      fc.property(draft, (fields) => {
        const { bytes } = sealRecord(fields, signer)
        const record = Record.decode(bytes) as unknown as { header: Uint8Array; body: Uint8Array }
        const header = Header.decode(record.header)
        expect(Header.toObject(header, { longs: String, defaults: true })).toMatchObject({
          version: 1,
          session: BigInt(`0x${fields.session}`).toString(),
          time: (BigInt(fields.time.ms) * 65536n + BigInt(fields.time.counter)).toString(),
          first: String(fields.first),
          count: fields.count,
          bodyLength: fields.body.length
        })
        expect(Buffer.compare(Header.encode(header).finish(), record.header)).toBe(0)
        expect(
          Buffer.compare(
            Record.encode(Record.create(record as unknown as Record<string, unknown>)).finish(),
            bytes
          )
        ).toBe(0)
      }),
      { numRuns: 60 }
    )
  })

  it('sealed record: a header of the generated codec is accepted', () => {
    const { header } = openRecord(sealGenerated({}))
    expect(header).toMatchObject({ session: SESSION, channel: 'orders', first: 1, count: 1 })
    expect(header.time).toEqual({ ms: 1_700_000_000_000, counter: 3 })
  })

  it('sealed record: every truncation is refused', () => {
    const { bytes, headLength } = sealRecord(plain({ body: new Uint8Array(150).fill(1) }), signer)
    for (let length = 0; length < bytes.length; length++) {
      expect(() => openRecord(bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'ERR_RECORD' })
      )
      if (length === headLength) continue
      expect(() => openHead(bytes.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'ERR_RECORD' })
      )
    }
  })

  it('sealed record: every flip of a bit is refused', () => {
    const { bytes } = sealRecord(plain({ body: new Uint8Array(40).fill(1) }), signer)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Uint8Array.from(bytes)
      altered[bit >>> 3] = (altered[bit >>> 3] as number) ^ (1 << (bit & 7))
      expect(() => openRecord(altered), `bit ${bit}`).toThrow(
        expect.objectContaining({ code: 'ERR_RECORD' })
      )
    }
  })

  it('sealed record: any bytes are refused with ERR_RECORD', () => {
    const { bytes } = sealRecord(plain(), signer)
    const spliced = fc
      .tuple(fc.nat({ max: bytes.length - 1 }), fc.uint8Array({ minLength: 1, maxLength: 12 }))
      .map(([at, patch]) =>
        Buffer.concat([bytes.subarray(0, at), patch, bytes.subarray(at + patch.length)])
      )
      .filter((altered) => Buffer.compare(altered, bytes) !== 0)
    fc.assert(
      fc.property(fc.oneof(spliced, fc.uint8Array({ maxLength: 300 })), (altered) => {
        expect(() => openRecord(altered)).toThrow(expect.objectContaining({ code: 'ERR_RECORD' }))
        expect(() => openHead(altered)).toThrow(expect.objectContaining({ code: 'ERR_RECORD' }))
      }),
      { numRuns: 500 }
    )
  })

  it('sealed record: lengths that promise gigabytes allocate nothing', () => {
    const lengths = [0x7fff_ffff, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER]
    const before = process.memoryUsage()
    for (const length of lengths) {
      for (const tag of [0x0a, 0x12, 0x1a]) {
        for (let round = 0; round < 50; round++) {
          const bytes = Buffer.from([tag, ...varint(length), 1, 2, 3])
          expect(() => openRecord(bytes)).toThrow(expect.objectContaining({ code: 'ERR_RECORD' }))
        }
      }
    }
    const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers
    expect(grown).toBeLessThan(16 * 1024 * 1024)
  })

  it('sealed record: a record or head above its limit is refused unread', () => {
    expect(() => openRecord(new Uint8Array(LIMITS.pushBytes + 1))).toThrow(
      refused('limit') as Error
    )
    expect(() => openHead(new Uint8Array(LIMITS.headBytes + 1))).toThrow(refused('limit') as Error)
    const body = new Uint8Array(LIMITS.pushBytes)
    expect(() => sealRecord(plain({ body }), signer)).toThrow(refused('limit') as Error)
  })

  it('sealed record: a relay cannot lengthen, reorder or repeat its parts', () => {
    const { bytes, headLength } = sealRecord(plain(), signer)
    const headerLength = headLength - 66
    const header = bytes.subarray(0, headerLength)
    const signature = bytes.subarray(headerLength, headLength)
    const body = bytes.subarray(headLength)
    const attempts: readonly (readonly [string, readonly Uint8Array[]])[] = [
      ['field', [header, signature, body, body]],
      ['field', [header, signature, body, Uint8Array.of(0x20, 0)]],
      ['field', [signature, header, body]],
      ['field', [header, body, signature]],
      ['field', [header, header, signature, body]],
      ['field', [Uint8Array.of(0x20, 0), header, signature, body]],
      [
        'varint',
        [Uint8Array.of(0x0a, (header[1] as number) | 0x80, 0), header.subarray(2), signature, body]
      ],
      ['varint', [header, signature, Uint8Array.of(0x1a, 0x82, 0), body.subarray(2)]]
    ]
    expect(header.length).toBeLessThan(0x80)
    for (const [reason, parts] of attempts) {
      expect(() => openRecord(Buffer.concat(parts))).toThrow(refused(reason) as Error)
    }
    expect(() => openHead(bytes)).toThrow(refused('field') as Error)
  })

  it('sealed record: another publisher in the header is refused', () => {
    const other = createSigner(new Uint8Array(32).fill(8))
    expect(() => openRecord(sealGenerated({ publisher: other.publicKey }))).toThrow(
      refused('signature') as Error
    )
  })

  it('sealed record: a digest verified before may skip the signature, nothing else', () => {
    const sealed = sealRecord(plain(), signer)
    const altered = Uint8Array.from(sealed.bytes)
    altered[sealed.headLength - 1] = (altered[sealed.headLength - 1] as number) ^ 1
    expect(verifyHead(openRecord(altered, { verify: false }))).toBe(false)
    expect(() => openRecord(altered)).toThrow(refused('signature') as Error)
    const body = Uint8Array.from(sealed.bytes)
    body[body.length - 1] = 1
    expect(() => openRecord(body, { verify: false })).toThrow(refused('hash') as Error)
  })

  it.each([
    ['version', 'version 2', { version: 2 }],
    ['version', 'version 0', { version: 0 }],
    ['field', 'a short key', { publisher: new Uint8Array(31) }],
    ['field', 'session 0', { session: 0 }],
    ['topic', 'a channel of two levels', { channel: 'a/b' }],
    ['topic', 'a channel with a wildcard', { channel: '+' }],
    ['topic', 'a group without a name', { channel: '$group' }],
    ['count', 'first 0', { first: 0 }],
    ['varint', 'first 2^63', { first: '9223372036854775808' }],
    ['count', 'an unsafe last', { first: '9007199254740991', previous: hash32 }],
    ['count', 'count 0', { count: 0 }],
    ['count', 'more messages than a batch has', { count: LIMITS.batchMessages + 1 }],
    ['count', 'more messages than the body can hold', { count: 2 }],
    ['field', 'previous in a first record', { previous: hash32 }],
    ['field', 'no previous in a later record', { first: 2 }],
    ['field', 'a short previous', { first: 2, previous: new Uint8Array(20) }],
    [
      'field',
      'before in a later record',
      { first: 2, previous: hash32, before: { session: 1, sequence: 1, digest: hash32 } }
    ],
    ['field', 'before without a session', { before: { sequence: 1, digest: hash32 } }],
    [
      'field',
      'before that is not before',
      { before: { session: '18446744073709551615', sequence: 1, digest: hash32 } }
    ],
    ['count', 'before sequence 0', { before: { session: 1, digest: hash32 } }],
    ['field', 'before without a digest', { before: { session: 1, sequence: 1 } }],
    ['limit', 'no body length', { bodyLength: 0 }],
    ['limit', 'a body length beyond a record', { bodyLength: LIMITS.pushBytes + 1 }],
    ['hash', 'another body length', { bodyLength: 3 }],
    ['hash', 'another body hash', { bodyHash: hash32 }],
    ['field', 'a short body hash', { bodyHash: new Uint8Array(20) }],
    ['field', 'compression', { compression: 1 }],
    ['field', 'an unknown flag', { flags: 4 }],
    ['field', 'a chained ephemeral record', { flags: 2, first: 2, previous: hash32 }]
  ])('sealed record: a signed header is refused as %s: %s', (reason, _name, fields) => {
    expect(() => openRecord(sealGenerated(fields))).toThrow(refused(reason) as Error)
  })

  it('sealed record: an ephemeral record has no chain', () => {
    const { bytes } = sealRecord(plain({ first: 9, flags: 2 }), signer)
    expect(openRecord(bytes).header).toMatchObject({ first: 9, flags: 2, previous: undefined })
  })

  it('sealed record: a draft that would be refused is not sealed', () => {
    expect(() => sealRecord(plain({ first: 2 }), signer)).toThrow(refused('field') as Error)
    expect(() => sealRecord(plain({ channel: 'a/b' }), signer)).toThrow(refused('topic') as Error)
    expect(() => sealRecord(plain({ count: 2 }), signer)).toThrow(refused('count') as Error)
    expect(() => sealRecord(plain({ time: { ms: 1.5, counter: 0 } }), signer)).toThrow(
      refused('field') as Error
    )
  })

  it('sealed record: unknown header fields of later versions are passed over', () => {
    const later = new protobuf.Type('Later').add(new protobuf.Field('added', 99, 'string'))
    const { header } = Record.decode(sealGenerated({})) as unknown as { header: Uint8Array }
    const longer = Buffer.concat([header, later.encode({ added: 'x' }).finish()])
    const signature = signer.sign(sha256(Buffer.concat([Buffer.from('skein/record/1'), longer])))
    const body = Uint8Array.of(0x0a, 0)
    const bytes = Record.encode(Record.create({ header: longer, signature, body })).finish()
    expect(openRecord(bytes).header.channel).toBe('orders')
  })
})

function fieldsOf({ body: _body, ...fields }: RecordDraft): object {
  return fields
}

/** The header with its bytes as plain arrays, which compare by content alone. */
function plainHeader(header: RecordHeader): object {
  const { previous, before } = header
  return {
    ...header,
    previous: previous && Uint8Array.from(previous),
    before: before && { ...before, digest: Uint8Array.from(before.digest) }
  }
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  return [...bytes, rest]
}
