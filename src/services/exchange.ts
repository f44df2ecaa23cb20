import type { Clock, Timer } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Content } from '../wire/request-frames.ts'
import type { ActiveCall, CallFailure, CallReceiver, CallTarget } from './call.ts'
import { ReceivedReply } from './received.ts'

export interface Asked {
  readonly service: string
  readonly content: Content
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export interface ExchangeInit extends Asked {
  /** 0: one reply, within `timeoutMs`. Else that many ahead of their consumer, which waits `timeoutMs` for each. */
  readonly window: number
  /** Whom to ask, where those in `except` refused. */
  readonly next: (except: ReadonlySet<PeerId>) => CallTarget | undefined
  readonly onReply: (reply: ReceivedReply) => void
  /** Nothing follows; with an error where it did not end well. Called once, unless cancelled. */
  readonly onEnd: (error: SkeinError | undefined) => void
}

/** One request of this node: it goes from node to node until a handler has it, and ends in time. */
export class Exchange implements CallReceiver {
  readonly #clock: Clock
  readonly #init: ExchangeInit
  readonly #refused = new Set<PeerId>()
  readonly #startedAt: number
  #refusal: SkeinError | undefined
  #peer: PeerId = ''
  #active: ActiveCall | undefined
  #timer: Timer | undefined
  #over = false

  constructor(clock: Clock, init: ExchangeInit) {
    this.#clock = clock
    this.#init = init
    this.#startedAt = clock.monotonic()
  }

  start(): void {
    const { signal, window } = this.#init
    if (signal?.aborted === true) {
      this.#aborted()
      return
    }
    signal?.addEventListener('abort', this.#aborted, { once: true })
    if (window === 0) this.await()
    this.#try()
  }

  /** The consumer waits for the next reply. */
  await(): void {
    const { service, timeoutMs } = this.#init
    this.#timer ??= this.#clock.after(timeoutMs, () => {
      const error = new SkeinError(
        'ERR_TIMEOUT',
        `'${service}' did not answer within ${timeoutMs} ms`,
        {
          details: { service, timeoutMs }
        }
      )
      this.fail(error)
    })
  }

  /** The consumer is done with so many replies. */
  grant(count: number): void {
    if (!this.#over) this.#active?.grant(count)
  }

  /** Nobody waits any more; nothing is called after it. Idempotent. */
  cancel(): void {
    if (this.#settle()) this.#active?.cancel()
  }

  onReply(content: Content, last: boolean): void {
    if (this.#over) return
    if (this.#init.window > 0) this.#rest()
    this.#init.onReply(new ReceivedReply(content, this.#peer))
    if (last) this.onEnd()
  }

  onEnd(): void {
    if (this.#settle()) this.#init.onEnd(undefined)
  }

  onFailure({ error, refused }: CallFailure): void {
    if (this.#over) return
    if (!refused) {
      if (this.#settle()) this.#init.onEnd(error)
      return
    }
    this.#refused.add(this.#peer)
    this.#refusal = error
    this.#try()
  }

  onOver(): void {}

  readonly #aborted = (): void => {
    const cause: unknown = this.#init.signal?.reason
    this.fail(new SkeinError('ERR_ABORTED', 'the request was aborted by its signal', { cause }))
  }

  #try(): void {
    const { content, next, service, timeoutMs, window } = this.#init
    const target = next(this.#refused)
    if (target === undefined) {
      this.fail(this.#nobody())
      return
    }
    this.#peer = target.peer
    const left = Math.max(1, timeoutMs - (this.#clock.monotonic() - this.#startedAt))
    this.#active = target.start(
      { service, content, timeoutMs: window === 0 ? left : 0, window },
      this
    )
  }

  /** Whom nobody could reach serves nothing for us; a node that has too much to do is another matter. */
  #nobody(): SkeinError {
    const { service } = this.#init
    if (this.#refusal !== undefined && this.#refusal.code !== 'ERR_PEER_UNREACHABLE') {
      return this.#refusal
    }
    return new SkeinError('ERR_NO_RESPONDERS', `no node that can be reached serves '${service}'`, {
      details: { service },
      cause: this.#refusal
    })
  }

  /** Ends it for a reason of this node's own. */
  fail(error: SkeinError): void {
    if (!this.#settle()) return
    this.#active?.cancel()
    this.#init.onEnd(error)
  }

  #rest(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** False: it was over before. */
  #settle(): boolean {
    if (this.#over) return false
    this.#over = true
    this.#rest()
    this.#init.signal?.removeEventListener('abort', this.#aborted)
    return true
  }
}
