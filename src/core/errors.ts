/** What one error code means, wherever it surfaces. `docs/errors.md` is tested against this table. */
export interface ErrorSpec {
  /** One sentence for people: what happened. */
  readonly meaning: string
  /** HTTP status the sidecar answers with. */
  readonly status: number
  /** Exit code of a command that fails with it: 1 failed, 2 wrong usage, 3 no node reachable. */
  readonly exit: 1 | 2 | 3
  /** May the same call succeed later, unchanged? */
  readonly retryable: boolean
}

const spec = (status: number, exit: 1 | 2 | 3, retryable: boolean, meaning: string): ErrorSpec => ({
  meaning,
  status,
  exit,
  retryable
})

/** Every error code Skein raises. Codes are API: they stay across versions, texts may change. */
export const ERRORS = {
  ERR_OPTIONS: spec(
    400,
    2,
    false,
    'An option or argument is unknown, missing or out of its range.'
  ),
  ERR_SCENARIO: spec(
    400,
    2,
    false,
    'A scenario of the simulator is wrong; details say the line, the column and the path.'
  ),
  ERR_VIOLATION: spec(409, 1, false, 'A simulated scenario broke a rule that it asks for.'),
  ERR_TOPIC: spec(400, 2, false, 'The topic is not a valid topic name to publish to.'),
  ERR_FILTER: spec(400, 2, false, 'The filter is not a valid topic filter.'),
  ERR_PAYLOAD: spec(
    400,
    2,
    false,
    'The payload cannot be published as it is (not JSON, a bad line).'
  ),
  ERR_PAYLOAD_TOO_LARGE: spec(413, 1, false, 'The payload is larger than the limit of this node.'),
  ERR_HEADERS_TOO_LARGE: spec(
    431,
    1,
    false,
    'The headers of the message are larger than 8 KiB in all.'
  ),
  ERR_CONTENT_TYPE: spec(415, 1, false, 'The content type of the request is not accepted here.'),
  ERR_TOO_MANY_CHANNELS: spec(409, 1, false, 'The node has joined as many channels as it may.'),
  ERR_BUSY: spec(
    429,
    1,
    true,
    'More is waiting to be published, more streams are open, or more wrong tokens were tried, than the node allows.'
  ),
  ERR_STORE_FULL: spec(
    507,
    1,
    true,
    'The disk has less free space than the node keeps in reserve.'
  ),
  ERR_STORE_WRITE: spec(503, 1, true, 'The store could not write; the node is recovering it.'),
  ERR_STORE_FAILED: spec(
    503,
    1,
    false,
    'The store met an I/O error that only a restart can clear.'
  ),
  ERR_STORE_CORRUPT: spec(
    500,
    1,
    false,
    'The store cannot be opened because its files are damaged.'
  ),
  ERR_STORE_VERSION: spec(
    500,
    1,
    false,
    'The store was written by a version this one cannot read.'
  ),
  ERR_DATA_DIR: spec(500, 1, false, 'The data directory cannot be created, read or written.'),
  ERR_DATA_DIR_LOCKED: spec(409, 1, false, 'Another node is using the data directory.'),
  ERR_CURSOR_UNKNOWN: spec(
    410,
    1,
    false,
    'The cursor belongs to another store or to one that is gone.'
  ),
  ERR_SUBSCRIPTION_UNKNOWN: spec(
    404,
    1,
    false,
    'No durable subscription has that name on this node.'
  ),
  ERR_SUBSCRIPTION_IN_USE: spec(409, 1, true, 'The durable subscription is open somewhere else.'),
  ERR_SUBSCRIPTION_CONFLICT: spec(
    409,
    1,
    false,
    'The durable subscription is registered with other options.'
  ),
  ERR_MESSAGE_UNKNOWN: spec(404, 1, false, 'The message is not in flight on this subscription.'),
  ERR_RECORD: spec(400, 1, false, 'The bytes are not a valid record; details.reason says why.'),
  ERR_IDENTITY_IN_USE: spec(409, 1, false, 'Another live node uses the identity of this one.'),
  ERR_NETWORK_KEY: spec(
    400,
    1,
    false,
    'The network key file is unreadable, malformed or readable by others.'
  ),
  ERR_NETWORK_KEY_MISMATCH: spec(403, 1, false, 'A peer holds another network key.'),
  ERR_LISTEN: spec(
    500,
    1,
    false,
    'An address to listen on is taken, forbidden or not of this machine.'
  ),
  ERR_PEER_UNREACHABLE: spec(503, 1, true, 'The peer is not connected and could not be dialled.'),
  ERR_PEER_UNKNOWN: spec(404, 1, false, 'No peer of that name or id is known; details lists some.'),
  ERR_PEER_AMBIGUOUS: spec(409, 1, false, 'Several peers have that name; details lists their ids.'),
  ERR_NO_RESPONDERS: spec(503, 1, true, 'No node that is up serves that service.'),
  ERR_RESPONDER: spec(
    502,
    1,
    false,
    "The service's handler failed; the message and details.code are its own."
  ),
  ERR_CUSTODIANS: spec(
    503,
    1,
    true,
    'Too few connected peers keep messages for others; the message waits at its sender.'
  ),
  ERR_REPLICAS: spec(
    504,
    1,
    true,
    'Too few other nodes confirmed a synced copy in time; the message is stored and may be delivered.'
  ),
  ERR_ID_CONFLICT: spec(
    409,
    1,
    false,
    'The idempotency id was used for another message a short while ago.'
  ),
  ERR_CHANNEL_FULL: spec(
    507,
    1,
    true,
    'The channel holds as much as its retention allows, and is set to refuse rather than trim.'
  ),
  ERR_SEALED: spec(400, 1, false, 'A sealed message cannot be opened with the key of this node.'),
  ERR_STREAM: spec(503, 1, true, 'A stream between two peers ended before it was done.'),
  ERR_NO_HANDLER: spec(404, 1, false, 'Nobody who was asked handles streams of that name.'),
  ERR_TIMEOUT: spec(504, 1, true, 'The call did not finish within its deadline.'),
  ERR_ABORTED: spec(
    503,
    1,
    true,
    'The call was aborted by its signal, or the stream by either side.'
  ),
  ERR_STOPPED: spec(503, 1, true, 'The node is stopping or has stopped.'),
  ERR_TOKEN: spec(401, 1, false, 'The API token is missing or wrong.'),
  ERR_HOST: spec(403, 1, false, 'The Host header names a host that is not allowed.'),
  ERR_ORIGIN: spec(
    403,
    1,
    false,
    'The request comes from a web page of an origin that is not allowed.'
  ),
  ERR_NOT_FOUND: spec(404, 1, false, 'There is no such route.'),
  ERR_METHOD: spec(405, 1, false, 'The route does not take that method.'),
  ERR_NO_NODE: spec(503, 3, true, 'No running node was found to talk to.'),
  ERR_MANY_NODES: spec(400, 2, false, 'Several nodes are running; say which one.'),
  ERR_INTERNAL: spec(500, 1, false, 'A fault in Skein itself; please report it.')
} as const satisfies Record<string, ErrorSpec>

/** A stable error code. */
export type ErrorCode = keyof typeof ERRORS

/** Facts about one error, for programs; what stands there depends on the code. */
export type ErrorDetails = Readonly<
  Record<string, string | number | boolean | null | readonly string[]>
>

/** A SkeinError as it crosses a process or network boundary. */
export interface ErrorObject {
  readonly code: ErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly details: ErrorDetails
}

/** Every error that Skein throws or rejects with. Branch on `code`, never on the text. */
export class SkeinError extends Error {
  override readonly name = 'SkeinError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {}
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }

  /** May the same call succeed later, unchanged? */
  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }

  /** HTTP status for this error. */
  get status(): number {
    return ERRORS[this.code].status
  }

  /** Exit code for this error. */
  get exit(): 1 | 2 | 3 {
    return ERRORS[this.code].exit
  }

  toJSON(): ErrorObject {
    return {
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      details: this.details
    }
  }

  /** Rebuilds an error that crossed a boundary; an unknown code becomes ERR_INTERNAL. */
  static from(object: { code?: unknown; message?: unknown; details?: unknown }): SkeinError {
    const known = typeof object.code === 'string' && Object.hasOwn(ERRORS, object.code)
    return new SkeinError(
      known ? (object.code as ErrorCode) : 'ERR_INTERNAL',
      typeof object.message === 'string' ? object.message : 'unknown error',
      {
        details:
          typeof object.details === 'object' && object.details !== null
            ? (object.details as ErrorDetails)
            : {}
      }
    )
  }
}

/** Is `error` a SkeinError, of one of `codes` where any are given? */
export function isSkeinError(error: unknown, ...codes: readonly ErrorCode[]): error is SkeinError {
  return error instanceof SkeinError && (codes.length === 0 || codes.includes(error.code))
}

/** The SkeinError in `error`, or ERR_INTERNAL around it. */
export function toSkeinError(error: unknown): SkeinError {
  if (error instanceof SkeinError) return error
  return new SkeinError('ERR_INTERNAL', error instanceof Error ? error.message : String(error), {
    cause: error
  })
}
