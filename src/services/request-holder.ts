import { isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import {
  type Content,
  decodeRequestFrames,
  encodeRequestFrame,
  type RequestCall,
  type RequestFrame
} from '../wire/request-frames.ts'
import { recordError } from '../wire/protobuf.ts'
import type { ActiveCall, CallFailure, CallReceiver } from './call.ts'
import { FrameWriter } from './frame-writer.ts'
import type { ServiceHost } from './service-host.ts'

export const REQUEST_PROTOCOL = '/skein/request/1.0.0'

export interface RequestHolderComponents {
  readonly transport: Pick<Transport, 'blame' | 'handle'>
  readonly host: Pick<ServiceHost, 'start'>
  readonly logger: Logger
}

/** Takes the requests of peers: one stream each, the latest. */
export class RequestHolder {
  readonly #components: RequestHolderComponents
  readonly #streams = new Map<PeerId, FrameStream>()
  #stopped = false

  constructor(components: RequestHolderComponents) {
    this.#components = components
    components.transport.handle(REQUEST_PROTOCOL, (stream) => void this.#serve(stream))
  }

  /** Takes no more streams. Those that are open end with the transport, behind the answers that are on them. */
  stop(): void {
    this.#stopped = true
  }

  async #serve(stream: FrameStream): Promise<void> {
    const { host, logger, transport } = this.#components
    const { peer } = stream
    if (this.#stopped) {
      stream.abort(new SkeinError('ERR_STOPPED', 'the node is stopping'))
      return
    }
    this.#streams.get(peer)?.abort(new SkeinError('ERR_STREAM', 'another stream took its place'))
    this.#streams.set(peer, stream)
    const session = new HolderSession(stream, host)
    try {
      for await (const bytes of stream.frames) {
        for (const frame of decodeRequestFrames(bytes)) session.take(frame)
        // Who does not take answers gets to ask nothing more.
        await session.writer.room(LIMITS.replyBufferBytes)
      }
      await stream.close()
    } catch (error) {
      if (!isSkeinError(error)) throw error
      if (error.code === 'ERR_RECORD') transport.blame(peer, error.message)
      logger.debug({ err: error, peer }, 'a stream of requests ended')
      stream.abort(error)
    } finally {
      session.stop()
      if (this.#streams.get(peer) === stream) this.#streams.delete(peer)
    }
  }
}

/** The requests of one peer. */
class HolderSession {
  readonly writer: FrameWriter
  readonly #stream: FrameStream
  readonly #host: Pick<ServiceHost, 'start'>
  readonly #calls = new Map<number, ActiveCall>()
  #bytes = 0

  constructor(stream: FrameStream, host: Pick<ServiceHost, 'start'>) {
    this.#stream = stream
    this.#host = host
    this.writer = new FrameWriter(stream)
  }

  take(frame: RequestFrame): void {
    switch (frame.kind) {
      case 'request':
        this.#start(frame.id, frame.call)
        return
      case 'cancel':
        this.#calls.get(frame.id)?.cancel()
        return
      case 'grant':
        this.#calls.get(frame.id)?.grant(frame.count)
        return
      case 'reply':
      case 'end':
      case 'error':
        throw recordError('field', 'an answer to nothing that was asked')
    }
  }

  stop(): void {
    for (const call of this.#calls.values()) call.cancel()
    this.#calls.clear()
  }

  #start(id: number, call: RequestCall): void {
    if (this.#calls.has(id)) throw recordError('field', 'two requests under one id')
    if (this.#calls.size >= LIMITS.requestsInFlight || this.#bytes >= LIMITS.requestBytes) {
      const message = 'the peer has too many requests that are not answered'
      this.#send({ kind: 'error', id, code: 'ERR_BUSY', message, refused: true })
      return
    }
    this.#bytes += call.content.payload.length
    this.#calls.set(id, this.#host.start(this.#stream.peer, call, this.#receiver(id, call)))
  }

  #receiver(id: number, call: RequestCall): CallReceiver {
    return {
      onReply: (content: Content, last: boolean) => {
        this.#send({ kind: 'reply', id, content, last })
        return this.writer.room(LIMITS.requestBatchBytes)
      },
      onEnd: () => this.#send({ kind: 'end', id }),
      onFailure: ({ error, refused }: CallFailure) => {
        const own = error.details['code']
        const code = typeof own === 'string' ? own : error.code
        this.#send({ kind: 'error', id, code, message: error.message, refused })
      },
      onOver: () => {
        if (this.#calls.delete(id)) this.#bytes -= call.content.payload.length
      }
    }
  }

  #send(frame: RequestFrame): void {
    this.writer.write(encodeRequestFrame(frame))
    if (this.writer.pendingBytes > LIMITS.replyBacklogBytes) {
      this.#stream.abort(new SkeinError('ERR_STREAM', 'the peer does not take its replies'))
    }
  }
}
