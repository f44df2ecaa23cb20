import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ServiceHandle, ServiceReply } from '../services/contract.ts'
import type { Services } from '../services/services.ts'
import { type Content, headersSize } from '../wire/request-frames.ts'
import type {
  Data,
  ReplyOptions,
  RequestOptions,
  ScatterOptions,
  ServiceHandler
} from './contract.ts'
import { checkReplyOptions, checkRequestOptions, checkScatterOptions } from './options.ts'
import { encodeData } from './outgoing.ts'
import { Reply } from './reply.ts'

interface Asked {
  readonly service: string
  readonly content: Content
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
}

const EMPTY: Content = { payload: new Uint8Array(), contentType: undefined, headers: undefined }

/** Requests and replies as applications see them: data in, data out. */
export class Requests {
  readonly #services: Services
  readonly #payloadBytes: number

  constructor(services: Services, payloadBytes: number) {
    this.#services = services
    this.#payloadBytes = payloadBytes
  }

  reply(service: string, handler: ServiceHandler, options: ReplyOptions): ServiceHandle {
    checkReplyOptions(options)
    const { concurrency = LIMITS.serviceConcurrency } = options
    return this.#services.host.serve(
      service,
      async (request) => {
        const answer = await handler(request)
        return isIterable(answer) ? this.#contents(answer) : this.#answer(answer)
      },
      concurrency
    )
  }

  request(service: string, data: Data, options: RequestOptions): Promise<ServiceReply> {
    checkRequestOptions(options)
    return this.#services.requester.request(this.#asked(service, data, options))
  }

  requestMany(
    service: string,
    data: Data,
    options: RequestOptions
  ): AsyncIterableIterator<ServiceReply> {
    checkRequestOptions(options)
    return this.#services.requester.requestMany(this.#asked(service, data, options))
  }

  scatter(service: string, data: Data, options: ScatterOptions): Promise<ServiceReply[]> {
    checkScatterOptions(options)
    const { count = Infinity } = options
    return this.#services.requester.scatter(this.#asked(service, data, options), count)
  }

  #asked(service: string, data: Data, options: RequestOptions): Asked {
    const { timeoutMs = LIMITS.requestTimeoutMs, signal } = options
    // A copy: it may wait for its connection, or be handed to a handler of this node.
    const own = data instanceof Uint8Array ? Uint8Array.from(data) : data
    return { service, content: this.#content(own, options), timeoutMs, signal }
  }

  async *#contents(answers: AsyncIterable<unknown>): AsyncGenerator<Content> {
    for await (const answer of answers) yield this.#answer(answer)
  }

  #answer(answer: unknown): Content {
    if (answer === undefined) return EMPTY
    if (answer instanceof Reply) return this.#content(answer.data, answer)
    return this.#content(answer as Data, {})
  }

  #content(data: Data, options: Pick<RequestOptions, 'contentType' | 'headers'>): Content {
    const { contentType, payload } = encodeData(data, this.#payloadBytes)
    const { headers } = options
    if (headers !== undefined && headersSize(headers) > LIMITS.headersBytes) {
      throw new SkeinError(
        'ERR_HEADERS_TOO_LARGE',
        `the headers take more than ${LIMITS.headersBytes} bytes`
      )
    }
    const type = options.contentType ?? contentType
    if (type !== undefined && Buffer.byteLength(type) > LIMITS.fieldBytes) {
      throw new SkeinError(
        'ERR_OPTIONS',
        `contentType takes more than ${LIMITS.fieldBytes} bytes`,
        {
          details: { option: 'contentType' }
        }
      )
    }
    return { payload, contentType: type, headers }
  }
}

function isIterable(answer: unknown): answer is AsyncIterable<unknown> {
  return typeof answer === 'object' && answer !== null && Symbol.asyncIterator in answer
}
