import type { SkeinError } from '../core/errors.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Content, RequestCall } from '../wire/request-frames.ts'

/** Why a call ended without an answer. */
export interface CallFailure {
  /** No handler has seen the request: another node may be asked without a risk. */
  readonly refused: boolean
  readonly error: SkeinError
}

/** Who waits for the answer of a call. After `last`, `onEnd` or `onFailure` nothing follows. */
export interface CallReceiver {
  /** A promise where there is no room for more. */
  onReply(content: Content, last: boolean): void | Promise<void>
  onEnd(): void
  onFailure(failure: CallFailure): void
  /** It is over for this node, whatever came: answered, failed, cancelled or too late. Called once, before them. */
  onOver(): void
}

/** A call under way. */
export interface ActiveCall {
  /** The receiver hears nothing more. Idempotent. */
  cancel(): void
  /** So many more replies may come. */
  grant(count: number): void
}

/** A node that can be asked, this one or another. */
export interface CallTarget {
  readonly peer: PeerId
  /** Calls of this node to it that are not answered. */
  readonly inFlight: number
  /** Never calls the receiver before it has returned. */
  start(call: RequestCall, receiver: CallReceiver): ActiveCall
}
