import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ByteStream } from '../../node/contract.ts'
import { bodyChunks } from '../request-body.ts'

/** A request and its response, both open. */
export interface Exchange {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  /** The response ends after the request: many clients stop to send when it does. */
  readonly endsLast: boolean
}

/**
 * A byte stream as one HTTP exchange: the request's body is what the other side reads, the response's body what it
 * writes. Resolves when both have ended. Where one breaks, both do, and the response is cut off.
 */
export async function copyStream(
  stream: ByteStream,
  { endsLast, raw, response }: Exchange,
  signal: AbortSignal
): Promise<void> {
  const onAbort = (): void => stream.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const downloaded = download(stream, response).then(() => {
      if (!endsLast) response.end()
    })
    await Promise.all([upload(stream, raw, signal), downloaded])
    if (endsLast) response.end()
  } catch (error) {
    stream.abort(error)
    // Whoever reads it must not take a part for the whole.
    raw.socket.destroy()
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function upload(
  { writable }: ByteStream,
  raw: IncomingMessage,
  signal: AbortSignal
): Promise<void> {
  const writer = writable.getWriter()
  for await (const chunk of bodyChunks(raw, signal)) await writer.write(chunk)
  await writer.close()
}

async function download({ readable }: ByteStream, response: ServerResponse): Promise<void> {
  for await (const chunk of readable) {
    if (!response.write(chunk)) await drained(response)
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
    if (response.destroyed) done()
  })
}
