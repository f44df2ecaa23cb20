import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketOf, bucketsFor, logDigests } from '../../src/wire/log-digest.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { ProtoWriter } from '../../src/wire/proto-writer.ts'
import { decodeSyncFrame, encodeSyncFrame, type SyncFrame } from '../../src/wire/sync-frames.ts'
import type { VectorEntry } from '../../src/wire/vector.ts'

const peerId = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(peerIdFromPublicKey)
const session = fc
  .bigInt({ min: 1n, max: 2n ** 64n - 1n })
  .map((value) => value.toString(16).padStart(16, '0'))
const channel = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const bytes = fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value))

const entry: fc.Arbitrary<VectorEntry> = fc
  .record({
    publisher: peerId,
    session,
    floor: fc.integer({ min: 1, max: 1e6 }),
    length: fc.nat(1e9)
  })
  .map(({ publisher, session: name, floor, length }) => ({
    publisher,
    session: name,
    held: { floor, head: floor - 1 + length, islands: [] }
  }))

const frame: fc.Arbitrary<SyncFrame> = fc.oneof(
  fc.record({
    kind: fc.constant('ask' as const),
    channels: fc.array(
      fc.record({
        channel,
        digests: fc.constantFrom(1, 2, 256).map((count) => Buffer.alloc(count * 8, 5))
      })
    )
  }),
  fc.record({
    kind: fc.constant('heads' as const),
    channels: fc.array(
      fc.record({
        channel,
        logs: fc.uniqueArray(entry, { maxLength: 1 }),
        receipts: fc.array(bytes)
      })
    ),
    last: fc.boolean()
  }),
  fc.record({
    kind: fc.constant('pull' as const),
    id: number,
    channel,
    publisher: peerId,
    session,
    from: number,
    to: number,
    maxBytes: number,
    maxAgeMs: number,
    backwards: fc.boolean(),
    awaited: fc.boolean()
  }),
  fc.record({
    kind: fc.constant('start' as const),
    id: number,
    from: number,
    exact: fc.boolean(),
    floor: number,
    head: number
  }),
  fc.record({
    kind: fc.constant('records' as const),
    id: number,
    records: fc.array(fc.record({ ageMs: number, bytes, headOnly: fc.boolean() }))
  }),
  fc.record({ kind: fc.constant('end' as const), id: number }),
  fc.record({ kind: fc.constant('receipts' as const), receipts: fc.array(bytes) })
)

describe('sync frames', () => {
  it('come back as they were written', () => {
    fc.assert(
      fc.property(frame, (written) => {
        expect(decodeSyncFrame(encodeSyncFrame(written))).toEqual(written)
      })
    )
  })

  it('throw ERR_RECORD and nothing else for bytes of anybody', () => {
    fc.assert(
      fc.property(frame, fc.nat(), fc.nat(255), (written, place, value) => {
        const changed = Buffer.from(encodeSyncFrame(written))
        changed[place % changed.length] = value
        let code = 'ERR_RECORD'
        try {
          decodeSyncFrame(changed)
        } catch (error) {
          code = (error as { code: string }).code
        }
        expect(code).toBe('ERR_RECORD')
      })
    )
  })

  it('refuse digests that are no power of two of them', () => {
    const asked = new ProtoWriter().text(1, 'a').bytes(2, Buffer.alloc(24))
    const ask = new ProtoWriter().message(1, new ProtoWriter().message(1, asked)).finish()
    expect(() => decodeSyncFrame(ask)).toThrow(/power of two/)
  })
})

describe('log digests', () => {
  const logs = fc.uniqueArray(entry, {
    maxLength: 40,
    selector: ({ publisher, session: name }) => publisher + name
  })

  it('do not depend on order or floors', () => {
    fc.assert(
      fc.property(logs, fc.constantFrom(1, 4, 64), (entries, buckets) => {
        const held = entries.filter(({ held: { floor, head } }) => head > floor)
        const raised = held
          .map((one) => ({ ...one, held: { ...one.held, floor: one.held.floor + 1 } }))
          .toReversed()
        expect(logDigests(raised, buckets)).toEqual(logDigests(held, buckets))
      })
    )
  })

  it('differ in the bucket of a log that grew, and only there', () => {
    fc.assert(
      fc.property(logs, entry, fc.integer({ min: 1, max: 1e6 }), (entries, one, more) => {
        const buckets = bucketsFor(1000)
        const grown = { ...one, held: { ...one.held, head: one.held.head + more } }
        const before = Buffer.from(logDigests([...entries, one], buckets))
        const after = Buffer.from(logDigests([...entries, grown], buckets))
        const at = bucketOf(one.publisher, one.session, buckets) * 8
        expect(before.subarray(at, at + 8)).not.toEqual(after.subarray(at, at + 8))
        before.fill(0, at, at + 8)
        after.fill(0, at, at + 8)
        expect(before).toEqual(after)
      })
    )
  })
})
