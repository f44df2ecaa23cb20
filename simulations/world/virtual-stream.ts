import { SkeinError } from '../../src/core/errors.ts'
import type { FrameStream, PeerId } from '../../src/mesh/contract.ts'
import type { Pipe } from './pipe.ts'

/** Sent and not yet read before the sender has to wait. */
const WINDOW_BYTES = 1024 * 1024
/** What a frame costs beside its own bytes: length, stream and packet headers. */
const FRAME_OVERHEAD = 32

export function streamGone(cause?: unknown): SkeinError {
  if (cause instanceof SkeinError && cause.code === 'ERR_STREAM') return cause
  return new SkeinError('ERR_STREAM', 'the stream is closed', { cause })
}

export interface VirtualStreamInit {
  readonly peer: PeerId
  readonly protocol: string
  /** The way to the other end. */
  readonly out: Pipe
  /** Neither half carries anything any more. */
  readonly onOver: (stream: VirtualStream) => void
}

/** One end of a stream over a connection. */
export class VirtualStream implements FrameStream {
  readonly peer: PeerId
  readonly protocol: string
  readonly frames: AsyncIterable<Uint8Array>
  /** The other end; set before the first frame is sent. */
  far: VirtualStream | undefined
  readonly #out: Pipe
  readonly #onOver: (stream: VirtualStream) => void
  #arrived: Uint8Array[] = []
  /** Bytes that this end has sent and the other has not read. */
  #unread = 0
  #blocked: Array<() => void> = []
  #wakeReader: (() => void) | undefined
  #closed = false
  #ended = false
  #failure: SkeinError | undefined
  /** The same, where the other end had not closed its half: what it had still to say is lost. */
  #broken: SkeinError | undefined

  constructor(init: VirtualStreamInit) {
    this.peer = init.peer
    this.protocol = init.protocol
    this.#out = init.out
    this.#onOver = init.onOver
    this.frames = this.#read()
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.#failure !== undefined || this.#closed) throw this.#failure ?? streamGone()
    const copy = frame.slice()
    this.#unread += copy.length
    const { far } = this
    this.#out.send(copy.length + FRAME_OVERHEAD, () => far?.arrive(copy))
    while (this.#unread > WINDOW_BYTES && this.#failure === undefined) {
      await new Promise<void>((resolve) => this.#blocked.push(resolve))
    }
    const failure = this.#failure as SkeinError | undefined
    if (failure !== undefined) throw failure
  }

  async close(): Promise<void> {
    if (this.#closed || this.#failure !== undefined) return
    this.#closed = true
    const { far } = this
    this.#out.send(FRAME_OVERHEAD, () => far?.end())
    if (this.#ended) this.#onOver(this)
  }

  abort(reason: Error): void {
    if (this.#failure !== undefined) return
    const { far } = this
    this.#out.send(FRAME_OVERHEAD, () => far?.fail(streamGone()))
    this.fail(streamGone(reason))
  }

  arrive(frame: Uint8Array): void {
    if (this.#failure !== undefined) return
    this.#arrived.push(frame)
    this.#wakeReader?.()
  }

  /** The other end has closed its half. */
  end(): void {
    if (this.#failure !== undefined) return
    this.#ended = true
    this.#wakeReader?.()
    if (this.#closed) this.#onOver(this)
  }

  /** Both halves end at once, here. */
  fail(error: SkeinError): void {
    if (this.#failure !== undefined || (this.#ended && this.#closed)) return
    this.#failure = error
    if (!this.#ended) {
      this.#broken = error
      this.#arrived = []
    }
    this.#wakeReader?.()
    this.release()
    this.#onOver(this)
  }

  /** The other end has read so much. */
  credit(bytes: number): void {
    const blocked = this.#unread > WINDOW_BYTES
    this.#unread -= bytes
    // Word of it takes its time, but only where someone waits for it.
    if (blocked) this.far?.tellRoom()
  }

  /** Tells the other end that there is room. */
  tellRoom(): void {
    const { far } = this
    this.#out.send(FRAME_OVERHEAD, () => far?.release())
  }

  release(): void {
    for (const resolve of this.#blocked.splice(0)) resolve()
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken
      const frame = this.#arrived.shift()
      if (frame !== undefined) {
        yield frame
        this.far?.credit(frame.length)
        continue
      }
      if (this.#ended) return
      await new Promise<void>((resolve) => (this.#wakeReader = resolve))
      this.#wakeReader = undefined
    }
  }
}
