import '../polyfill.ts'
import type { Stream } from '@libp2p/interface'
import { decode, encode } from 'it-length-prefixed'
import { pipe } from 'it-pipe'
import type { Uint8ArrayList } from 'uint8arraylist'

import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

import type { FrameStream, PeerId } from './contract.ts'
import { streamSource } from './stream-source.ts'

/** Time the other side has to take what is left when a stream is closed. */
const CLOSE_MS = 5000

interface Outgoing {
  readonly frame: Uint8Array
  readonly resolve: () => void
  readonly reject: (error: SkeinError) => void
}

function gone(cause?: unknown): SkeinError {
  if (cause instanceof SkeinError && cause.code === 'ERR_STREAM') return cause
  return new SkeinError('ERR_STREAM', 'the stream is closed', { cause })
}

/** Each frame behind its length, as one write: the two apart would be encrypted apart. */
async function* withLengths(frames: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8ArrayList> {
  for await (const frame of frames) {
    yield encode.single(frame, { maxDataLength: LIMITS.streamFrameBytes })
  }
}

/** A libp2p stream as whole frames: it-pipe through it-length-prefixed, with back-pressure in both directions. */
export class Libp2pFrameStream implements FrameStream {
  readonly peer: PeerId
  readonly protocol: string
  readonly frames: AsyncIterable<Uint8Array>
  readonly #stream: Stream
  readonly #outgoing: Outgoing[] = []
  #closing = false
  #failure: SkeinError | undefined
  #wake: (() => void) | undefined
  readonly #written: Promise<void>

  constructor(stream: Stream, peer: PeerId) {
    this.#stream = stream
    this.peer = peer
    this.protocol = stream.protocol
    const source = streamSource(stream)
    this.frames = this.#read(source)
    stream.addEventListener('close', (event) => this.#fail(gone(event.error)))
    this.#written = pipe(this.#frames(), withLengths, (bytes) => this.#sink(bytes))
  }

  send(frame: Uint8Array): Promise<void> {
    if (this.#failure !== undefined || this.#closing) {
      return Promise.reject(this.#failure ?? gone())
    }
    if (frame.length > LIMITS.streamFrameBytes) {
      return Promise.reject(
        new SkeinError(
          'ERR_STREAM',
          `a frame of ${frame.length} bytes is above the limit of ${LIMITS.streamFrameBytes}`
        )
      )
    }
    return new Promise((resolve, reject) => {
      this.#outgoing.push({ frame, resolve, reject })
      this.#wake?.()
    })
  }

  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      this.#wake?.()
    }
    await this.#written
  }

  abort(reason: Error): void {
    this.#fail(gone(reason))
    this.#stream.abort(reason)
  }

  async *#read(source: AsyncIterable<Uint8Array | Uint8ArrayList>): AsyncGenerator<Uint8Array> {
    const bytes = pipe(source, (chunks) =>
      decode(chunks, { maxDataLength: LIMITS.streamFrameBytes })
    )
    try {
      for await (const frame of bytes) {
        const { buffer, byteOffset, length } = frame.subarray()
        // Never a Buffer, whose `slice` shares its memory.
        yield new Uint8Array(buffer, byteOffset, length)
      }
    } catch (error) {
      if (this.#stream.status === 'open') this.#stream.abort(error as Error)
      throw this.#failure ?? gone(error)
    }
  }

  async *#frames(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#outgoing[0]
      if (next !== undefined) {
        yield next.frame
        // Asked for the next one: this one is written and there is room.
        this.#outgoing.shift()
        next.resolve()
        continue
      }
      if (this.#closing || this.#failure !== undefined) return
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
  }

  async #sink(bytes: AsyncIterable<Uint8ArrayList>): Promise<void> {
    try {
      for await (const chunk of bytes) {
        if (this.#failure !== undefined) return
        if (!this.#stream.send(chunk)) await this.#drained()
      }
      if (this.#failure === undefined) {
        await this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) })
      }
    } catch (error) {
      this.#fail(gone(error))
      this.#stream.abort(error as Error)
    }
  }

  /** Waits by the event itself: the stream's own `onDrain` renews its promise only once. */
  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const stream = this.#stream
      const check = (): void => {
        if (this.#failure === undefined && stream.writableNeedsDrain) return
        stream.removeEventListener('drain', check)
        stream.removeEventListener('close', check)
        resolve()
      }
      stream.addEventListener('drain', check)
      stream.addEventListener('close', check)
      check()
    })
  }

  #fail(error: SkeinError): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    for (const { reject } of this.#outgoing.splice(0)) reject(error)
    this.#wake?.()
  }
}
