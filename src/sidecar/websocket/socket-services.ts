import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type {
  ServiceAnswer,
  ServiceHandle,
  ServiceRequest,
  SkeinNode
} from '../../node/contract.ts'
import { Reply } from '../../node/reply.ts'
import type { Command } from './commands.ts'
import { payloadOf } from './frame-content.ts'
import { requestText } from './pushes.ts'
import type { SocketWriter } from './socket-writer.ts'

export interface SocketServicesComponents {
  readonly node: Pick<SkeinNode, 'reply'>
  readonly writer: SocketWriter
}

interface Pending {
  resolve(answer: Reply): void
  reject(error: Error): void
}

/** The services that one WebSocket connection answers. */
export class SocketServices {
  readonly #components: SocketServicesComponents
  readonly #handles = new Map<string, ServiceHandle>()
  /** Requests that are with the client, by their number. */
  readonly #pending = new Map<number, Pending>()
  #last = 0
  #gone: SkeinError | undefined

  constructor(components: SocketServicesComponents) {
    this.#components = components
  }

  /** Throws ERR_OPTIONS where this node serves it already, ERR_BUSY. */
  serve({ concurrency = LIMITS.wsServiceConcurrency, service }: Command<'serve'>): object {
    if (this.#handles.size >= LIMITS.wsServices) {
      throw new SkeinError(
        'ERR_BUSY',
        `A connection serves at most ${LIMITS.wsServices} services; open another connection.`
      )
    }
    const handle = this.#components.node.reply(service, (request) => this.#ask(request), {
      concurrency
    })
    this.#handles.set(service, handle)
    return { service }
  }

  /** Resolves when the client has answered what it has. Rejects with ERR_NOT_FOUND. */
  async unserve({ service }: Command<'unserve'>): Promise<void> {
    const handle = this.#handles.get(service)
    if (handle === undefined) {
      throw new SkeinError('ERR_NOT_FOUND', `This connection does not serve '${service}'.`)
    }
    this.#handles.delete(service)
    await handle.stop()
  }

  /** Throws ERR_NOT_FOUND where nobody waits for it any more. */
  reply(command: Command<'reply'>, text: string): void {
    const { error, headers, request: id } = command
    const answer = error === undefined ? payloadOf(command, text) : undefined
    const pending = this.#pending.get(id)
    if (pending === undefined) {
      throw new SkeinError(
        'ERR_NOT_FOUND',
        `Nobody waits for an answer to request ${id}: it was answered, its time is up, or its caller has gone.`
      )
    }
    if (answer === undefined) {
      const { code, message } = error ?? { code: undefined, message: '' }
      pending.reject(Object.assign(new Error(message), code === undefined ? {} : { code }))
    } else {
      pending.resolve(new Reply(answer.payload, { contentType: answer.contentType, headers }))
    }
  }

  /** No more requests are taken. Resolves when those that the client has are answered. */
  async drain(): Promise<void> {
    await Promise.all(Array.from(this.#handles.values(), (handle) => handle.stop()))
  }

  /** The client has gone: who waits for its answers hears of it at once. */
  async close(): Promise<void> {
    this.#gone = new SkeinError(
      'ERR_STREAM',
      'the connection of who answers broke before the answer came'
    )
    for (const pending of this.#pending.values()) pending.reject(this.#gone)
    await this.drain()
  }

  #ask(request: ServiceRequest): Promise<ServiceAnswer> {
    const id = ++this.#last
    return new Promise<Reply>((resolve, reject) => {
      const { signal } = request
      const over = (): void => {
        this.#pending.delete(id)
        signal.removeEventListener('abort', onAbort)
      }
      const onAbort = (): void => {
        over()
        reject(signal.reason as Error)
      }
      if (this.#gone !== undefined) {
        reject(this.#gone)
        return
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#pending.set(id, {
        resolve: (answer) => {
          over()
          resolve(answer)
        },
        reject: (error) => {
          over()
          reject(error)
        }
      })
      this.#components.writer.write(requestText(id, request))
    })
  }
}
