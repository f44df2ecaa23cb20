import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Content, RequestCall } from '../wire/request-frames.ts'
import type { ActiveCall, CallReceiver } from './call.ts'
import type { ServiceRequest } from './contract.ts'
import { ReceivedContent } from './received.ts'

/** What answers a service: with one content, or with many, one after the other. */
export type ContentHandler = (request: ServiceRequest) => Promise<Content | AsyncIterable<Content>>

export interface ServedCallInit {
  /** PeerId of this node. */
  readonly self: PeerId
  readonly from: PeerId
  readonly call: RequestCall
  readonly receiver: CallReceiver
  /** Called once, when nobody waits for it any more or it has been answered. */
  readonly onEnd: (call: ServedCall) => void
}

class ReceivedRequest extends ReceivedContent implements ServiceRequest {
  readonly service: string
  readonly from: PeerId
  readonly timeoutMs: number | undefined
  readonly #served: ServedCall

  constructor(served: ServedCall, from: PeerId) {
    const { content, service, timeoutMs } = served.call
    super(content)
    this.#served = served
    this.service = service
    this.from = from
    this.timeoutMs = timeoutMs === 0 ? undefined : timeoutMs
  }

  get signal(): AbortSignal {
    return this.#served.signal
  }
}

/** A request on its way through this node, from its arrival to its answer. */
export class ServedCall implements ActiveCall {
  readonly call: RequestCall
  readonly #init: ServedCallInit
  readonly #timer: Timer | undefined
  /** Made when somebody asks for the signal. */
  #controller: AbortController | undefined
  #ended = false
  /** Why it ended without an answer. */
  #reason: SkeinError | undefined
  #credit: number
  #wake: (() => void) | undefined

  constructor(clock: Clock, init: ServedCallInit) {
    const { timeoutMs, window } = init.call
    this.call = init.call
    this.#init = init
    this.#credit = window
    const ms = Math.min(timeoutMs, LIMITS.requestTimeoutMaxMs)
    this.#timer =
      ms === 0
        ? undefined
        : clock.after(ms, () =>
            this.#end(new SkeinError('ERR_TIMEOUT', `the deadline of ${ms} ms has passed`))
          )
  }

  /** Answered, or nobody waits for it any more. */
  get ended(): boolean {
    return this.#ended
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  cancel(): void {
    this.#end(new SkeinError('ERR_ABORTED', 'the caller does not wait any more'))
  }

  grant(count: number): void {
    this.#credit = Math.min(this.#credit + count, LIMITS.requestsInFlight)
    this.#wake?.()
  }

  /** No handler has seen it. */
  refuse(error: SkeinError): void {
    if (this.#end(error)) this.#init.receiver.onFailure({ refused: true, error })
  }

  /** The handler is given up, and its caller told so. */
  abandon(error: SkeinError): void {
    if (this.#end(error)) this.#failed(error)
  }

  /** Resolves when the handler has finished, whether somebody waits for it or not; never rejects. */
  async run(handler: ContentHandler): Promise<void> {
    try {
      const result = await handler(new ReceivedRequest(this, this.#init.from))
      if (Symbol.asyncIterator in result) await this.#sendAll(result)
      else this.#finish(result)
    } catch (error) {
      if (this.#end()) this.#failed(error)
    }
  }

  async #sendAll(replies: AsyncIterable<Content>): Promise<void> {
    for await (const content of replies) {
      if (this.ended) return
      if (this.call.window === 0) {
        this.#finish(content)
        return
      }
      this.#credit--
      await this.#init.receiver.onReply(content, false)
      while (this.#credit === 0 && !this.ended) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
      }
      if (this.ended) return
    }
    if (this.#end()) this.#init.receiver.onEnd()
  }

  #finish(content: Content): void {
    if (this.#end()) void this.#init.receiver.onReply(content, true)
  }

  #failed(error: unknown): void {
    const { receiver, self } = this.#init
    const { code, message } =
      error instanceof Error ? (error as { code?: unknown } & Error) : NO_ERROR
    receiver.onFailure({
      refused: false,
      error: new SkeinError('ERR_RESPONDER', message, {
        cause: error,
        details: { code: typeof code === 'string' ? code : 'ERR_INTERNAL', peer: self }
      })
    })
  }

  /** With a reason, the handler works for nobody. False: it had ended before. */
  #end(reason?: SkeinError): boolean {
    if (this.#ended) return false
    this.#ended = true
    this.#reason = reason
    this.#timer?.cancel()
    if (reason !== undefined) this.#controller?.abort(reason)
    this.#wake?.()
    this.#init.onEnd(this)
    this.#init.receiver.onOver()
    return true
  }
}

const NO_ERROR = { code: undefined, message: 'the handler threw something that is no error' }
