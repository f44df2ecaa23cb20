import { ERRORS, SkeinError, isSkeinError } from '../core/errors.ts'
import type { ErrorCode, ErrorDetails } from '../core/errors.ts'

/** Media type of RFC 9457. */
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** An error as the HTTP interface shows it (RFC 9457). */
export interface Problem {
  /** `urn:skein:error:<code>` */
  readonly type: string
  /** What the code means: the same for every error of that code. */
  readonly title: string
  readonly status: number
  /** What happened this time. */
  readonly detail: string
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: ErrorDetails
}

/** Seconds after which a refused call may be tried again. */
const RETRY_AFTER_SECONDS = 1

/** Its status, where it is the answer to a request: one that came too slowly is its client's fault. */
export function statusOf({ code, details, status }: SkeinError): number {
  return code === 'ERR_TIMEOUT' && details['part'] === 'body' ? 408 : status
}

/** The problem document of `error`; `status` replaces the table's where HTTP knows better. */
export function problemOf(error: SkeinError, status: number = error.status): Problem {
  return {
    type: `urn:skein:error:${error.code}`,
    title: ERRORS[error.code].meaning,
    status,
    detail: error.message,
    code: error.code,
    retryable: error.retryable,
    details: error.details
  }
}

/** Headers that go with a problem of this status. */
export function problemHeaders(status: number): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': PROBLEM_TYPE }
  if (status === 429 || status === 503) headers['retry-after'] = String(RETRY_AFTER_SECONDS)
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="skein"'
  return headers
}

const FRAMEWORK_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'ERR_CONTENT_TYPE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'ERR_PAYLOAD_TOO_LARGE',
  FST_ERR_NOT_FOUND: 'ERR_NOT_FOUND'
}

/** Whatever a route or the HTTP framework threw, as a SkeinError. */
export function errorOfRequest(error: unknown): SkeinError {
  if (isSkeinError(error)) return error
  if (error instanceof Error) {
    const { code, statusCode } = error as { code?: unknown; statusCode?: unknown }
    const known = typeof code === 'string' ? FRAMEWORK_CODES[code] : undefined
    if (known !== undefined) return new SkeinError(known, error.message, { cause: error })
    if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
      return new SkeinError('ERR_OPTIONS', `The request is malformed: ${error.message}.`, {
        cause: error
      })
    }
  }
  return new SkeinError(
    'ERR_INTERNAL',
    'The node met a fault of its own while answering; its log has the details.',
    { cause: error }
  )
}
