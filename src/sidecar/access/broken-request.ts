import type { Socket } from 'node:net'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { problemHeaders, problemOf } from '../problem.ts'

interface Refusal {
  readonly error: SkeinError
  readonly status: number
  /** As the figures name it. */
  readonly reason: 'headers' | 'timeout' | 'malformed'
}

function refusalOf({ code }: NodeJS.ErrnoException): Refusal {
  if (code === 'HPE_HEADER_OVERFLOW') {
    const text = `The request's headers are larger than ${LIMITS.httpHeaderBytes} bytes.`
    return { error: new SkeinError('ERR_HEADERS_TOO_LARGE', text), status: 431, reason: 'headers' }
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const text = 'The request headers did not come in time.'
    return { error: new SkeinError('ERR_TIMEOUT', text), status: 408, reason: 'timeout' }
  }
  const text = 'The bytes are not a valid HTTP/1.1 request.'
  return { error: new SkeinError('ERR_OPTIONS', text), status: 400, reason: 'malformed' }
}

/** Answers what is not even HTTP, in the same shape as everything else. `onRefused` is told why, where it was. */
export function answerBrokenRequest(
  fault: NodeJS.ErrnoException,
  socket: Socket,
  onRefused: (reason: string) => void
): void {
  if (!socket.writable || fault.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const { error, reason, status } = refusalOf(fault)
  onRefused(reason)
  const body = JSON.stringify(problemOf(error, status))
  const headers = Object.entries({
    ...problemHeaders(status),
    connection: 'close',
    'content-length': String(Buffer.byteLength(body))
  })
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(`HTTP/1.1 ${status} Refused\r\n${head}\r\n${body}`)
}
