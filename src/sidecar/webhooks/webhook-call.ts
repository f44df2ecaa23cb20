import {
  Agent,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request as askHttp
} from 'node:http'
import { Agent as TlsAgent, request as askHttps } from 'node:https'

export interface WebhookCall {
  readonly headers: OutgoingHttpHeaders
  readonly payload: Uint8Array
  /** Bytes of the answer's body; more is cut off. */
  readonly limit: number
  readonly signal: AbortSignal
  /** False: an answer counts whose body breaks off. Default true. */
  readonly needsBody?: boolean
  /** There is a connection, the request goes out on it. `isReused`: the other side may have closed it meanwhile. */
  readonly onConnection?: (isReused: boolean) => void
}

export interface WebhookAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly payload: Buffer
  /** There was more than `limit`. */
  readonly isCut: boolean
}

/** Kept connections; idle ones keep no process alive. */
const agent = new Agent({ keepAlive: true })
const tlsAgent = new TlsAgent({ keepAlive: true })

/**
 * POST, with the answer as it comes: redirects are not followed. By `node:http`, because `fetch` makes three streams of
 * each call and takes three times as long. Rejects with the signal's reason, or with an error of the system.
 */
export function callWebhook(url: string, call: WebhookCall): Promise<WebhookAnswer> {
  const { headers, limit, needsBody = true, onConnection, payload, signal } = call
  const isTls = url.startsWith('https:')
  return new Promise((resolve, reject) => {
    const options = { method: 'POST', agent: isTls ? tlsAgent : agent, headers }
    const outgoing = isTls ? askHttps(url, options) : askHttp(url, options)
    const give = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = (): void => {
      outgoing.destroy()
      give(() => reject(signal.reason as Error))
    }
    if (onConnection !== undefined) {
      outgoing.on('socket', (socket) => {
        if (outgoing.reusedSocket) onConnection(true)
        else socket.once(isTls ? 'secureConnect' : 'connect', () => onConnection(false))
      })
    }
    outgoing.on('error', (error) => give(() => reject(error)))
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      const answer = (isCut: boolean): void =>
        give(() =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            payload: Buffer.concat(chunks),
            isCut
          })
        )
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= limit) chunks.push(chunk)
        else {
          answer(true)
          outgoing.destroy()
        }
      })
      response.on('end', () => answer(false))
      // The connection broke within the body.
      response.on('error', (error) => (needsBody ? give(() => reject(error)) : answer(true)))
    })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    outgoing.end(payload)
  })
}
