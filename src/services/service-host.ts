import { type Clock, delay } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { RequestCall } from '../wire/request-frames.ts'
import { isBuiltInService, isServiceName } from '../wire/service-name.ts'
import type { ActiveCall, CallReceiver } from './call.ts'
import type { ServiceHandle } from './contract.ts'
import { type ContentHandler, ServedCall } from './served-call.ts'
import { Service } from './service.ts'

export interface ServiceHostComponents {
  readonly clock: Clock
}

export interface ServiceHostInit {
  /** PeerId of this node. */
  readonly self: PeerId
  /** The names have changed. */
  readonly onChange: () => void
}

/** Counters since start. */
export interface ServiceHostStats {
  /** Requests that came in, from this node too. */
  received: number
  /** Of these, those that were refused on arrival. */
  refused: number
}

/** The services of this node, for whoever asks: other nodes and this one alike. */
export class ServiceHost {
  readonly stats: ServiceHostStats = { received: 0, refused: 0 }
  readonly #components: ServiceHostComponents
  readonly #init: ServiceHostInit
  readonly #services = new Map<string, Service>()
  readonly #builtIn = new Map<string, Service>()
  readonly #stopping = new Set<Service>()
  #calls = 0
  #bytes = 0
  #stopped = false

  constructor(components: ServiceHostComponents, init: ServiceHostInit) {
    this.#components = components
    this.#init = init
  }

  names(): string[] {
    return [...this.#services.keys()]
  }

  serves(service: string): boolean {
    return this.#services.has(service)
  }

  /** Throws ERR_OPTIONS where the name is none, or is served already, or there are too many; ERR_STOPPED. */
  serve(name: string, handler: ContentHandler, concurrency: number): ServiceHandle {
    if (this.#stopped) throw stopped()
    if (!isServiceName(name)) {
      throw wrongService(
        `'${name}' is no name of a service: it takes 1 to ${LIMITS.nameBytes} bytes without '/' and control characters`
      )
    }
    if (isBuiltInService(name)) {
      throw wrongService(`'${name}' begins with '$', as only services of Skein's own do`)
    }
    if (this.#services.has(name)) {
      throw wrongService(`this node serves '${name}' already; stop the first handle before`)
    }
    if (this.#services.size >= LIMITS.presenceNames) {
      throw wrongService(`a node serves at most ${LIMITS.presenceNames} services`)
    }
    const service = new Service({
      name,
      handler,
      concurrency,
      onStop: () => {
        this.#services.delete(name)
        this.#stopping.add(service)
        void service.stop().then(() => this.#stopping.delete(service))
        this.#init.onChange()
      }
    })
    this.#services.set(name, service)
    this.#init.onChange()
    return service
  }

  /** Answers a question that every node answers: not announced, and not counted. */
  serveBuiltIn(name: string, handler: ContentHandler, concurrency: number): void {
    const service = new Service({ name, handler, concurrency, onStop: () => undefined })
    this.#builtIn.set(name, service)
  }

  /** Has the request handled. Never calls the receiver before it has returned. */
  start(from: PeerId, call: RequestCall, receiver: CallReceiver): ActiveCall {
    const builtIn = this.#builtIn.get(call.service)
    const service = builtIn ?? this.#services.get(call.service)
    if (builtIn === undefined) this.stats.received++
    const bytes = call.content.payload.length
    const served = new ServedCall(this.#components.clock, {
      self: this.#init.self,
      from,
      call,
      receiver,
      onEnd: (ended) => {
        this.#calls--
        this.#bytes -= bytes
        service?.drop(ended)
      }
    })
    this.#calls++
    this.#bytes += bytes
    const refusal = this.#refusal(call.service)
    void Promise.resolve().then(() => {
      if (refusal === undefined) service?.take(served)
      else {
        if (builtIn === undefined) this.stats.refused++
        served.refuse(refusal)
      }
    })
    return served
  }

  /** Gives handlers LIMITS.serviceDrainMs to finish. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    const services = [...this.#services.values(), ...this.#builtIn.values(), ...this.#stopping]
    const done = Promise.all(services.map((service) => service.stop()))
    if (services.some(({ running }) => running > 0)) {
      const over = new AbortController()
      const late = delay(this.#components.clock, LIMITS.serviceDrainMs, over.signal)
      await Promise.race([done, late])
      late.catch(() => undefined)
      over.abort(stopped())
    }
    for (const service of services) service.abandon(stopped())
  }

  #refusal(service: string): SkeinError | undefined {
    if (this.#stopped || !(this.#services.has(service) || this.#builtIn.has(service))) {
      return new SkeinError('ERR_NO_RESPONDERS', `the node does not serve '${service}'`)
    }
    if (this.#calls > LIMITS.servedRequests || this.#bytes > LIMITS.servedBytes) {
      return new SkeinError(
        'ERR_BUSY',
        `too many requests wait at the node that serves '${service}'`
      )
    }
    return undefined
  }
}

function stopped(): SkeinError {
  return new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
}

function wrongService(message: string): SkeinError {
  return new SkeinError('ERR_OPTIONS', message, { details: { option: 'service' } })
}
