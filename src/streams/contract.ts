import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { PeerId } from '../mesh/contract.ts'

/** What the opener tells of a stream: a JSON object of at most 4 KiB. */
export type StreamMetadata = Readonly<Record<string, unknown>>

/** A byte stream in both directions between two nodes. The directions end apart from each other. */
export interface ByteStream {
  /** The other side. */
  readonly peer: PeerId
  readonly name: string
  /** As the opener gave it. */
  readonly metadata: StreamMetadata
  /**
   * What the other side writes. Ends when it closed its `writable`. Fails with the code of its reason when it
   * aborted, with ERR_STREAM when the link or the peer is gone. `cancel()` tells it that nothing more is read.
   */
  readonly readable: ReadableStream<Uint8Array>
  /**
   * What the other side reads. A write waits while the other side is more than 1 MiB behind, so wait for it.
   * `close()` ends this direction only; `abort(reason)` breaks it at the other side with that reason.
   */
  readonly writable: WritableStream<Uint8Array>
  /**
   * Resolves when both directions have ended: all that was written was sent, and all that the other side wrote is
   * here. Rejects with what broke the stream.
   */
  readonly closed: Promise<void>
  /**
   * Breaks both directions at once, at both sides, with `reason`: a SkeinError keeps its code there, anything else
   * is ERR_ABORTED with its text. No effect on a stream that has ended.
   */
  abort(reason?: unknown): void
}

/** A stream that a peer opened. */
export interface IncomingStream extends ByteStream {
  /** Aborted with the error when the stream breaks or is aborted. */
  readonly signal: AbortSignal
}

/**
 * Takes streams of one name. The stream ends with the returned promise: when it resolves, `writable` is closed after
 * what was written to it, and what was not read is refused; when it rejects, the stream is aborted with the error.
 */
export type StreamHandler = (stream: IncomingStream) => Promise<void> | void

export interface OpenStreamOptions {
  /** PeerId or name. Default: any connected peer that handles the name; they are asked in random order. */
  readonly peer?: string | undefined
  /** Default: {}. */
  readonly metadata?: StreamMetadata | undefined
  /** Aborts the opening, and the stream while it is open. */
  readonly signal?: AbortSignal | undefined
}
