import { isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { ApiClient } from './api-client.ts'
import { say } from './terminal.ts'

/** Acknowledges messages of a durable subscription, many in one request, one request at a time. */
export class Acknowledger {
  readonly #client: ApiClient
  readonly #path: string
  readonly #waiting: string[] = []
  #running: Promise<void> | undefined
  #failure: unknown

  constructor(client: ApiClient, durable: string) {
    this.#client = client
    this.#path = `/v1/subscriptions/${encodeURIComponent(durable)}/ack`
  }

  add(ids: readonly string[]): void {
    this.#waiting.push(...ids)
    this.#running ??= this.#run()
  }

  /** Resolves when everything added is acknowledged; rejects when it could not be. */
  async flush(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#failure !== undefined) throw this.#failure as Error
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        await this.#send(this.#waiting.splice(0, LIMITS.pullMessages))
      }
    } catch (error) {
      this.#failure = error
    } finally {
      this.#running = undefined
    }
  }

  async #send(ack: readonly string[]): Promise<void> {
    try {
      await this.#client.json('POST', this.#path, { ack })
    } catch (error) {
      if (!isSkeinError(error, 'ERR_MESSAGE_UNKNOWN')) throw error
      say('skein: some messages were acknowledged too late and will be handed over again')
    }
  }
}
