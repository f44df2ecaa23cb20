import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import {
  decodeRequestFrames,
  encodeRequestFrame,
  type RequestFrame
} from '../../src/wire/request-frames.ts'
import { isServiceName } from '../../src/wire/service-name.ts'

const number = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
const content = fc.record({
  payload: fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value)),
  contentType: fc.option(text, { nil: undefined }),
  headers: fc.option(fc.dictionary(text, text, { minKeys: 1, maxKeys: 4 }), { nil: undefined })
})

const frame: fc.Arbitrary<RequestFrame> = fc.oneof(
  fc.record({
    kind: fc.constant('request' as const),
    id,
    call: fc.record({
      service: text.filter(isServiceName),
      content,
      timeoutMs: number,
      window: number
    })
  }),
  fc.record({ kind: fc.constant('cancel' as const), id }),
  fc.record({ kind: fc.constant('grant' as const), id, count: number }),
  fc.record({ kind: fc.constant('reply' as const), id, content, last: fc.boolean() }),
  fc.record({ kind: fc.constant('end' as const), id }),
  fc.record({
    kind: fc.constant('error' as const),
    id,
    code: fc.constantFrom('ERR_BUSY', 'OUT_OF_STOCK', ''),
    message: text,
    refused: fc.boolean()
  })
)

/** Headers without a prototype, as they are read. */
const plain = (frames: readonly RequestFrame[]): unknown =>
  JSON.parse(JSON.stringify(frames)) as unknown

describe('request frames', () => {
  it('come back as they were written, one behind the other', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), (written) => {
        const bytes = Buffer.concat(written.map(encodeRequestFrame))
        expect(plain(decodeRequestFrames(bytes))).toEqual(plain(written))
      })
    )
  })

  it('throw ERR_RECORD and nothing else for bytes of anybody', () => {
    fc.assert(
      fc.property(frame, fc.nat(), fc.nat(255), (written, place, value) => {
        const changed = Buffer.from(encodeRequestFrame(written))
        changed[place % changed.length] = value
        let code = 'ERR_RECORD'
        try {
          decodeRequestFrames(changed)
        } catch (error) {
          code = (error as { code: string }).code
        }
        expect(code).toBe('ERR_RECORD')
      })
    )
  })

  const request = (change: object): Uint8Array => {
    const body = { payload: new Uint8Array(), contentType: undefined, headers: undefined }
    return encodeRequestFrame({
      kind: 'request',
      id: 1,
      call: { service: 'x', timeoutMs: 1, window: 0, content: { ...body, ...change } }
    })
  }

  it.each([
    ['a payload above the limit', { payload: new Uint8Array(LIMITS.payloadBytes + 1) }],
    ['a content type above the limit', { contentType: 'x'.repeat(LIMITS.fieldBytes + 1) }],
    ['headers above the limit', { headers: { a: 'x'.repeat(5000), b: 'x'.repeat(5000) } }]
  ])('refuse %s', (_, change) => {
    expect(() => decodeRequestFrames(request(change))).toThrow(
      expect.objectContaining({ code: 'ERR_RECORD', details: { reason: 'limit' } })
    )
  })

  it.each(['', 'a/b', 'x'.repeat(65), 'a\u0007'])('refuse a request for %j', (service) => {
    const call = {
      service,
      timeoutMs: 1,
      window: 0,
      content: { payload: new Uint8Array(), contentType: undefined, headers: undefined }
    }
    const bytes = encodeRequestFrame({ kind: 'request', id: 1, call })
    expect(() => decodeRequestFrames(bytes)).toThrow(/names no service/)
  })

  it('refuse a frame without an id, and cut what a handler has to say', () => {
    expect(() => decodeRequestFrames(encodeRequestFrame({ kind: 'end', id: 0 }))).toThrow(/no id/)
    const [error] = decodeRequestFrames(
      encodeRequestFrame({
        kind: 'error',
        id: 1,
        code: 'C'.repeat(1000),
        message: '😀'.repeat(5000),
        refused: false
      })
    )
    expect(error).toMatchObject({ kind: 'error', code: expect.stringMatching(/^C{1,64}$/) })
  })
})
