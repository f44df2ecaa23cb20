import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { FrameStream, PeerId } from '../mesh/contract.ts'
import { recordError } from '../wire/protobuf.ts'
import { ByteSink } from './byte-sink.ts'
import { ByteSource } from './byte-source.ts'
import type { IncomingStream, StreamMetadata } from './contract.ts'
import {
  decodeFrame,
  encodeFrame,
  errorOf,
  reasonOf,
  type StreamFrame,
  type StreamReason
} from './stream-frames.ts'

export interface DuplexComponents {
  readonly clock: Clock
  readonly stream: FrameStream
  /** What comes on `stream` after the greeting. */
  readonly frames: AsyncIterable<Uint8Array>
}

export interface DuplexInit {
  readonly name: string
  readonly metadata: StreamMetadata
  /** Bytes that the other side takes before it grants more. */
  readonly credit: number
  /** The other side broke the protocol. */
  readonly onMalformed: (error: SkeinError) => void
}

const NO_REASON: StreamReason = { code: '', message: '' }

/** One end of an open byte stream: its two directions over one stream of frames. */
export class Duplex implements IncomingStream {
  readonly peer: PeerId
  readonly name: string
  readonly metadata: StreamMetadata
  readonly closed: Promise<void>
  /** Resolves when nothing of it is left on the network. */
  readonly gone: Promise<void>
  readonly #components: DuplexComponents
  readonly #init: DuplexInit
  readonly #source: ByteSource
  readonly #sink: ByteSink
  readonly #broken = new AbortController()
  #resolve: () => void = () => undefined
  #reject: (error: SkeinError) => void = () => undefined
  #failure: SkeinError | undefined
  #settled = false
  #isMalformed = false
  #linger: Timer | undefined
  #owed = 0
  #granting = false

  constructor(components: DuplexComponents, init: DuplexInit) {
    this.#components = components
    this.#init = init
    this.peer = components.stream.peer
    this.name = init.name
    this.metadata = init.metadata
    this.closed = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // Who does not ask for it has the error in `readable` and `writable`.
    this.closed.catch(() => undefined)
    this.#source = new ByteSource({
      window: LIMITS.streamWindowBytes,
      onRoom: (bytes) => void this.#grant(bytes),
      onCancel: (reason) => {
        void this.#send({
          kind: 'stop',
          reason: reason === undefined ? NO_REASON : reasonOf(reason)
        })
        this.#settle()
      }
    })
    this.#sink = new ByteSink({
      credit: init.credit,
      send: (frame) => components.stream.send(frame),
      onEnd: async () => {
        await this.#send({ kind: 'end' })
        this.#settle()
      },
      onAbort: (reason) => {
        void this.#send({ kind: 'reset', reason: reasonOf(reason) })
        this.#fail(asError(reason))
      }
    })
    this.gone = this.#run()
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#source.readable
  }

  get writable(): WritableStream<Uint8Array> {
    return this.#sink.writable
  }

  get signal(): AbortSignal {
    return this.#broken.signal
  }

  abort(reason?: unknown): void {
    if (this.#settled) return
    void this.#send({ kind: 'abort', reason: reasonOf(reason) })
    this.#failBoth(asError(reason))
  }

  /** Ends both directions where they have not: what was written is sent, what was not read is refused. */
  async finish(): Promise<void> {
    this.#source.stop()
    await this.#sink.finish()
  }

  /** Gives up what is on its way. */
  cut(reason: SkeinError): void {
    this.#components.stream.abort(reason)
  }

  /** Never rejects: what goes wrong is the failure of the stream. */
  async #run(): Promise<void> {
    const { frames, stream } = this.#components
    try {
      // Also when it is over: a cut would overtake the frames that say why.
      for await (const frame of frames) this.#receive(frame)
      this.#broke(new SkeinError('ERR_STREAM', 'the other side left before the stream ended'))
    } catch (error) {
      this.#broke(error)
    }
    await stream.close()
    this.#linger?.cancel()
  }

  #receive(frame: Uint8Array): void {
    if (this.#isMalformed) return
    try {
      this.#take(decodeFrame(frame))
    } catch (error) {
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      this.#malformed(error)
    }
  }

  #take(frame: StreamFrame): void {
    switch (frame.kind) {
      case 'data':
        this.#source.push(frame.bytes)
        return
      case 'credit':
        this.#sink.grant(frame.bytes)
        return
      case 'end':
        this.#source.end()
        this.#settle()
        return
      case 'reset': {
        const error = errorOf(frame.reason, this.peer)
        this.#source.fail(error)
        this.#fail(error)
        return
      }
      case 'stop':
        this.#stopped(frame.reason)
        return
      case 'abort':
        if (!this.#settled) this.#failBoth(errorOf(frame.reason, this.peer))
        return
      case 'open':
      case 'accept':
        throw recordError('field', `'${frame.kind}' comes on a stream that is open`)
    }
  }

  #stopped(reason: StreamReason): void {
    if (this.#sink.over) return
    if (reason.code !== '') {
      const error = errorOf(reason, this.peer)
      this.#sink.fail(error)
      this.#fail(error)
      return
    }
    const { peer } = this
    const text = 'the other side reads no more'
    this.#sink.fail(new SkeinError('ERR_ABORTED', text, { details: { peer } }))
    this.#settle()
  }

  /** One frame at a time, so that a peer that takes none cannot make them pile up. */
  async #grant(bytes: number): Promise<void> {
    this.#owed += bytes
    if (this.#granting) return
    this.#granting = true
    while (this.#owed > 0 && !this.#source.ended) {
      const granted = this.#owed
      this.#owed = 0
      await this.#send({ kind: 'credit', bytes: granted })
    }
    this.#granting = false
  }

  async #send(frame: Exclude<StreamFrame, { kind: 'data' }>): Promise<void> {
    try {
      await this.#components.stream.send(encodeFrame(frame))
    } catch (error) {
      this.#broke(error)
    }
  }

  #malformed(cause: SkeinError): void {
    this.#isMalformed = true
    this.#init.onMalformed(cause)
    void this.#send({ kind: 'abort', reason: reasonOf(cause) })
    this.#broke(new SkeinError('ERR_STREAM', 'the other side broke the protocol', { cause }))
  }

  /** The stream of frames is gone. What came before its end is whole, and may still be read. */
  #broke(cause: unknown): void {
    if (this.#settled) return
    const { peer } = this
    const error = isSkeinError(cause)
      ? new SkeinError(cause.code, cause.message, { details: { peer }, cause })
      : new SkeinError('ERR_STREAM', 'the stream broke', { details: { peer }, cause })
    this.#sink.fail(error)
    if (!this.#source.ended) this.#source.fail(error)
    this.#fail(error)
  }

  #failBoth(error: SkeinError): void {
    this.#sink.fail(error)
    this.#source.fail(error)
    this.#fail(error)
  }

  #fail(error: SkeinError): void {
    this.#failure ??= error
    this.#broken.abort(this.#failure)
    this.#settle()
  }

  #settle(): void {
    if (this.#settled || !this.#sink.over || !this.#source.ended) return
    this.#settled = true
    if (this.#failure === undefined) this.#resolve()
    else this.#reject(this.#failure)
    const { clock, stream } = this.#components
    this.#linger = clock.after(LIMITS.streamLingerMs, () =>
      stream.abort(new SkeinError('ERR_STREAM', 'the other side did not close the stream'))
    )
    void stream.close()
  }
}

/** What `abort` was given, as the error of this side. */
function asError(reason: unknown): SkeinError {
  if (isSkeinError(reason)) return reason
  return new SkeinError('ERR_ABORTED', reasonOf(reason).message, { cause: reason })
}
