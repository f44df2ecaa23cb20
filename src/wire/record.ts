import type { HybridTime } from './hybrid-clock.ts'

/** Where the session before this one ended, as far as its publisher knew: a lower bound, never its closing. */
export interface PreviousSession {
  readonly session: string
  readonly sequence: number
  readonly digest: Uint8Array
}

/** Header flags. */
export const FLAGS = {
  /** The body is a statement of the publisher about its own log, not messages for subscribers. */
  control: 1,
  /** Neither stored nor chained. */
  ephemeral: 2
} as const

/** A record's header: verifies alone, without the body. */
export interface RecordHeader {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publisherKey: Uint8Array
  /** PeerId of `publisherKey`, as text. Derived, not on the wire. */
  readonly publisher: string
  /** 16 lower-case hex digits: 48 bits of ms, 16 bits random. Compares as text in time order. */
  readonly session: string
  readonly channel: string
  /** Sequence number of the first message; a session starts at 1. */
  readonly first: number
  /** Messages in the body, at least 1. */
  readonly count: number
  /** Digest of the record before in this session; undefined in its first record. */
  readonly previous: Uint8Array | undefined
  /** Only in a session's first record. */
  readonly before: PreviousSession | undefined
  /** Hybrid time of the record; monotone within a log. */
  readonly time: HybridTime
  readonly bodyLength: number
  /** SHA-256 of the body bytes. */
  readonly bodyHash: Uint8Array
  /** 0 = none. Others are reserved and refused. */
  readonly compression: number
  readonly flags: number
}

/**
 * A sealed record. `bytes` is one protobuf `Record` and stands unchanged on the wire, in the log and in the
 * sync stream; its first `headLength` bytes (header and signature) are a valid `Record` without a body.
 */
export interface SealedRecord {
  readonly header: RecordHeader
  /** SHA-256 over a domain and the header bytes: the record's identity, and what the signature covers. */
  readonly digest: Uint8Array
  readonly bytes: Uint8Array
  readonly headLength: number
  /** The body within `bytes`. */
  readonly body: Uint8Array
}

/** The header and signature of a record whose body is not here. */
export type RecordHead = Omit<SealedRecord, 'body'>

/** One message as it is put into a body. */
export interface MessageFields {
  /** What follows the channel in the topic, its leading slash included: '' for `a`, '/' for `a/`, '/b' for `a/b`. */
  readonly suffix: string
  readonly payload: Uint8Array
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Relative to the record's time. */
  readonly ttlMs?: number | undefined
  /** 0 to 9, default 0. */
  readonly priority?: number | undefined
  /** Not before, ms since 1970. */
  readonly deliverAt?: number | undefined
  /** Idempotency id. */
  readonly id?: string | undefined
  readonly replyTo?: string | undefined
}
