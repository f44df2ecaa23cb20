import { isSkeinError, SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import {
  decodeRequestFrames,
  encodeRequestFrame,
  type RequestCall,
  type RequestFrame
} from '../wire/request-frames.ts'
import { recordError } from '../wire/protobuf.ts'
import type { ActiveCall, CallReceiver, CallTarget } from './call.ts'
import { FrameWriter } from './frame-writer.ts'
import { REQUEST_PROTOCOL } from './request-holder.ts'

export interface RequestLinkComponents {
  readonly transport: Pick<Transport, 'blame' | 'open'>
  readonly logger: Logger
}

export interface RequestLinkInit {
  readonly peer: PeerId
  /** Where it is dialled when it is no neighbour. */
  readonly addresses: () => readonly string[]
}

/** A stream that is not open after this time is not waited for, ms: others may serve as well. */
const OPEN_MS = 3_000

interface Outstanding {
  readonly call: RequestCall
  readonly receiver: CallReceiver
  sent: boolean
  /** Replies that may still come. */
  credit: number
}

/** This node's requests to one peer, on one stream, which is opened with the first and again when it broke. */
export class RequestLink implements CallTarget {
  readonly peer: PeerId
  readonly #components: RequestLinkComponents
  readonly #init: RequestLinkInit
  readonly #outstanding = new Map<number, Outstanding>()
  #stream: FrameStream | undefined
  #writer: FrameWriter | undefined
  #running = false
  #stopped = false
  #nextId = 1
  #bytes = 0

  constructor(components: RequestLinkComponents, init: RequestLinkInit) {
    this.#components = components
    this.#init = init
    this.peer = init.peer
  }

  get inFlight(): number {
    return this.#outstanding.size
  }

  /** Neither open nor being opened, and nobody waits. */
  get idle(): boolean {
    return !this.#running && this.#outstanding.size === 0
  }

  start(call: RequestCall, receiver: CallReceiver): ActiveCall {
    const id = this.#nextId++
    const refusal = this.#refusal(call)
    const entry: Outstanding = { call, receiver, sent: false, credit: Math.max(1, call.window) }
    this.#outstanding.set(id, entry)
    this.#bytes += call.content.payload.length
    if (refusal !== undefined) {
      void Promise.resolve().then(() => {
        if (this.#take(id)) receiver.onFailure({ refused: true, error: refusal })
      })
    } else if (this.#writer !== undefined) this.#send(id, entry)
    else if (!this.#running) void this.#run()
    return {
      cancel: () => {
        if (this.#take(id) && entry.sent) this.#write({ kind: 'cancel', id })
      },
      grant: (count) => {
        entry.credit += count
        if (this.#outstanding.has(id)) this.#write({ kind: 'grant', id, count })
      }
    }
  }

  stop(): void {
    this.#stopped = true
    this.#stream?.abort(new SkeinError('ERR_STOPPED', 'the node is stopping'))
  }

  #refusal(call: RequestCall): SkeinError | undefined {
    if (this.#stopped) return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
    const bytes = this.#bytes + call.content.payload.length
    if (this.#outstanding.size < LIMITS.requestsInFlight && bytes <= LIMITS.requestBytes) {
      return undefined
    }
    return new SkeinError(
      'ERR_BUSY',
      `${this.#outstanding.size} requests with ${this.#bytes} bytes wait for the answers of peer ${this.peer}; wait for some of them`
    )
  }

  /** False: it is over. */
  #take(id: number): boolean {
    const entry = this.#outstanding.get(id)
    if (entry === undefined) return false
    this.#outstanding.delete(id)
    this.#bytes -= entry.call.content.payload.length
    entry.receiver.onOver()
    return true
  }

  #send(id: number, entry: Outstanding): void {
    entry.sent = true
    this.#write({ kind: 'request', id, call: entry.call })
  }

  #write(frame: RequestFrame): void {
    this.#writer?.write(encodeRequestFrame(frame))
  }

  async #run(): Promise<void> {
    const { logger, transport } = this.#components
    this.#running = true
    let stream: FrameStream | undefined
    try {
      stream = await transport.open(this.peer, REQUEST_PROTOCOL, {
        timeoutMs: OPEN_MS,
        addresses: this.#init.addresses()
      })
      if (this.#stopped) throw new SkeinError('ERR_STOPPED', 'the node is stopping')
      this.#stream = stream
      this.#writer = new FrameWriter(stream)
      for (const [id, entry] of this.#outstanding) this.#send(id, entry)
      for await (const bytes of stream.frames) {
        for (const frame of decodeRequestFrames(bytes)) this.#answered(frame)
      }
      await stream.close()
      this.#lost(new SkeinError('ERR_STREAM', 'the peer closed the stream'))
    } catch (error) {
      if (!isSkeinError(error)) throw error
      if (error.code === 'ERR_RECORD') transport.blame(this.peer, error.message)
      logger.debug({ err: error, peer: this.peer }, 'a stream of requests broke')
      stream?.abort(error)
      this.#lost(error)
    }
  }

  /** What was sent may have been handled; what was not may go elsewhere. */
  #lost(cause: SkeinError): void {
    this.#stream = undefined
    this.#writer = undefined
    this.#running = false
    for (const [id, { receiver, sent }] of this.#outstanding) {
      if (!this.#take(id)) continue
      const { peer } = this
      const text = sent
        ? `the connection to ${peer} broke before its answer came; it may have handled the request`
        : `peer ${peer} cannot be asked: ${cause.message}`
      const code = sent ? 'ERR_STREAM' : 'ERR_PEER_UNREACHABLE'
      const error = new SkeinError(code, text, { cause, details: { peer } })
      receiver.onFailure({ refused: !sent, error })
    }
  }

  #answered(frame: RequestFrame): void {
    const entry = this.#outstanding.get(frame.id)
    switch (frame.kind) {
      case 'reply':
        if (entry !== undefined) this.#replied(frame, entry)
        return
      case 'end':
        if (this.#take(frame.id)) entry?.receiver.onEnd()
        return
      case 'error':
        if (this.#take(frame.id)) entry?.receiver.onFailure(this.#failure(frame))
        return
      case 'request':
      case 'cancel':
      case 'grant':
        throw recordError('field', 'a question on the side of the answers')
    }
  }

  #replied(
    { content, id, last }: Extract<RequestFrame, { kind: 'reply' }>,
    entry: Outstanding
  ): void {
    if (entry.credit-- <= 0) throw recordError('count', 'more replies than were granted')
    const isLast = last || entry.call.window === 0
    if (isLast) this.#take(id)
    void entry.receiver.onReply(content, isLast)
  }

  #failure({ code, message, refused }: Extract<RequestFrame, { kind: 'error' }>): {
    refused: boolean
    error: SkeinError
  } {
    const { peer } = this
    if (!refused) {
      const error = new SkeinError('ERR_RESPONDER', message, { details: { code, peer } })
      return { refused, error }
    }
    const known = code === 'ERR_BUSY' ? code : 'ERR_NO_RESPONDERS'
    return { refused, error: new SkeinError(known, message, { details: { peer } }) }
  }
}
