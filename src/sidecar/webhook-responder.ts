import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ServiceRequest } from '../node/contract.ts'
import { Reply } from '../node/reply.ts'
import {
  answerHeaders,
  asHttpHeaders,
  asHttpType,
  headerBytes,
  traceHeaders
} from './message-headers.ts'

/** Of what a webhook says when it fails, so many characters reach the caller. */
const WHY_CHARACTERS = 500

/** Nobody listens at a webhook's address: it never saw the request. */
export class WebhookGone extends Error {}

/**
 * Asks a webhook: POST with payload, content type and headers of the request, beside them `Skein-Service`, `Skein-From`
 * (PeerId) and `Skein-Timeout` (seconds). An answer of 2xx is the reply. Throws WebhookGone, or what the caller is told.
 */
export async function askWebhook(
  url: string,
  request: Omit<ServiceRequest, 'signal'>,
  signal: AbortSignal
): Promise<Reply> {
  const { contentType, from, service, timeoutMs } = request
  let response: Response
  try {
    response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      signal,
      body: Uint8Array.from(request.payload),
      headers: {
        ...asHttpHeaders(request.headers),
        ...traceHeaders(request.headers),
        'content-type': asHttpType(contentType),
        'skein-service': headerBytes(service),
        'skein-from': from,
        ...(timeoutMs === undefined ? {} : { 'skein-timeout': String(Math.ceil(timeoutMs) / 1000) })
      }
    })
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED')
      throw new WebhookGone('nobody answers at the webhook of this service', { cause: error })
    throw new SkeinError('ERR_RESPONDER', `the webhook failed: ${code ?? 'connection lost'}`, {
      cause: error
    })
  }
  const payload = await bodyOf(response)
  if (!response.ok) throw new Error(whyOf(response, payload))
  return new Reply(payload, answerHeaders(response.headers))
}

async function bodyOf(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > LIMITS.payloadBytes) {
      throw new SkeinError(
        'ERR_PAYLOAD_TOO_LARGE',
        `the webhook answered with more than ${LIMITS.payloadBytes} bytes`
      )
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What a webhook that failed says for itself, where that is text. */
function whyOf({ headers, status }: Response, payload: Uint8Array): string {
  const text = /^text\/plain\b/i.test(headers.get('content-type') ?? '')
    ? Buffer.from(payload).toString('utf8').trim().slice(0, WHY_CHARACTERS)
    : ''
  return text === '' ? `the webhook answered with HTTP ${status}` : text
}
