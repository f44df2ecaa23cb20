import { SkeinError } from '../../src/core/errors.ts'
import { Emitter } from '../../src/core/events.ts'
import type { Gap, Message } from '../../src/delivery/contract.ts'
import type { LifeSubscription } from '../runner/contract.ts'
import type { Calls, HandedMessage } from './protocol.ts'
import type { WorkerProcess } from './worker-process.ts'

type Caller = Pick<WorkerProcess, 'call'>

export interface RemoteSubscriptionInit {
  /** Names it to the process. */
  readonly place: number
  readonly filter: string
  readonly options: Calls['subscribe']['params']['options']
  /** Resolves when all that had happened anywhere before it was called has been told. */
  readonly settled: () => Promise<void>
  readonly onListenerError: (error: unknown) => void
}

/** A subscription of a node in another process. */
export class RemoteSubscription implements LifeSubscription {
  readonly ready: Promise<void>
  readonly events: Emitter<{ gap: Gap }>
  readonly #caller: Caller
  readonly #place: number

  constructor(caller: Caller, init: RemoteSubscriptionInit) {
    const { filter, onListenerError, options, place, settled } = init
    this.#caller = caller
    this.#place = place
    this.events = new Emitter(onListenerError)
    // What other nodes had confirmed before it was open is not owed to it, and must be known before it is.
    this.ready = caller.call('subscribe', { subscription: place, filter, options }).then(settled)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      const message = await this.#caller.call('next', { subscription: this.#place })
      if (message === undefined) return
      yield messageOf(this.#caller, message)
    }
  }

  stop(): Promise<void> {
    return this.#caller.call('close', { subscription: this.#place })
  }
}

function messageOf(caller: Caller, { hand, ...facts }: HandedMessage): Message {
  const text = (): string => Buffer.from(facts.payload).toString('utf8')
  return {
    ...facts,
    text,
    json<T>() {
      try {
        return JSON.parse(text()) as T
      } catch (cause) {
        throw new SkeinError('ERR_PAYLOAD', `the payload of ${facts.id} is not JSON`, { cause })
      }
    },
    ack: () => caller.call('ack', { hand }),
    nack: ({ delayMs = 0 } = {}) => caller.call('nack', { hand, delayMs })
  }
}
