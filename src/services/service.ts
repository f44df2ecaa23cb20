import { SkeinError } from '../core/errors.ts'
import type { ServiceHandle } from './contract.ts'
import type { ContentHandler, ServedCall } from './served-call.ts'

export interface ServiceInit {
  readonly name: string
  readonly handler: ContentHandler
  readonly concurrency: number
  /** It takes no more. */
  readonly onStop: () => void
}

/** One service of this node: its handler, and the requests that wait for it. */
export class Service implements ServiceHandle {
  readonly service: string
  readonly #init: ServiceInit
  readonly #waiting = new Set<ServedCall>()
  readonly #running = new Set<ServedCall>()
  #stopped = false
  #wakeIdle: (() => void)[] = []

  constructor(init: ServiceInit) {
    this.#init = init
    this.service = init.name
  }

  get running(): number {
    return this.#running.size
  }

  get waiting(): number {
    return this.#waiting.size
  }

  take(call: ServedCall): void {
    this.#waiting.add(call)
    this.#next()
  }

  /** Nobody waits for it any more. A handler that has it keeps its place until it has finished. */
  drop(call: ServedCall): void {
    this.#waiting.delete(call)
  }

  async stop(): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true
      this.#init.onStop()
      const reason = new SkeinError(
        'ERR_NO_RESPONDERS',
        `the node stopped to serve '${this.service}'`
      )
      for (const call of this.#waiting) call.refuse(reason)
    }
    while (this.#running.size > 0) {
      await new Promise<void>((resolve) => this.#wakeIdle.push(resolve))
    }
  }

  /** Tells the callers of what is with the handler that it is given up. */
  abandon(reason: SkeinError): void {
    for (const call of this.#running) call.abandon(reason)
  }

  #next(): void {
    for (const call of this.#waiting) {
      if (this.#running.size >= this.#init.concurrency) return
      this.#waiting.delete(call)
      this.#running.add(call)
      void this.#run(call)
    }
  }

  async #run(call: ServedCall): Promise<void> {
    await call.run(this.#init.handler)
    this.#running.delete(call)
    this.#next()
    if (this.#running.size === 0) for (const resolve of this.#wakeIdle.splice(0)) resolve()
  }
}
