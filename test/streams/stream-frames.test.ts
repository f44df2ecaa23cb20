import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSkeinError, SkeinError } from '../../src/core/errors.ts'
import { LIMITS, MIB } from '../../src/core/limits.ts'
import {
  decodeFrame,
  encodeData,
  encodeFrame,
  encodeMetadata,
  errorOf,
  isStreamName,
  reasonOf,
  type StreamFrame
} from '../../src/streams/stream-frames.ts'
import { ProtoWriter } from '../../src/wire/proto-writer.ts'

const window = fc.integer({ min: LIMITS.streamPieceBytes, max: 2 ** 30 })
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/).filter(isStreamName)
const metadata = fc
  .dictionary(fc.string({ maxLength: 20 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 })
  .map((value) => JSON.parse(JSON.stringify(value)) as Record<string, unknown>)
  .filter((value) => Buffer.byteLength(JSON.stringify(value)) <= LIMITS.streamMetadataBytes)
const reason = fc.record({
  code: fc.constantFrom('', 'ERR_ABORTED', 'ERR_STOPPED', 'E_OTHER'),
  message: fc.string({ unit: 'grapheme', maxLength: 60 })
})
const control = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), name, metadata, window }),
  fc.record({ kind: fc.constant('accept' as const), window }),
  fc.record({ kind: fc.constant('credit' as const), bytes: fc.nat(2 ** 30) }),
  fc.record({ kind: fc.constant('end' as const) }),
  fc.record({ kind: fc.constantFrom('reset' as const, 'stop' as const, 'abort' as const), reason })
)

/** A frame of the field with that number. */
const framed = (field: number, fields: ProtoWriter): Uint8Array =>
  new ProtoWriter().message(field, fields).finish()
const opening = (): ProtoWriter => new ProtoWriter().text(1, 'files').number(3, MIB)

/** What a call throws other than ERR_RECORD. */
function faultOf(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return isSkeinError(error, 'ERR_RECORD') ? undefined : error
  }
  return undefined
}

describe('stream frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(control, (frame) => {
        expect(decodeFrame(encodeFrame(frame))).toEqual(frame)
      })
    )
  })

  it('hold a copy of the data', () => {
    const bytes = new Uint8Array(LIMITS.streamPieceBytes).fill(7)
    const frame = encodeData(bytes)
    bytes.fill(1)
    const read = decodeFrame(frame) as Extract<StreamFrame, { kind: 'data' }>
    expect(read.bytes.length).toBe(LIMITS.streamPieceBytes)
    expect(read.bytes.every((byte) => byte === 7)).toBe(true)
  })

  it('of any bytes are read or refused with ERR_RECORD', () => {
    const mutated = fc
      .tuple(control, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat(8))
      .map(([frame, changes, cut]) => {
        const bytes = encodeFrame(frame).slice()
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return bytes.subarray(0, Math.max(0, bytes.length - cut))
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
        expect(faultOf(() => decodeFrame(bytes))).toBeUndefined()
      }),
      { numRuns: 2000 }
    )
  })

  it.each([
    ['of an unknown kind', framed(9, new ProtoWriter())],
    [
      'with two fields',
      Buffer.concat([encodeFrame({ kind: 'end' }), encodeFrame({ kind: 'end' })])
    ],
    ['with no data', framed(3, new ProtoWriter())],
    ['with too much data', encodeData(new Uint8Array(LIMITS.streamPieceBytes + 1))],
    ['that grant too much', framed(4, new ProtoWriter().number(1, 2 ** 30 + 1))],
    ['with a window that holds no piece', framed(2, new ProtoWriter().number(1, 1024))],
    ['without a window', framed(2, new ProtoWriter())],
    ['without a name', framed(1, new ProtoWriter().number(3, MIB))],
    ['with a name of control characters', framed(1, opening().text(1, 'a\u001b[2J'))],
    ['with a name that is too long', framed(1, opening().text(1, 'a'.repeat(65)))],
    ['with metadata that is no JSON', framed(1, opening().text(2, '{'))],
    ['with metadata that is no object', framed(1, opening().text(2, '[1]'))],
    ['with null for metadata', framed(1, opening().text(2, 'null'))],
    ['with too much metadata', framed(1, opening().text(2, `{"a":"${'b'.repeat(4096)}"}`))]
  ])('%s are refused', (_, bytes) => {
    expect(() => decodeFrame(bytes)).toThrow(expect.objectContaining({ code: 'ERR_RECORD' }))
  })

  it('carry no fields that are not known, and pass over those', () => {
    const frame = framed(1, opening().text(9, 'later'))
    expect(decodeFrame(frame)).toEqual({ kind: 'open', name: 'files', metadata: {}, window: MIB })
  })
})

describe('stream metadata', () => {
  it('is refused where it is no JSON or too large', () => {
    const loop: Record<string, unknown> = {}
    loop['self'] = loop
    for (const wrong of [loop, { n: 1n }, { text: 'x'.repeat(4096) }]) {
      expect(() => encodeMetadata(wrong)).toThrow(expect.objectContaining({ code: 'ERR_OPTIONS' }))
    }
  })
})

describe('stream reasons', () => {
  const across = (given: unknown): SkeinError => errorOf(reasonOf(given), 'peer')

  it('keep the code of a SkeinError', () => {
    const error = across(new SkeinError('ERR_STORE_FULL', 'no room', { details: { secret: 1 } }))
    expect(error).toMatchObject({
      code: 'ERR_STORE_FULL',
      message: 'no room',
      details: { peer: 'peer' }
    })
  })

  it('are ERR_ABORTED for anything else, with its text', () => {
    expect(across(new Error('enough'))).toMatchObject({ code: 'ERR_ABORTED', message: 'enough' })
    expect(across('enough')).toMatchObject({ code: 'ERR_ABORTED', message: 'enough' })
    expect(across(undefined)).toMatchObject({ code: 'ERR_ABORTED' })
    expect(errorOf({ code: 'toString', message: '' }, 'peer').code).toBe('ERR_ABORTED')
  })

  it('always fit their frame', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 200, maxLength: 400 }), (text) => {
        const frame = encodeFrame({ kind: 'abort', reason: reasonOf(new Error(text)) })
        expect(decodeFrame(frame).kind).toBe('abort')
      }),
      { numRuns: 30 }
    )
  })
})
