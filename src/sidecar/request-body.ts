import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { optionError } from './query.ts'

function tooLarge(limit: number): SkeinError {
  return new SkeinError(
    'ERR_PAYLOAD_TOO_LARGE',
    `The request body is larger than ${limit} bytes; send less at once.`,
    { details: { limit } }
  )
}

function wentAway(): SkeinError {
  return new SkeinError('ERR_ABORTED', 'The client went away before its request was complete.')
}

/**
 * The chunks of a request's body as they come; the socket is read no faster than they are taken. Ends when the
 * client has sent everything; throws the signal's reason when it aborts, and ERR_ABORTED when the client went
 * away. Leaves the request usable: the answer still has to go out on its socket.
 */
export async function* bodyChunks(
  request: IncomingMessage,
  signal: AbortSignal
): AsyncGenerator<Buffer> {
  const chunks: Buffer[] = []
  let ended = request.readableEnded
  let failure: Error | undefined
  let wake: (() => void) | undefined
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk)
    request.pause()
    wake?.()
  }
  const onEnd = (): void => {
    ended = true
    wake?.()
  }
  const onClose = (): void => {
    if (ended) return
    failure ??= wentAway()
    wake?.()
  }
  const onAbort = (): void => {
    failure = signal.reason as Error
    wake?.()
  }
  if (request.destroyed && !ended) onClose()
  if (signal.aborted) onAbort()
  request.on('data', onData).on('end', onEnd).on('close', onClose)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (;;) {
      const chunk = chunks.shift()
      if (chunk !== undefined) yield chunk
      else if (ended) return
      else if (failure !== undefined) throw failure
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
          request.resume()
        })
      }
    }
  } finally {
    request.off('data', onData).off('end', onEnd).off('close', onClose)
    signal.removeEventListener('abort', onAbort)
  }
}

/**
 * The whole body. Rejects with ERR_PAYLOAD_TOO_LARGE above `limit` bytes, ERR_TIMEOUT after LIMITS.httpBodyTimeoutMs, and
 * otherwise as `bodyChunks`. Every message that comes in over HTTP passes here, so it makes no signals and no iterator.
 */
export async function readBody(
  request: IncomingMessage,
  limit: number,
  signal: AbortSignal
): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > limit) throw tooLarge(limit)
  if (request.readableEnded) return Buffer.alloc(0)
  if (signal.aborted) throw signal.reason
  if (request.destroyed) throw wentAway()
  const chunks: Buffer[] = []
  let bytes = 0
  let release = (): void => {}
  try {
    await new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        bytes += chunk.length
        if (bytes > limit) reject(tooLarge(limit))
        else chunks.push(chunk)
      }
      const onEnd = (): void => resolve()
      const onClose = (): void => {
        if (!request.readableEnded) reject(wentAway())
      }
      const onAbort = (): void => reject(signal.reason as Error)
      const timer = setTimeout(() => reject(late()), LIMITS.httpBodyTimeoutMs)
      release = () => {
        clearTimeout(timer)
        // The rest is for whoever decides what becomes of the connection.
        request.pause()
        request.off('data', onData).off('end', onEnd).off('close', onClose)
        signal.removeEventListener('abort', onAbort)
      }
      request.on('data', onData).on('end', onEnd).on('close', onClose)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  } finally {
    release()
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

function late(): SkeinError {
  return new SkeinError(
    'ERR_TIMEOUT',
    `The request body did not come within ${LIMITS.httpBodyTimeoutMs / 1000} s.`,
    { details: { part: 'body' } }
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `The request body is not JSON: ${error instanceof Error ? error.message : 'malformed'}.`,
      { cause: error, details: { option: 'body' } }
    )
  }
}

/** The body as JSON that fits `schema`; an empty body is an empty object. Throws ERR_OPTIONS naming the field. */
export async function readJson<Schema extends z.ZodType>(
  request: IncomingMessage,
  schema: Schema,
  signal: AbortSignal
): Promise<z.output<Schema>> {
  const type = request.headers['content-type']
  if (type !== undefined && !/^application\/json\s*(;|$)/i.test(type)) {
    throw new SkeinError(
      'ERR_CONTENT_TYPE',
      `The body must be application/json, not '${type}'; set the Content-Type header.`
    )
  }
  const body = await readBody(request, LIMITS.httpJsonBytes, signal)
  if (body.length > 0 && type === undefined) {
    throw new SkeinError(
      'ERR_CONTENT_TYPE',
      'The body has no Content-Type; send application/json with the header set.'
    )
  }
  const parsed = schema.safeParse(body.length === 0 ? {} : parseJson(body.toString('utf8')))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue?.path.join('.') || (issue?.code === 'unrecognized_keys' ? issue.keys[0] : '')
  throw optionError(field || 'body', issue?.message ?? 'is not as expected.')
}
