import type { Message } from '../../node/contract.ts'
import { LIMITS } from '../../core/limits.ts'
import { cloudEventJson, eventAttributes } from '../events/cloud-event.ts'
import { asHttpType, traceHeaders } from '../message-headers.ts'
import { type WebhookAnswer, type WebhookCall, callWebhook } from './webhook-call.ts'
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

/** `Retry-After` in seconds or as a date, as ms; 0 where it says nothing. */
export function retryAfterOf(value: string | undefined, now: number): number {
  if (value === undefined) return 0
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

function callOf(webhook: Webhook, subscription: string, message: Message): Call {
  const isBinary = webhook.mode === 'binary'
  const payload = isBinary ? message.payload : Buffer.from(cloudEventJson(message, 'auto'))
  return {
    payload,
    headers: {
      'user-agent': 'skein',
      ...webhook.headers,
      ...(isBinary
        ? binaryHeaders(message)
        : { 'content-type': 'application/cloudevents+json; charset=utf-8' }),
      ...traceHeaders(message.headers),
      'content-length': payload.byteLength,
      'skein-subscription': encodeURIComponent(subscription)
    }
  }
}

/** Pushes one message: POST, and 2xx takes it. Never rejects. */
export async function pushTo(
  webhook: Webhook,
  subscription: string,
  message: Message,
  signal: AbortSignal
): Promise<Pushed> {
  const { timeoutMs, url } = webhook
  const call = (): Call => callOf(webhook, subscription, message)
  const first = await attempt({ call, timeoutMs, url }, signal)
  if (first !== 'stale') return first
  // A kept connection that the endpoint has closed meanwhile says nothing of it, nor of the message.
  const second = await attempt({ call, timeoutMs, url }, signal)
  return second === 'stale' ? failed('the connection broke') : second
}

type Call = Pick<WebhookCall, 'headers' | 'payload'>

const failed = (why: string): Pushed => ({ kind: 'failed', why, retryAfterMs: 0 })

async function attempt(
  { call, timeoutMs, url }: { call: () => Call; timeoutMs: number; url: string },
  signal: AbortSignal
): Promise<Pushed | 'stale'> {
  const seen: { connection: 'none' | 'new' | 'reused' } = { connection: 'none' }
  // `AbortSignal.any` and `timeout` cost far more.
  const over = new AbortController()
  const stop = (): void => over.abort()
  const late = setTimeout(stop, timeoutMs)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    const answer = await callWebhook(url, {
      ...call(),
      limit: LIMITS.webhookAnswerBytes,
      signal: over.signal,
      needsBody: false,
      onConnection: (isReused) => (seen.connection = isReused ? 'reused' : 'new')
    })
    return verdictOn(answer)
  } catch (error) {
    if (signal.aborted) return { kind: 'stopped' }
    const { code, message } = error as NodeJS.ErrnoException
    const why = over.signal.aborted ? `within ${timeoutMs / 1000} s` : `(${code ?? message})`
    // What cannot even be said in HTTP is a fault of the message.
    if (seen.connection === 'none' && !(error instanceof TypeError)) {
      return { kind: 'later', why: `cannot be reached ${why}`, retryAfterMs: 0 }
    }
    if (over.signal.aborted) return failed(`no answer ${why}`)
    return seen.connection === 'reused' ? 'stale' : failed(`the connection broke ${why}`)
  } finally {
    clearTimeout(late)
    signal.removeEventListener('abort', stop)
  }
}

function verdictOn({ headers, status }: WebhookAnswer): Pushed {
  if (status >= 200 && status < 300) return { kind: 'done' }
  const why = `HTTP ${status}`
  if (status === GONE) return { kind: 'gone', why }
  const retryAfterMs = retryAfterOf(headers['retry-after'], Date.now())
  return { kind: LATER.has(status) ? 'later' : 'failed', why, retryAfterMs }
}
