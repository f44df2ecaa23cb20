import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isSkeinError } from '../../src/core/errors.ts'
import { LIMITS, MIB } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { FrameStream, Transport } from '../../src/mesh/contract.ts'
import type { IncomingStream } from '../../src/streams/contract.ts'
import {
  decodeFrame,
  encodeData,
  encodeFrame,
  STREAM_PROTOCOL,
  type StreamFrame
} from '../../src/streams/stream-frames.ts'
import { Streams } from '../../src/streams/streams.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'
import { memoryNet, type Net, until } from '../mesh/harness.ts'
import { readAll } from './streams-suite.ts'

const OPEN = encodeFrame({ kind: 'open', name: 'target', metadata: {}, window: MIB })
const END = encodeFrame({ kind: 'end' })
const piece = (bytes: number): Uint8Array => encodeData(new Uint8Array(bytes))

describe('streams, a hostile peer', () => {
  let net: Net
  let hostile: Transport
  let victim: Transport
  let streams: Streams
  let clock: ManualClock
  let opened: IncomingStream[]

  beforeEach(async () => {
    net = memoryNet()
    ;[hostile, victim] = (await net.create(2)) as [Transport, Transport]
    clock = new ManualClock()
    streams = new Streams(
      { transport: victim, clock, random: seededRandom(1), logger: silentLogger },
      { resolve: (peer) => peer }
    )
    opened = []
    streams.handle('target', (stream) => {
      opened.push(stream)
      return new Promise((end) => stream.signal.addEventListener('abort', () => end()))
    })
    await until('connected', () =>
      [hostile, victim].every((one) => one.peers().some(({ connected }) => connected))
    )
  })
  afterEach(async () => {
    const stopping = streams.stop()
    await clock.advance(LIMITS.streamLingerMs)
    await stopping
    await net.stop()
  })

  const speak = async (...frames: Uint8Array[]): Promise<FrameStream> => {
    const stream = await hostile.open(victim.self.id, STREAM_PROTOCOL)
    for (const frame of frames) await stream.send(frame)
    return stream
  }
  /** What the victim says until it ends the stream. */
  const heard = async (stream: FrameStream): Promise<StreamFrame[]> => {
    const heardFrames: StreamFrame[] = []
    const reading = (async () => {
      for await (const frame of stream.frames) heardFrames.push(decodeFrame(frame))
    })()
    const [outcome] = await Promise.allSettled([reading])
    if (outcome.status === 'rejected' && !isSkeinError(outcome.reason, 'ERR_STREAM')) {
      throw outcome.reason
    }
    return heardFrames
  }
  const isBlamed = (): boolean => victim.score(hostile.self.id) < 0

  it.each([
    ['garbage', [Uint8Array.of(255, 255, 255)]],
    ['an empty frame', [new Uint8Array(0)]],
    ['data', [piece(10)]],
    ['an acceptance', [encodeFrame({ kind: 'accept', window: MIB })]]
  ])('that begins with %s is cut off and blamed', async (_, frames) => {
    await heard(await speak(...frames))
    await until('blamed', isBlamed)
    expect(opened).toEqual([])
  })

  it.each([
    ['more data than was granted', Array.from({ length: 17 }, () => piece(64 * 1024))],
    ['more small pieces than fit', Array.from({ length: 4097 }, () => piece(1))],
    ['data after the end', [END, piece(1)]],
    ['two ends', [END, END]],
    ['a second opening', [OPEN]],
    ['garbage', [piece(3), Uint8Array.of(1, 2, 3)]]
  ])('that sends %s is told, cut off and blamed', async (_, frames) => {
    const stream = await speak(OPEN, ...frames)
    const answers = await heard(stream)
    expect(answers[0]).toMatchObject({ kind: 'accept' })
    expect(answers.at(-1)).toMatchObject({ kind: 'abort', reason: { code: 'ERR_RECORD' } })
    await until('blamed', isBlamed)
    await expect(opened[0]?.closed).rejects.toMatchObject({ code: 'ERR_STREAM' })
  })

  it('is sent no more than it granted, whatever it does not read', async () => {
    const stream = await speak(
      encodeFrame({ kind: 'open', name: 'target', metadata: {}, window: 64 * 1024 })
    )
    await until('open', () => opened.length === 1)
    let written = 0
    const writing = (async () => {
      const writer = opened[0]?.writable.getWriter()
      for (; ; written++) await writer?.write(new Uint8Array(1024))
    })()
    writing.catch(() => undefined)
    let got = 0
    for await (const frame of stream.frames) {
      const read = decodeFrame(frame)
      if (read.kind === 'data') got += read.bytes.length
      if (got === 64 * 1024) break
    }
    expect(written).toBeLessThanOrEqual(64)
    stream.abort(new Error('done'))
    await expect(writing).rejects.toMatchObject({ code: 'ERR_STREAM' })
  })

  it('that opens a stream and says nothing is cut off in time', async () => {
    const stream = await speak()
    const silence = heard(stream)
    await until('waited for', () => clock.pending > 0)
    await clock.advance(LIMITS.streamOpenMs)
    expect(await silence).toEqual([])
    expect(isBlamed()).toBe(false)
  })

  it('that does not close what is over is cut off in time, and holds no place', async () => {
    const stream = await speak(OPEN, END)
    await until('open', () => opened.length === 1)
    await opened[0]?.writable.close()
    await opened[0]?.closed
    const rest = heard(stream)
    await clock.advance(LIMITS.streamLingerMs)
    await rest
    await expect(stream.send(END)).rejects.toMatchObject({ code: 'ERR_STREAM' })
    expect(await readAll((opened[0] as IncomingStream).readable)).toHaveLength(0)
  })

  it('that answers an opening with nonsense is blamed, and the opener told', async () => {
    hostile.handle(STREAM_PROTOCOL, (stream) => void stream.send(piece(5)))
    await expect(streams.open('x', { peer: hostile.self.id })).rejects.toMatchObject({
      code: 'ERR_STREAM'
    })
    expect(isBlamed()).toBe(true)
  })

  it('that answers an opening with nothing is not waited for', async () => {
    hostile.handle(STREAM_PROTOCOL, () => undefined)
    const opening = streams.open('x', { peer: hostile.self.id })
    await until('waited for', () => clock.pending > 0)
    opening.catch(() => undefined)
    await clock.advance(LIMITS.streamOpenMs)
    await expect(opening).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    const controller = new AbortController()
    const aborted = streams.open('x', { peer: hostile.self.id, signal: controller.signal })
    await until('waited for', () => clock.pending > 0)
    controller.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })

  it('that opens more streams than it may gets ERR_BUSY, others are not concerned', async () => {
    const all = await Promise.all(
      Array.from({ length: LIMITS.streamsPerPeer + 1 }, () => speak(OPEN))
    )
    const answers = await Promise.all(
      all.map(async (stream) => {
        for await (const frame of stream.frames) return decodeFrame(frame)
        return undefined
      })
    )
    expect(answers.filter((answer) => answer?.kind === 'accept')).toHaveLength(
      LIMITS.streamsPerPeer
    )
    expect(answers.filter((answer) => answer?.kind === 'abort')).toMatchObject([
      { reason: { code: 'ERR_BUSY' } }
    ])
  })
})
