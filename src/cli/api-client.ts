import { Agent, request } from 'node:http'
import type {
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  OutgoingHttpHeaders
} from 'node:http'
import { SkeinError } from '../core/errors.ts'
import type { ApiTarget } from './node-locator.ts'

export interface CallOptions {
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Uint8Array
  readonly signal?: AbortSignal
}

/** An answer that is not an error. */
export interface ApiAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A topic as a path: slashes stay, everything else is encoded. */
export function topicPath(topic: string): string {
  return topic.split('/').map(encodeURIComponent).join('/')
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

interface ProblemLike {
  readonly code?: unknown
  readonly detail?: unknown
  readonly details?: unknown
}

function problemIn(body: Buffer): ProblemLike | null {
  try {
    return JSON.parse(body.toString('utf8')) as ProblemLike | null
  } catch {
    // Whoever answered does not speak the API; the status is all there is.
    return null
  }
}

function errorOf(status: number, body: Buffer): SkeinError {
  const problem = problemIn(body)
  if (typeof problem?.code !== 'string') {
    return new SkeinError(
      'ERR_INTERNAL',
      `The answer (HTTP ${status}) is not from a Skein node; check --api`
    )
  }
  return SkeinError.from({ code: problem.code, message: problem.detail, details: problem.details })
}

/** Talks HTTP to one node over kept connections. Rejects with ERR_NO_NODE when none answers. */
export class ApiClient {
  readonly #target: ApiTarget
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 })

  constructor(target: ApiTarget) {
    this.#target = target
  }

  /** Sends a request; resolves with the whole answer, rejects with the node's error. */
  async call(method: string, path: string, options: CallOptions = {}): Promise<ApiAnswer> {
    const response = await this.#send(method, path, options)
    const status = response.statusCode ?? 0
    let body: Buffer
    try {
      body = await readAll(response)
    } catch (error) {
      throw this.#unreachable(error)
    }
    if (status >= 400) throw errorOf(status, body)
    return { status, headers: response.headers, body }
  }

  /** Like `call`, for JSON both ways. */
  async json<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    const answer = await this.call(
      method,
      path,
      body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    )
    return (answer.body.length === 0 ? undefined : JSON.parse(answer.body.toString())) as Result
  }

  /** Opens a stream; resolves with its body unread. */
  async stream(path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    const response = await this.#send('GET', path, options)
    const status = response.statusCode ?? 0
    if (status >= 400) throw errorOf(status, await readAll(response))
    return response
  }

  /** Begins an exchange in both directions: resolves when the answer begins, with the request's body still to be written. */
  async duplex(
    method: string,
    path: string,
    options: Pick<CallOptions, 'headers' | 'signal'> = {}
  ): Promise<{ outgoing: ClientRequest; response: IncomingMessage }> {
    let outgoing: ClientRequest | undefined
    const response = await this.#send(method, path, options, (open) => {
      outgoing = open
      open.flushHeaders()
    })
    const status = response.statusCode ?? 0
    if (status >= 400 || outgoing === undefined) throw errorOf(status, await readAll(response))
    return { outgoing, response }
  }

  /** Closes kept connections. */
  close(): void {
    this.#agent.destroy()
  }

  #send(
    method: string,
    path: string,
    options: CallOptions,
    write = (outgoing: ClientRequest): void => {
      // As bytes: a string would be joined with the headers, and both written as UTF-8.
      outgoing.end(options.body === undefined ? undefined : Buffer.from(options.body))
    }
  ): Promise<IncomingMessage> {
    const { token, url } = this.#target
    return new Promise((resolve, reject) => {
      const outgoing = request(url + path, {
        method,
        agent: this.#agent,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...options.headers
        },
        ...(options.signal === undefined ? {} : { signal: options.signal })
      })
      outgoing.on('response', resolve)
      outgoing.on('error', (error) =>
        reject(
          options.signal?.aborted ? (options.signal.reason as Error) : this.#unreachable(error)
        )
      )
      write(outgoing)
    })
  }

  #unreachable(cause: unknown): SkeinError {
    const { code } = cause as NodeJS.ErrnoException
    return new SkeinError(
      'ERR_NO_NODE',
      `No node answers at ${this.#target.url} (${code ?? 'connection lost'}); check that it runs: skein status`,
      { cause }
    )
  }
}
