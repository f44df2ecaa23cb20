import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { isSkeinError } from '../../src/core/errors.ts'
import { encodeControl, frameHeader, PushDecoder } from '../../src/mesh/push-codec.ts'
import type { PushFrame } from '../../src/mesh/push-codec.ts'

const MAX = 10_000

const u16 = fc.integer({ min: 0, max: 0xffff })
const channelName = fc.string({ maxLength: 60, unit: 'binary' })
const framed: fc.Arbitrary<{ bytes: Uint8Array; frame: PushFrame }> = fc.oneof(
  fc
    .record({ channel: u16, via: u16, bytes: fc.uint8Array({ maxLength: 3000 }) })
    .map(({ channel, via, bytes }) => {
      const headLength = bytes.length >> 1
      return {
        bytes: Buffer.concat([frameHeader(channel, via, headLength, bytes.length), bytes]),
        frame: { kind: 'frame' as const, channel, via, headLength, bytes }
      }
    }),
  fc
    .record({ index: u16, member: fc.boolean(), channel: channelName })
    .map(({ index, member, channel }) => ({
      bytes: encodeControl.channel(index, member, channel),
      frame: { kind: 'channel' as const, index, member, channel }
    })),
  fc.record({ via: u16, channel: channelName }).map(({ via, channel }) => ({
    bytes: encodeControl.prune(via, channel),
    frame: { kind: 'prune' as const, via, channel }
  })),
  channelName.map((channel) => ({
    bytes: encodeControl.unprune(channel),
    frame: { kind: 'unprune' as const, channel }
  })),
  fc
    .double({ noNaN: true })
    .map((time) => ({ bytes: encodeControl.ping(time), frame: { kind: 'ping' as const, time } })),
  fc
    .double({ noNaN: true })
    .map((time) => ({ bytes: encodeControl.pong(time), frame: { kind: 'pong' as const, time } })),
  fc
    .array(fc.record({ id: channelName, addresses: fc.array(channelName, { maxLength: 16 }) }), {
      maxLength: 5
    })
    .map((peers) => ({
      bytes: encodeControl.peers(peers),
      frame: { kind: 'peers' as const, peers }
    }))
)

describe('push codec', () => {
  it('push codec: what is written comes back, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(framed, { maxLength: 8 }),
        fc.array(fc.nat({ max: 400 }), { maxLength: 60 }),
        (all, cuts) => {
          const stream = Buffer.concat(all.map(({ bytes }) => bytes))
          const decoder = new PushDecoder(MAX)
          const got: PushFrame[] = []
          let at = 0
          for (const cut of [...cuts, stream.length]) {
            got.push(...decoder.push(new Uint8Array(stream.subarray(at, at + cut))))
            at += cut
          }
          expect(got).toEqual(all.map(({ frame }) => frame))
        }
      )
    )
  })

  it('push codec: arbitrary bytes are frames or ERR_STREAM, nothing else', () => {
    const outcome = (chunks: readonly Uint8Array[]): unknown => {
      const decoder = new PushDecoder(MAX)
      try {
        for (const chunk of chunks) Array.from(decoder.push(chunk))
        return 'frames'
      } catch (error) {
        return isSkeinError(error, 'ERR_STREAM') ? 'ERR_STREAM' : error
      }
    }
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
        expect(['frames', 'ERR_STREAM']).toContain(outcome(chunks))
      })
    )
  })

  it('push codec: a frame at the limit passes, one byte more does not', () => {
    const encode = (length: number): Uint8Array =>
      Buffer.concat([frameHeader(0, 0, 0, length), new Uint8Array(length)])
    const limit = 100_000
    expect([...new PushDecoder(limit).push(encode(limit))]).toHaveLength(1)
    expect(() => [...new PushDecoder(limit).push(encode(limit + 8))]).toThrow('100015 bytes')
  })

  it('push codec: a frame within one chunk is not copied', () => {
    const chunk = new Uint8Array(
      Buffer.concat([frameHeader(0, 0, 2, 5), Uint8Array.of(1, 2, 3, 4, 5)])
    )
    const [frame] = new PushDecoder(MAX).push(chunk)
    expect(frame?.kind === 'frame' && frame.bytes.buffer === chunk.buffer).toBe(true)
  })
})
