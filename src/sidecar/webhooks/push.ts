import type { Message } from '../../node/contract.ts'
import { LIMITS } from '../../core/limits.ts'
import { cloudEventJson, eventAttributes } from '../cloud-event.ts'
import { asHttpType } from '../message-headers.ts'
import type { Webhook } from './webhook.ts'

/** What became of one push. */
export type Pushed =
  /** Acknowledged. */
  | { readonly kind: 'done' }
  /** The endpoint had the message and did not take it, or may have had it: this counts. */
  | { readonly kind: 'failed'; readonly why: string; readonly retryAfterMs: number }
  /** The endpoint never had it, or asks for later: this does not count. */
  | { readonly kind: 'later'; readonly why: string; readonly retryAfterMs: number }
  /** Nothing is wanted there any more. */
  | { readonly kind: 'gone'; readonly why: string }
  /** Given up half way, because the node stops or the webhook is replaced. */
  | { readonly kind: 'stopped' }

/** Answers that ask for later: Request Timeout, Too Early, Too Many Requests, Service Unavailable. */
const LATER: ReadonlySet<number> = new Set([408, 425, 429, 503])
const GONE = 410

/** Errors of a connection that was never there: no byte of the request was sent. */
const UNREACHABLE =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN|EADDRNOTAVAIL|EMFILE|ENFILE|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|CERT_\w+|ERR_TLS_\w+|ERR_SSL_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+|UNABLE_TO_\w+)$/

/** `Retry-After` in seconds or as a date, as ms; 0 where it says nothing. */
export function retryAfterOf(value: string | null, now: number): number {
  if (value === null) return 0
  const text = value.trim()
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(0, ms), LIMITS.webhookRetryAfterMaxMs)
}

/** CloudEvents allow printable ASCII in header values, but for `"`, `%` and space; the rest is percent-encoded UTF-8. */
function headerValue(value: unknown): string {
  return String(value).replace(/[^\x21\x23\x24\x26-\x7e]+/gu, (text) =>
    [...Buffer.from(text, 'utf8')]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join('')
  )
}

/** Attributes of an event as `ce-*` headers; its data and content type have places of their own. */
function binaryHeaders(message: Message): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(eventAttributes(message))) {
    if (name !== 'datacontenttype') headers[`ce-${name}`] = headerValue(value)
  }
  headers['content-type'] = asHttpType(message.contentType)
  return headers
}

const TRACE = ['traceparent', 'tracestate'] as const
const PRINTABLE = /^[\u0020-\u007e]+$/

/** W3C trace context goes where every tracing library looks for it. */
function traceHeaders({ headers }: Message): Record<string, string> {
  return Object.fromEntries(
    TRACE.flatMap((name) => {
      const value = headers[name]
      return value !== undefined && PRINTABLE.test(value) ? [[name, value]] : []
    })
  )
}

function requestOf(webhook: Webhook, subscription: string, message: Message): RequestInit {
  const isBinary = webhook.mode === 'binary'
  return {
    method: 'POST',
    redirect: 'manual',
    body: isBinary ? Uint8Array.from(message.payload) : cloudEventJson(message, 'auto'),
    headers: {
      'user-agent': 'skein',
      ...webhook.headers,
      ...(isBinary
        ? binaryHeaders(message)
        : { 'content-type': 'application/cloudevents+json; charset=utf-8' }),
      ...traceHeaders(message),
      'skein-subscription': encodeURIComponent(subscription)
    }
  }
}

/** The connection can be used again once the answer is read; a long one is not worth that. */
async function discard(response: Response): Promise<void> {
  let bytes = 0
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.byteLength
      if (bytes > LIMITS.webhookAnswerBytes) return
    }
  } catch {
    // The status has been said; what was to follow is of no interest.
  }
}

function failureOf(error: unknown, timeoutMs: number): Pushed {
  if ((error as Error).name === 'TimeoutError') {
    return { kind: 'failed', why: `no answer within ${timeoutMs / 1000} s`, retryAfterMs: 0 }
  }
  const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
  if (code !== undefined && UNREACHABLE.test(code)) {
    return { kind: 'later', why: `cannot be reached (${code})`, retryAfterMs: 0 }
  }
  return {
    kind: 'failed',
    why: `the connection broke (${code ?? (error as Error).message})`,
    retryAfterMs: 0
  }
}

/** Pushes one message: POST, and 2xx takes it. Never rejects. */
export async function pushTo(
  webhook: Webhook,
  subscription: string,
  message: Message,
  signal: AbortSignal
): Promise<Pushed> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(webhook.timeoutMs)])
  let response: Response
  try {
    response = await fetch(webhook.url, {
      ...requestOf(webhook, subscription, message),
      signal: until
    })
  } catch (error) {
    return signal.aborted ? { kind: 'stopped' } : failureOf(error, webhook.timeoutMs)
  }
  await discard(response)
  const { ok, status } = response
  if (ok) return { kind: 'done' }
  const why = `HTTP ${status}`
  if (status === GONE) return { kind: 'gone', why }
  const retryAfterMs = retryAfterOf(response.headers.get('retry-after'), Date.now())
  return { kind: LATER.has(status) ? 'later' : 'failed', why, retryAfterMs }
}
