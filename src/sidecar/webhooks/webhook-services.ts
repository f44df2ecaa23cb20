import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type {
  ServiceAnswer,
  ServiceHandle,
  ServiceRequest,
  SkeinNode
} from '../../node/contract.ts'
import { WebhookGone, askWebhook } from './webhook-responder.ts'
import type { WebhookFile } from './webhook-file.ts'

/** How requests for a service are answered. */
export interface Responder {
  readonly webhook: string
  /** Requests that are with the webhook at once. */
  readonly concurrency: number
  /** The service ends unless it is put again within this time, ms; undefined: with `delete`, restarts or not. */
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

export interface WebhookServicesComponents {
  readonly node: Pick<SkeinNode, 'reply'>
  readonly file: Pick<WebhookFile, 'services' | 'keepService'>
  readonly logger: Logger
}

/** The services of a node that webhooks answer. */
export class WebhookServices {
  readonly #node: Pick<SkeinNode, 'reply'>
  readonly #log: Logger
  readonly #file: WebhookServicesComponents['file']
  readonly #entries = new Map<string, Entry>()
  readonly #stopping = new AbortController()

  constructor(components: WebhookServicesComponents) {
    this.#node = components.node
    this.#log = components.logger
    this.#file = components.file
  }

  /** Goes on with what was put before without an end. The file has been loaded. */
  start(): void {
    for (const [service, responder] of this.#file.services) {
      try {
        this.#serve(service, { ...responder, ttlMs: undefined })
      } catch (error) {
        // The application around the node may serve it by itself now.
        this.#log.error({ error, service }, 'a service could not be given to its webhook again')
      }
    }
  }

  /**
   * Serves it, or goes on with this responder; without `ttlMs`, after restarts of the node, too. Rejects with ERR_OPTIONS,
   * ERR_STOPPED, and with ERR_DATA_DIR where it cannot be kept.
   */
  async put(service: string, responder: Responder): Promise<ServedService> {
    const served = this.#serve(service, responder)
    const { concurrency, ttlMs, webhook } = responder
    await this.#file.keepService(
      service,
      ttlMs === undefined ? { webhook, concurrency } : undefined
    )
    return served
  }

  #serve(service: string, responder: Responder): ServedService {
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

  /** Resolves when the webhook has finished with what it has. Rejects with ERR_NOT_FOUND, ERR_DATA_DIR. */
  async delete(service: string): Promise<void> {
    const entry = this.#find(service)
    await this.#file.keepService(service, undefined)
    await this.#end(service, entry)
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
