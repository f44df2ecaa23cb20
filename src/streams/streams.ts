import type { Clock } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import { type Random, shuffled } from '../core/random.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import { recordError } from '../wire/protobuf.ts'
import type { ByteStream, OpenStreamOptions, StreamHandler, StreamMetadata } from './contract.ts'
import { Duplex } from './duplex.ts'
import {
  decodeFrame,
  encodeFrame,
  encodeMetadata,
  errorOf,
  isStreamName,
  reasonOf,
  STREAM_PROTOCOL,
  type StreamOpening
} from './stream-frames.ts'
import { StreamQuota } from './stream-quota.ts'

export interface StreamsComponents {
  readonly transport: Pick<Transport, 'blame' | 'handle' | 'open' | 'peers'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface StreamsInit {
  /** The peer of that name or PeerId. Throws ERR_PEER_UNKNOWN, ERR_PEER_AMBIGUOUS. */
  readonly resolve: (peer: string) => PeerId
}

/** Aborted streams have so long at a stop to tell the other side, ms. */
const STOP_MS = 1_000

/** What one peer's answer says of that peer only, where any peer would do. */
const NEXT_PEER = [
  'ERR_BUSY',
  'ERR_NO_HANDLER',
  'ERR_PEER_UNREACHABLE',
  'ERR_STOPPED',
  'ERR_STREAM',
  'ERR_TIMEOUT'
] as const

interface Deadline {
  readonly ms: number
  readonly signal?: AbortSignal | undefined
}

/** Byte streams of this node: those that it opens, and those that its handlers take. */
export class Streams {
  readonly #components: StreamsComponents
  readonly #init: StreamsInit
  readonly #handlers = new Map<string, StreamHandler>()
  readonly #incoming = new StreamQuota({ perPeer: LIMITS.streamsPerPeer, total: LIMITS.streams })
  readonly #outgoing = new StreamQuota({ perPeer: LIMITS.streamsPerPeer, total: LIMITS.streams })
  /** Not open yet, or refused. */
  readonly #greeting = new Set<FrameStream>()
  readonly #open = new Set<Duplex>()
  #stopped = false

  constructor(components: StreamsComponents, init: StreamsInit) {
    this.#components = components
    this.#init = init
    components.transport.handle(STREAM_PROTOCOL, (stream) => void this.#serve(stream))
  }

  /** Aborts what is open with ERR_STOPPED, at both sides. Before the transport. */
  async stop(): Promise<void> {
    this.#stopped = true
    for (const stream of this.#greeting) stream.abort(stopped())
    const open = [...this.#open]
    for (const duplex of open) duplex.abort(stopped())
    const timer = this.#components.clock.after(STOP_MS, () => {
      for (const duplex of open) duplex.cut(stopped())
    })
    await Promise.all(open.map(({ gone }) => gone))
    timer.cancel()
  }

  /** Answers the function that takes the handler away again. Throws ERR_OPTIONS where the name is handled or malformed. */
  handle(name: string, handler: StreamHandler): () => void {
    assertName(name)
    if (this.#handlers.has(name)) {
      throw new SkeinError('ERR_OPTIONS', `name: streams named '${name}' have a handler`, {
        details: { option: 'name' }
      })
    }
    this.#handlers.set(name, handler)
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name)
    }
  }

  // ---- opening ----

  /**
   * Rejects with ERR_NO_HANDLER, ERR_PEER_UNKNOWN, ERR_PEER_AMBIGUOUS, ERR_PEER_UNREACHABLE, ERR_BUSY (too many
   * streams), ERR_TIMEOUT (10 s), ERR_STREAM, ERR_ABORTED, ERR_STOPPED and ERR_OPTIONS.
   */
  async open(name: string, options: OpenStreamOptions = {}): Promise<ByteStream> {
    const { metadata = {}, peer, signal } = options
    assertName(name)
    const text = encodeMetadata(metadata)
    if (this.#stopped) throw stopped()
    if (signal?.aborted === true) throw aborted(signal)
    const opening = {
      name,
      metadata: JSON.parse(text) as StreamMetadata,
      window: LIMITS.streamWindowBytes
    }
    return peer === undefined
      ? this.#openAnywhere(opening, signal)
      : this.#openAt(this.#init.resolve(peer), opening, signal)
  }

  async #openAnywhere(opening: StreamOpening, signal?: AbortSignal): Promise<ByteStream> {
    const { random, transport } = this.#components
    const connected = transport.peers().filter((peer) => peer.connected)
    let failure: SkeinError | undefined
    for (const { id } of shuffled(random, connected)) {
      try {
        return await this.#openAt(id, opening, signal)
      } catch (error) {
        if (!isSkeinError(error, ...NEXT_PEER) || this.#stopped) throw error
        // Who does not speak the protocol handles nothing.
        if (error.code !== 'ERR_NO_HANDLER' && error.code !== 'ERR_STREAM') failure = error
      }
    }
    const { name } = opening
    throw (
      failure ??
      new SkeinError('ERR_NO_HANDLER', `no connected peer handles streams named '${name}'`, {
        details: { name, asked: connected.length }
      })
    )
  }

  async #openAt(peer: PeerId, opening: StreamOpening, signal?: AbortSignal): Promise<ByteStream> {
    const release = this.#outgoing.take(peer)
    if (release === undefined) throw tooMany(peer)
    let duplex: Duplex
    try {
      duplex = await this.#greet(peer, opening, signal)
    } catch (error) {
      release()
      throw error
    }
    const onAbort = (): void => duplex.abort(aborted(signal))
    signal?.addEventListener('abort', onAbort)
    void duplex.gone.then(() => {
      release()
      signal?.removeEventListener('abort', onAbort)
    })
    return duplex
  }

  async #greet(peer: PeerId, opening: StreamOpening, signal?: AbortSignal): Promise<Duplex> {
    const { transport } = this.#components
    const deadline = { ms: LIMITS.streamOpenMs, signal }
    const stream = await transport.open(peer, STREAM_PROTOCOL, {
      timeoutMs: deadline.ms,
      ...(signal === undefined ? {} : { signal })
    })
    const frames = stream.frames[Symbol.asyncIterator]()
    try {
      const credit = await this.#within(stream, deadline, async () => {
        await stream.send(encodeFrame({ kind: 'open', ...opening }))
        const answer = decodeFrame(await nextOf(frames))
        if (answer.kind === 'accept') return answer.window
        if (answer.kind === 'abort') throw errorOf(answer.reason, peer)
        throw recordError('field', `'${answer.kind}' answers the opening of a stream`)
      })
      return this.#duplex(stream, frames, { ...opening, credit })
    } catch (error) {
      stream.abort(error as Error)
      if (!isSkeinError(error, 'ERR_RECORD')) throw error
      transport.blame(peer, 'a malformed frame on a stream')
      const text = 'the other side broke the protocol'
      throw new SkeinError('ERR_STREAM', text, { details: { peer }, cause: error })
    }
  }

  // ---- taking ----

  async #serve(stream: FrameStream): Promise<void> {
    const { logger, transport } = this.#components
    const { peer } = stream
    const release = this.#incoming.take(peer)
    try {
      const duplex = await this.#admit(stream, release !== undefined)
      await duplex?.gone
    } catch (error) {
      if (isSkeinError(error, 'ERR_RECORD'))
        transport.blame(peer, 'a malformed opening of a stream')
      // A fault of this node must be seen in its log; the stream goes in any case.
      const log = isSkeinError(error) ? logger.debug : logger.error
      log.call(logger, { err: error, peer }, 'a byte stream was not opened')
      stream.abort(error as Error)
    } finally {
      release?.()
    }
  }

  /** Undefined where it was refused. */
  async #admit(stream: FrameStream, hasRoom: boolean): Promise<Duplex | undefined> {
    const { peer } = stream
    const frames = stream.frames[Symbol.asyncIterator]()
    const opening = await this.#within(stream, { ms: LIMITS.streamOpenMs }, async () => {
      const first = decodeFrame(await nextOf(frames))
      if (first.kind === 'open') return first
      throw recordError('field', `a stream begins with '${first.kind}'`)
    })
    const { metadata, name, window } = opening
    const handler = this.#handlers.get(name)
    if (!hasRoom) return this.#refuse(stream, frames, tooMany(peer))
    if (handler === undefined) {
      const text = `nothing handles streams named '${name}' here`
      return this.#refuse(stream, frames, new SkeinError('ERR_NO_HANDLER', text))
    }
    await this.#within(stream, { ms: LIMITS.streamOpenMs }, () =>
      stream.send(encodeFrame({ kind: 'accept', window: LIMITS.streamWindowBytes }))
    )
    const duplex = this.#duplex(stream, frames, { name, metadata, credit: window })
    void this.#run(handler, duplex)
    return duplex
  }

  async #refuse(
    stream: FrameStream,
    frames: AsyncIterator<Uint8Array>,
    reason: SkeinError
  ): Promise<undefined> {
    await this.#within(stream, { ms: LIMITS.streamLingerMs }, async () => {
      await stream.send(encodeFrame({ kind: 'abort', reason: reasonOf(reason) }))
      await stream.close()
      // Until the other side has closed it, too: a cut would overtake the refusal.
      while ((await frames.next()).done !== true);
    })
  }

  async #run(handler: StreamHandler, duplex: Duplex): Promise<void> {
    const { name, peer } = duplex
    try {
      await handler(duplex)
      await duplex.finish()
    } catch (error) {
      const { logger } = this.#components
      // Where the stream broke, its handler can do nothing but fail.
      const log = duplex.signal.aborted ? logger.debug : logger.warn
      log.call(logger, { err: error, name, peer }, 'a handler of streams failed')
      duplex.abort(error)
    }
  }

  // ---- both ----

  #duplex(
    stream: FrameStream,
    frames: AsyncIterator<Uint8Array>,
    facts: { name: string; metadata: StreamMetadata; credit: number }
  ): Duplex {
    const { clock, transport } = this.#components
    const { credit, metadata, name } = facts
    const duplex = new Duplex(
      { clock, stream, frames: { [Symbol.asyncIterator]: () => frames } },
      {
        name,
        metadata,
        credit,
        onMalformed: () => transport.blame(stream.peer, 'a malformed frame on a stream')
      }
    )
    this.#open.add(duplex)
    void duplex.gone.then(() => this.#open.delete(duplex))
    if (this.#stopped) duplex.abort(stopped())
    return duplex
  }

  /** Cuts the stream where the task takes too long, or is aborted; then rejects with ERR_TIMEOUT or ERR_ABORTED. */
  async #within<Result>(
    stream: FrameStream,
    { ms, signal }: Deadline,
    task: () => Promise<Result>
  ): Promise<Result> {
    let why: SkeinError | undefined
    const cut = (reason: SkeinError): void => {
      why ??= reason
      stream.abort(reason)
    }
    const { peer } = stream
    const timer = this.#components.clock.after(ms, () =>
      cut(
        new SkeinError('ERR_TIMEOUT', `peer ${peer} did not answer in time`, { details: { peer } })
      )
    )
    const onAbort = (): void => cut(aborted(signal))
    signal?.addEventListener('abort', onAbort)
    this.#greeting.add(stream)
    try {
      if (signal?.aborted === true) throw aborted(signal)
      if (this.#stopped) throw stopped()
      return await task()
    } catch (error) {
      if (this.#stopped) throw stopped()
      throw why ?? error
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      this.#greeting.delete(stream)
    }
  }
}

async function nextOf(frames: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  const { done, value } = await frames.next()
  if (done !== true) return value
  throw new SkeinError('ERR_STREAM', 'the other side left before the stream was open')
}

function assertName(name: string): void {
  if (isStreamName(name)) return
  throw new SkeinError(
    'ERR_OPTIONS',
    `name: '${name}' is not 1 to ${LIMITS.nameBytes} letters, digits, '.', '_' and '-', a letter or digit first`,
    { details: { option: 'name' } }
  )
}

function aborted(signal: AbortSignal | undefined): SkeinError {
  return new SkeinError('ERR_ABORTED', 'the stream was aborted by its signal', {
    cause: signal?.reason
  })
}

function tooMany(peer: PeerId): SkeinError {
  return new SkeinError('ERR_BUSY', 'as many streams are open as may be', { details: { peer } })
}

function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
}
