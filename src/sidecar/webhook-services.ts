import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { ServiceAnswer, ServiceHandle, ServiceRequest, SkeinNode } from '../node/contract.ts'
import { WebhookGone, askWebhook } from './webhook-responder.ts'

/** How requests for a service are answered. */
export interface Responder {
  readonly webhook: string
  /** Requests that are with the webhook at once. */
  readonly concurrency: number
  /** The service ends unless it is put again within this time, ms; undefined: with `delete`, or with the node. */
  readonly ttlMs: number | undefined
}

export interface ServedService extends Responder {
  readonly service: string
  readonly running: number
  readonly waiting: number
}

interface Entry {
  responder: Responder
  readonly handle: ServiceHandle
  timer: NodeJS.Timeout | undefined
}

/** The services of a node that webhooks answer. */
export class WebhookServices {
  readonly #node: Pick<SkeinNode, 'reply'>
  readonly #log: Logger
  readonly #entries = new Map<string, Entry>()
  readonly #stopping = new AbortController()

  constructor(components: { node: Pick<SkeinNode, 'reply'>; logger: Logger }) {
    this.#node = components.node
    this.#log = components.logger
  }

  /** Serves it, or goes on with this responder. Throws ERR_OPTIONS, ERR_STOPPED. */
  put(service: string, responder: Responder): ServedService {
    const old = this.#entries.get(service)
    if (old !== undefined && old.responder.concurrency === responder.concurrency) {
      old.responder = responder
      this.#lease(service, old)
      return shown(service, old)
    }
    if (old !== undefined) void this.#end(service, old)
    const handle = this.#node.reply(service, (request) => this.#answer(entry, request), {
      concurrency: responder.concurrency
    })
    const entry: Entry = { responder, handle, timer: undefined }
    this.#entries.set(service, entry)
    this.#lease(service, entry)
    return shown(service, entry)
  }

  /** Throws ERR_NOT_FOUND. */
  get(service: string): ServedService {
    return shown(service, this.#find(service))
  }

  /** Resolves when the webhook has finished with what it has. Rejects with ERR_NOT_FOUND. */
  async delete(service: string): Promise<void> {
    await this.#end(service, this.#find(service))
  }

  /** Webhooks that have not answered after LIMITS.serviceDrainMs are not waited for. */
  async stop(): Promise<void> {
    const reason = new SkeinError('ERR_STOPPED', 'the node stops')
    const timer = setTimeout(() => this.#stopping.abort(reason), LIMITS.serviceDrainMs)
    await Promise.all(Array.from(this.#entries, ([service, entry]) => this.#end(service, entry)))
    clearTimeout(timer)
  }

  async #answer(entry: Entry, request: ServiceRequest): Promise<ServiceAnswer> {
    try {
      const signal = AbortSignal.any([request.signal, this.#stopping.signal])
      return await askWebhook(entry.responder.webhook, request, signal)
    } catch (error) {
      if (error instanceof WebhookGone && entry.responder.ttlMs !== undefined) {
        this.#log.warn({ service: request.service }, 'a webhook is gone, and its service with it')
        void this.#end(request.service, entry)
      }
      throw error
    }
  }

  #find(service: string): Entry {
    const entry = this.#entries.get(service)
    if (entry !== undefined) return entry
    throw new SkeinError('ERR_NOT_FOUND', `No webhook answers '${service}' at this node.`)
  }

  #lease(service: string, entry: Entry): void {
    clearTimeout(entry.timer)
    const { ttlMs } = entry.responder
    if (ttlMs === undefined) return
    entry.timer = setTimeout(() => void this.#end(service, entry), ttlMs)
    entry.timer.unref()
  }

  async #end(service: string, entry: Entry): Promise<void> {
    clearTimeout(entry.timer)
    if (this.#entries.get(service) === entry) this.#entries.delete(service)
    await entry.handle.stop()
  }
}

function shown(service: string, { handle, responder }: Entry): ServedService {
  return { service, ...responder, running: handle.running, waiting: handle.waiting }
}
