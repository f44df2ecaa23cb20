/** What requests and replies have in common. */
interface Received {
  readonly payload: Uint8Array
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, string>>
  /** The payload as JSON. Throws ERR_PAYLOAD. */
  json<T = unknown>(): T
  /** The payload as UTF-8. */
  text(): string
}

/** A request as its handler gets it. */
export interface ServiceRequest extends Received {
  readonly service: string
  /** PeerId of the node that asks. */
  readonly from: string
  /** What the caller waits at most, ms, counted from when the request came in; undefined: until it cancels. */
  readonly timeoutMs: number | undefined
  /**
   * Aborts when nobody waits for the answer any more: the deadline has passed (reason ERR_TIMEOUT), the caller
   * cancelled or is gone (ERR_ABORTED), or this node stops (ERR_STOPPED).
   */
  readonly signal: AbortSignal
}

/** One answer. */
export interface ServiceReply extends Received {
  /** PeerId of the node that answered. */
  readonly responder: string
}

/** What `reply` gives back. */
export interface ServiceHandle {
  readonly service: string
  /** Requests that are with the handler now, and those that wait for it. */
  readonly running: number
  readonly waiting: number
  /**
   * Takes no more requests; those that no handler has seen go to other nodes. Resolves when the handler has
   * finished with the others. Idempotent.
   */
  stop(): Promise<void>
}
