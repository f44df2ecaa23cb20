import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ServiceRequest } from '../../node/contract.ts'
import { Reply } from '../../node/reply.ts'
import {
  answerHeaders,
  asHttpHeaders,
  asHttpType,
  headerBytes,
  traceHeaders
} from '../message-headers.ts'
import { type WebhookAnswer, callWebhook } from './webhook-call.ts'

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
  let answer: WebhookAnswer
  try {
    answer = await callWebhook(url, {
      payload: request.payload,
      limit: LIMITS.payloadBytes,
      signal,
      headers: {
        ...asHttpHeaders(request.headers),
        ...traceHeaders(request.headers),
        'content-type': asHttpType(contentType),
        'content-length': request.payload.byteLength,
        'skein-service': headerBytes(service),
        'skein-from': from,
        ...(timeoutMs === undefined ? {} : { 'skein-timeout': String(Math.ceil(timeoutMs) / 1000) })
      }
    })
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED')
      throw new WebhookGone('nobody answers at the webhook of this service', { cause: error })
    throw new SkeinError('ERR_RESPONDER', `the webhook failed: ${code ?? 'connection lost'}`, {
      cause: error
    })
  }
  if (answer.isCut) {
    throw new SkeinError(
      'ERR_PAYLOAD_TOO_LARGE',
      `the webhook answered with more than ${LIMITS.payloadBytes} bytes`
    )
  }
  if (answer.status < 200 || answer.status > 299) throw new Error(whyOf(answer))
  return new Reply(answer.payload, answerHeaders(answer.headers))
}

/** What a webhook that failed says for itself, where that is text. */
function whyOf({ headers, payload, status }: WebhookAnswer): string {
  const text = /^text\/plain\b/i.test(headers['content-type'] ?? '')
    ? payload.toString('utf8').trim().slice(0, WHY_CHARACTERS)
    : ''
  return text === '' ? `the webhook answered with HTTP ${status}` : text
}
