import type { Timer } from '../../src/core/clock.ts'
import { SkeinError } from '../../src/core/errors.ts'
import type { FrameStream, PeerId } from '../../src/mesh/contract.ts'
import type { Link, PushSink } from '../../src/mesh/link.ts'
import { decodeFrameHeader, isFrameHeader } from '../../src/mesh/push-codec.ts'
import type { PushReceiver } from '../../src/mesh/push-receiver.ts'
import type { NodeClock } from './contract.ts'
import type { Pipe } from './pipe.ts'
import { streamGone, VirtualStream } from './virtual-stream.ts'

/** Push bytes under way, or not read, before the writer has to wait. */
const WINDOW_BYTES = 512 * 1024
/** Bytes of frames that wait for their verdict before nothing more is read. */
const JUDGING_BYTES = 2 * 1024 * 1024
/** What a message costs beside its own bytes. */
const OVERHEAD = 40

export interface EndpointInit {
  readonly peer: PeerId
  readonly clock: NodeClock
  readonly link: Link
  readonly receiver: PushReceiver
  /** The way to the other end. */
  readonly out: Pipe
  /** Who answers a protocol here. */
  readonly handler: (protocol: string) => ((stream: FrameStream) => void) | undefined
  /** Malformed push data came. */
  readonly onMalformed: (error: unknown) => void
  /** The link takes no more for now. */
  readonly onBlocked: () => void
}

/** One node's end of a connection: the push stream of its link, and streams of upper layers. */
export class Endpoint implements PushSink {
  readonly peer: PeerId
  readonly link: Link
  /** The other end; set before anything is sent. */
  far: Endpoint | undefined
  readonly out: Pipe
  readonly #init: EndpointInit
  readonly #streams = new Set<VirtualStream>()
  readonly #opening = new Set<(error: SkeinError) => void>()
  #arrived: { readonly parts: readonly Uint8Array[]; readonly bytes: number }[] = []
  #judging = 0
  #blocked = false
  #open = true
  buffered = 0

  constructor(init: EndpointInit) {
    this.#init = init
    this.peer = init.peer
    this.link = init.link
    this.out = init.out
  }

  get open(): boolean {
    return this.#open
  }

  get writable(): boolean {
    if (!this.#open) return false
    if (this.buffered < WINDOW_BYTES) return true
    this.#blocked = true
    this.#init.onBlocked()
    return false
  }

  write(parts: readonly Uint8Array[]): void {
    if (!this.#open || parts.length === 0) return
    const { duplicatePerMillion, reorderPerMillion } = this.out.conditions
    if (duplicatePerMillion + reorderPerMillion === 0) {
      this.#send(parts, false)
      return
    }
    // Frames may be late or come twice; what is said about the link itself may not.
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at] as Uint8Array
      const isFrame = isFrameHeader(part)
      this.#send(isFrame ? parts.slice(at, at + 2) : [part], isFrame)
      if (isFrame) at++
    }
  }

  /** Something small to the other side, by its transport. True where it is sure to arrive soon. */
  tell(bytes: number, deliver: () => void): boolean {
    if (!this.#open) return false
    this.out.sendFrame(bytes + OVERHEAD, deliver)
    return this.out.clear
  }

  /** Rejects with ERR_STREAM, ERR_TIMEOUT or ERR_ABORTED. */
  openStream(protocol: string, timeoutMs: number, signal?: AbortSignal): Promise<FrameStream> {
    const { clock } = this.#init
    return new Promise((resolve, reject) => {
      const near = this.#stream(this.peer, protocol)
      let timer: Timer | undefined
      const settle = (): boolean => {
        timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        return this.#opening.delete(fail)
      }
      const fail = (error: SkeinError): void => {
        if (!settle()) return
        near.abort(error)
        reject(error)
      }
      const onAbort = (): void =>
        fail(new SkeinError('ERR_ABORTED', 'opening the stream was aborted'))
      this.#opening.add(fail)
      signal?.addEventListener('abort', onAbort, { once: true })
      timer = clock.after(timeoutMs, () =>
        fail(new SkeinError('ERR_TIMEOUT', `peer ${this.peer} did not answer in time`))
      )
      this.out.send(OVERHEAD, () =>
        this.far?.accept(near, (error) => {
          if (error !== undefined) fail(error)
          else if (settle()) resolve(near)
        })
      )
    })
  }

  /** The other side opens a stream; `answer` is called there. */
  accept(theirs: VirtualStream, answer: (error?: SkeinError) => void): void {
    if (!this.#open) return
    const { protocol } = theirs
    const handler = this.#init.handler(protocol)
    if (handler === undefined) {
      const text = `the peer does not answer ${protocol}`
      this.out.send(OVERHEAD, () => answer(new SkeinError('ERR_STREAM', text)))
      return
    }
    const stream = this.#stream(this.peer, protocol)
    stream.far = theirs
    theirs.far = stream
    this.out.send(OVERHEAD, () => answer())
    handler(stream)
  }

  /** Reads what has arrived, as far as verdicts keep up. */
  read(): void {
    while (this.#open && this.#arrived.length > 0 && this.#judging < JUDGING_BYTES) {
      const { bytes, parts } = this.#arrived.shift() as { parts: Uint8Array[]; bytes: number }
      this.far?.credit(bytes)
      try {
        this.#take(parts)
      } catch (error) {
        this.#init.onMalformed(error)
      }
    }
  }

  /** Frames go on as the bytes that were sent: through the decoder each node would have a copy of its own. */
  #take(parts: readonly Uint8Array[]): void {
    const { receiver } = this.#init
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at] as Uint8Array
      const bytes = parts[at + 1]
      if (!isFrameHeader(part) || bytes === undefined) receiver.push(part)
      else {
        const header = decodeFrameHeader(part)
        receiver.take({ kind: 'frame', ...header, bytes })
        at++
      }
    }
  }

  judging(bytes: number): void {
    const before = this.#judging
    this.#judging = bytes
    if (bytes < before && this.#arrived.length > 0) this.read()
  }

  /** The other side has read so much. */
  credit(bytes: number): void {
    this.buffered -= bytes
    if (!this.#blocked || this.buffered >= WINDOW_BYTES / 2) return
    this.#blocked = false
    // Word of it takes its time, but only where someone waits for it.
    this.far?.out.send(OVERHEAD, () => this.link.pump())
  }

  /** Nothing comes or goes here any more; the other end hears of it unless it is gone itself. */
  close(tellOther: boolean): void {
    if (!this.#open) return
    this.#open = false
    const { far } = this
    far?.out.close()
    if (tellOther) this.out.send(OVERHEAD, () => far?.closedByPeer())
    else this.out.close()
    const error = new SkeinError('ERR_STREAM', 'the link went down')
    for (const fail of this.#opening) fail(error)
    for (const stream of this.#streams) stream.fail(error)
    this.#arrived = []
    this.buffered = 0
  }

  /** Set by the owner: what to do when the other side has hung up. */
  closedByPeer: () => void = () => undefined

  /** The life of its node is over: nothing of it runs, and the system ends the connection. */
  die(): void {
    if (!this.#open) return
    this.#open = false
    this.far?.out.close()
    const { far } = this
    this.out.send(OVERHEAD, () => far?.closedByPeer())
  }

  #send(parts: readonly Uint8Array[], isFrame: boolean): void {
    let bytes = 0
    for (const part of parts) bytes += part.length
    const { far } = this
    if (isFrame) {
      this.out.sendFrame(bytes + OVERHEAD, () => far?.arrive(parts, 0))
      return
    }
    this.buffered += bytes
    this.out.send(bytes + OVERHEAD, () => far?.arrive(parts, bytes))
  }

  arrive(parts: readonly Uint8Array[], bytes: number): void {
    if (!this.#open) return
    this.#arrived.push({ parts, bytes })
    this.read()
  }

  #stream(peer: PeerId, protocol: string): VirtualStream {
    const stream = new VirtualStream({
      peer,
      protocol,
      out: this.out,
      onOver: (over) => this.#streams.delete(over)
    })
    this.#streams.add(stream)
    if (!this.#open) stream.fail(streamGone())
    return stream
  }
}
