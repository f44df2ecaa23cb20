import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS, MIB } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Transport } from '../../src/mesh/contract.ts'
import type { ByteStream, IncomingStream } from '../../src/streams/contract.ts'
import { Streams } from '../../src/streams/streams.ts'
import { type Net, until } from '../mesh/harness.ts'

/** Streams over a transport; peers are named by their ids. */
function streamsOf(transport: Transport): Streams {
  return new Streams(
    { transport, clock: systemClock, random: seededRandom(1), logger: silentLogger },
    { resolve: (peer) => peer }
  )
}

/** Takes the next stream of a name; it lives until the returned function is called. */
function taken(streams: Streams, name: string): Promise<[IncomingStream, () => void]> {
  return new Promise((resolve) => {
    streams.handle(name, (stream) => new Promise<void>((end) => resolve([stream, end])))
  })
}

export async function readAll(readable: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of readable) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function write(stream: ByteStream, ...texts: string[]): Promise<void> {
  const writer = stream.writable.getWriter()
  for (const text of texts) await writer.write(Buffer.from(text))
  writer.releaseLock()
}

/** What byte streams do over every transport. */
export function streamsSuite(title: string, createNet: () => Net): void {
  describe(`streams, ${title}`, () => {
    let net: Net
    let transports: readonly Transport[]
    let a: Streams
    let b: Streams
    let peer: string

    beforeEach(async () => {
      net = createNet()
      transports = await net.create(2)
      ;[a, b] = transports.map(streamsOf) as [Streams, Streams]
      peer = transports[1]?.self.id as string
      await until('connected', () =>
        transports.every((one) => one.peers().some(({ connected }) => connected))
      )
    })
    afterEach(async () => {
      await Promise.all([a.stop(), b.stop()])
      await net.stop()
    })

    const pair = async (): Promise<[ByteStream, IncomingStream, () => void]> => {
      const far = taken(b, 'pair')
      const near = await a.open('pair', { peer })
      return [near, ...(await far)]
    }

    it('carry bytes and metadata both ways, and each direction ends by itself', async () => {
      const metadata = { name: 'a.bin', tags: ['x', 1, null], nested: { deep: true } }
      const far = taken(b, 'files')
      const near = await a.open('files', { peer, metadata })
      const [stream, end] = await far
      expect(stream).toMatchObject({ metadata, name: 'files', peer: transports[0]?.self.id })
      await write(near, 'hello ', 'you')
      await near.writable.close()
      expect(String(await readAll(stream.readable))).toBe('hello you')
      await write(stream, 'and you')
      await stream.writable.close()
      expect(String(await readAll(near.readable))).toBe('and you')
      await Promise.all([near.closed, stream.closed])
      end()
    })

    it('have one direction go on for as long as it likes after the other has ended', async () => {
      const [near, far] = await pair()
      await far.writable.close()
      expect(await readAll(near.readable)).toHaveLength(0)
      const all = readAll(far.readable)
      const writer = near.writable.getWriter()
      for (let i = 0; i < 40; i++) await writer.write(new Uint8Array(100_000).fill(i))
      await writer.close()
      expect((await all).length).toBe(4_000_000)
      await Promise.all([near.closed, far.closed])
    })

    it('carry every byte in order, whatever the sizes of the pieces', async () => {
      const [near, far] = await pair()
      const random = seededRandom(7)
      const [sent, got] = [createHash('sha256'), createHash('sha256')]
      const reading = (async () => {
        for await (const chunk of far.readable) got.update(chunk)
      })()
      const writer = near.writable.getWriter()
      const reused = new Uint8Array(300_000)
      for (let left = 8 * MIB; left > 0;) {
        const size = Math.min(left, random.int(3) === 0 ? random.int(300_000) : random.int(300))
        const chunk = reused.subarray(0, size)
        chunk.fill(random.int(256))
        chunk[size >> 1] = left & 255
        sent.update(chunk)
        // The same memory again and again: what was written belongs to the writer.
        await writer.write(chunk)
        left -= size
      }
      await writer.close()
      await reading
      expect(got.digest('hex')).toBe(sent.digest('hex'))
    })

    it('stop a writer at the window where nobody reads, and go on when somebody does', async () => {
      const [near, far] = await pair()
      const total = 64
      const size = 100_000
      let written = 0
      const writing = (async () => {
        const writer = near.writable.getWriter()
        for (; written < total; written++) await writer.write(new Uint8Array(size))
        await writer.close()
      })()
      const fits = Math.floor(LIMITS.streamWindowBytes / size)
      await until('the window is full', () => written === fits)
      // Frames keep their order: had one more been sent, it would be there before the answer.
      const reader = near.readable.getReader()
      for (const text of ['1', '2', '3']) {
        await write(far, text)
        await reader.read()
      }
      expect(written).toBe(fits)
      expect((await readAll(far.readable)).length).toBe(total * size)
      await writing
    })

    it('are told of an abort at once, though nobody reads and the window is full', async () => {
      const [near, far] = await pair()
      const writer = near.writable.getWriter()
      const writing = writer.write(new Uint8Array(4 * MIB)).catch((error: unknown) => error)
      const broken = new Promise((resolve) => far.signal.addEventListener('abort', resolve))
      near.abort(new SkeinError('ERR_STORE_FULL', 'no room here'))
      await broken
      const expected = { code: 'ERR_STORE_FULL', message: 'no room here' }
      await expect(far.readable.getReader().read()).rejects.toMatchObject(expected)
      await expect(write(far, 'x')).rejects.toMatchObject(expected)
      await expect(far.closed).rejects.toMatchObject(expected)
      await expect(near.closed).rejects.toMatchObject(expected)
      await expect(writing).resolves.toMatchObject(expected)
      await expect(near.readable.getReader().read()).rejects.toMatchObject(expected)
    })

    it('are aborted by the side that was opened to, with the text of any error', async () => {
      const [near, far] = await pair()
      await write(far, 'lost with the abort')
      far.abort(new Error('had enough'))
      const expected = { code: 'ERR_ABORTED', message: 'had enough' }
      await expect(near.closed).rejects.toMatchObject(expected)
      await expect(readAll(near.readable)).rejects.toMatchObject(expected)
      await expect(write(near, 'x')).rejects.toMatchObject(expected)
    })

    it('break in one direction only by its own abort', async () => {
      const [near, far] = await pair()
      await write(near, 'half of it')
      await near.writable.abort(new SkeinError('ERR_TIMEOUT', 'the file is stuck'))
      await expect(readAll(far.readable)).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
      await write(far, 'all the same')
      await far.writable.close()
      expect(String(await readAll(near.readable))).toBe('all the same')
      await expect(near.closed).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
      await expect(far.closed).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
    })

    it('let a reader go: its writer fails, the other direction goes on', async () => {
      const [near, far] = await pair()
      const writing = (async () => {
        const writer = near.writable.getWriter()
        for (;;) await writer.write(new Uint8Array(100_000))
      })()
      const reader = far.readable.getReader()
      await reader.read()
      await reader.cancel()
      await expect(writing).rejects.toMatchObject({ code: 'ERR_ABORTED' })
      await write(far, 'thanks')
      await far.writable.close()
      expect(String(await readAll(near.readable))).toBe('thanks')
      await Promise.all([near.closed, far.closed])
    })

    it('end with their handler: what it wrote comes, what it did not read is refused', async () => {
      b.handle('short', (stream) => {
        const writer = stream.writable.getWriter()
        for (let i = 0; i < 30; i++) void writer.write(new Uint8Array(100_000))
      })
      const near = await a.open('short', { peer })
      expect((await readAll(near.readable)).length).toBe(3_000_000)
      await near.closed.catch(() => undefined)
      await expect(write(near, 'x')).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    })

    it('are aborted with the error of their handler', async () => {
      b.handle('failing', () => Promise.reject(new SkeinError('ERR_PAYLOAD', 'not what I want')))
      const near = await a.open('failing', { peer })
      await expect(readAll(near.readable)).rejects.toMatchObject({
        code: 'ERR_PAYLOAD',
        message: 'not what I want'
      })
    })

    it('are not opened where nobody handles the name', async () => {
      await expect(a.open('nobody', { peer })).rejects.toMatchObject({ code: 'ERR_NO_HANDLER' })
      await expect(a.open('nobody')).rejects.toMatchObject({ code: 'ERR_NO_HANDLER' })
      const off = b.handle('somebody', () => undefined)
      await (await a.open('somebody', { peer })).closed.catch(() => undefined)
      off()
      await expect(a.open('somebody', { peer })).rejects.toMatchObject({ code: 'ERR_NO_HANDLER' })
    })

    it('go to any peer that handles the name, where none is said', async () => {
      const far = taken(b, 'anyone')
      const near = await a.open('anyone')
      expect(near.peer).toBe(peer)
      await far
    })

    it('are limited per peer, and one that has ended makes room', async () => {
      b.handle(
        'many',
        ({ signal }) => new Promise((end) => signal.addEventListener('abort', () => end()))
      )
      const open: ByteStream[] = []
      for (let i = 0; i < LIMITS.streamsPerPeer; i++) open.push(await a.open('many', { peer }))
      await expect(a.open('many', { peer })).rejects.toMatchObject({ code: 'ERR_BUSY' })
      open[0]?.abort()
      await until('room', () => open.length === LIMITS.streamsPerPeer)
      const again = async (): Promise<ByteStream> => {
        for (;;) {
          try {
            return await a.open('many', { peer })
          } catch (error) {
            if (!(error instanceof SkeinError && error.code === 'ERR_BUSY')) throw error
            await new Promise((resolve) => setImmediate(resolve))
          }
        }
      }
      await again()
    })

    it('are opened and aborted by a signal', async () => {
      await expect(a.open('x', { peer, signal: AbortSignal.abort() })).rejects.toMatchObject({
        code: 'ERR_ABORTED'
      })
      const far = taken(b, 'signal')
      const controller = new AbortController()
      const near = await a.open('signal', { peer, signal: controller.signal })
      const [stream] = await far
      controller.abort()
      await expect(near.closed).rejects.toMatchObject({ code: 'ERR_ABORTED' })
      await expect(stream.closed).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    })

    it('fail at both sides when the link is cut in mid-stream', async () => {
      const [near, far] = await pair()
      await write(near, 'one')
      const reader = far.readable.getReader()
      expect(String(Buffer.from((await reader.read()).value ?? []))).toBe('one')
      const pending = reader.read()
      pending.catch(() => undefined)
      const writing = (async () => {
        const writer = near.writable.getWriter()
        for (;;) await writer.write(new Uint8Array(100_000))
      })()
      writing.catch(() => undefined)
      net.cut()
      await expect(near.closed).rejects.toMatchObject({ code: 'ERR_STREAM' })
      await expect(far.closed).rejects.toMatchObject({ code: 'ERR_STREAM' })
      await expect(writing).rejects.toMatchObject({ code: 'ERR_STREAM' })
      await expect(
        (async () => {
          await pending
          for (;;) if ((await reader.read()).done) return
        })()
      ).rejects.toMatchObject({ code: 'ERR_STREAM' })
    })

    it('keep what came whole, though the link is cut before it is read', async () => {
      const [near, far] = await pair()
      await write(near, 'all ', 'of it')
      await near.writable.close()
      const reader = far.readable.getReader()
      expect(String(Buffer.from((await reader.read()).value ?? []))).toBe('all ')
      await write(far, 'an answer that says: your end is here')
      await near.readable.getReader().read()
      net.cut()
      await expect(far.closed).rejects.toMatchObject({ code: 'ERR_STREAM' })
      expect(String(Buffer.from((await reader.read()).value ?? []))).toBe('of it')
      expect((await reader.read()).done).toBe(true)
    })

    it('are aborted when their node stops, and none is opened any more', async () => {
      const [near, far] = await pair()
      await b.stop()
      await expect(far.closed).rejects.toMatchObject({ code: 'ERR_STOPPED' })
      await expect(near.closed).rejects.toMatchObject({ code: 'ERR_STOPPED' })
      await expect(b.open('x')).rejects.toMatchObject({ code: 'ERR_STOPPED' })
      await expect(a.open('pair', { peer })).rejects.toMatchObject({ code: 'ERR_STREAM' })
    })

    it('are refused as wrong where name, metadata or a second handler is', async () => {
      const wrong = { code: 'ERR_OPTIONS' }
      await expect(a.open('', { peer })).rejects.toMatchObject(wrong)
      await expect(a.open('a/b', { peer })).rejects.toMatchObject(wrong)
      await expect(a.open('x', { peer, metadata: { n: 1n } })).rejects.toMatchObject(wrong)
      b.handle('once', () => undefined)
      expect(() => b.handle('once', () => undefined)).toThrow(expect.objectContaining(wrong))
      const near = await (async () => {
        void taken(b, 'chunks')
        return a.open('chunks', { peer })
      })()
      const text = 'a text' as unknown as Uint8Array
      await expect(near.writable.getWriter().write(text)).rejects.toMatchObject(wrong)
    })
  })
}
