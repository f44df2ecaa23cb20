import type { Clock } from '../core/clock.ts'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { CallTarget } from './call.ts'
import { isBuiltInService } from '../wire/service-name.ts'
import { type Asked, Exchange, type ExchangeInit } from './exchange.ts'
import type { ReceivedReply } from './received.ts'
import type { Responders } from './responders.ts'

export interface RequesterComponents {
  readonly responders: Pick<Responders, 'all' | 'pick' | 'target'>
  readonly clock: Clock
}

/** Counters since start. */
export interface RequesterStats {
  sent: number
  failed: number
}

/** What this node asks of services, wherever they are. */
export class Requester {
  readonly stats: RequesterStats = { sent: 0, failed: 0 }
  readonly #components: RequesterComponents
  readonly #running = new Set<Exchange>()
  #stopped = false

  constructor(components: RequesterComponents) {
    this.#components = components
  }

  /** One answer of one node. */
  request(asked: Asked): Promise<ReceivedReply> {
    return this.#askOne(asked, (except) => this.#components.responders.pick(asked.service, except))
  }

  /** One answer of that node. */
  ask(peer: PeerId, asked: Asked): Promise<ReceivedReply> {
    return this.#askOne(asked, once(this.#components.responders.target(peer)))
  }

  #askOne(asked: Asked, next: ExchangeInit['next']): Promise<ReceivedReply> {
    return new Promise((resolve, reject) => {
      const answers: ReceivedReply[] = []
      this.#start({
        ...asked,
        window: 0,
        next,
        onReply: (reply) => answers.push(reply),
        onEnd: (error) => {
          const [answer] = answers
          if (answer !== undefined) resolve(answer)
          else reject(error ?? noReply(asked.service))
        }
      })
    })
  }

  /** The answers of one node, one after the other, not far ahead of who takes them. */
  async *requestMany(asked: Asked): AsyncGenerator<ReceivedReply, void, undefined> {
    const replies: ReceivedReply[] = []
    const state: { ended: boolean; error: SkeinError | undefined; wake: () => void } = {
      ended: false,
      error: undefined,
      wake: () => undefined
    }
    const exchange = this.#start({
      ...asked,
      window: LIMITS.replyWindow,
      next: (except) => this.#components.responders.pick(asked.service, except),
      onReply: (reply) => {
        replies.push(reply)
        state.wake()
      },
      onEnd: (error) => {
        state.ended = true
        state.error = error
        state.wake()
      }
    })
    try {
      for (let consumed = 0; ;) {
        const reply = replies.shift()
        if (reply !== undefined) {
          yield reply
          if (++consumed < LIMITS.replyWindow / 2) continue
          exchange.grant(consumed)
          consumed = 0
          continue
        }
        if (state.error !== undefined) throw state.error
        if (state.ended) return
        exchange.await()
        await new Promise<void>((resolve) => (state.wake = resolve))
      }
    } finally {
      exchange.cancel()
      this.#running.delete(exchange)
    }
  }

  /** The answers of all nodes, until there are `count` of them, all have answered, or the time is over. */
  scatter(asked: Asked, count: number): Promise<ReceivedReply[]> {
    const { service, signal } = asked
    const targets = this.#components.responders.all(service).slice(0, LIMITS.scatterPeers)
    if (targets.length === 0) {
      const text = `no node that is up serves '${service}'`
      return Promise.reject(new SkeinError('ERR_NO_RESPONDERS', text, { details: { service } }))
    }
    return new Promise((resolve, reject) => {
      const replies: ReceivedReply[] = []
      const exchanges: Exchange[] = []
      let left = targets.length
      const finish = (): void => {
        for (const exchange of exchanges) {
          exchange.cancel()
          this.#running.delete(exchange)
        }
        resolve(replies)
      }
      for (const target of targets) {
        const exchange = this.#start({
          ...asked,
          window: 0,
          next: once(target),
          onReply: (reply) => {
            if (replies.length < count) replies.push(reply)
          },
          onEnd: (error) => {
            left--
            if (signal?.aborted === true || this.#stopped) reject(error as SkeinError)
            else if (left === 0 || replies.length >= count) finish()
          }
        })
        exchanges.push(exchange)
      }
    })
  }

  stop(): void {
    this.#stopped = true
    const reason = new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped')
    for (const exchange of this.#running) exchange.fail(reason)
  }

  #start(init: ExchangeInit): Exchange {
    const isCounted = !isBuiltInService(init.service)
    if (isCounted) this.stats.sent++
    const exchange = new Exchange(this.#components.clock, {
      ...init,
      onEnd: (error) => {
        this.#running.delete(exchange)
        if (isCounted && error !== undefined) this.stats.failed++
        init.onEnd(error)
      }
    })
    this.#running.add(exchange)
    if (this.#stopped) {
      exchange.fail(new SkeinError('ERR_STOPPED', 'the node is stopping or has stopped'))
    } else exchange.start()
    return exchange
  }
}

function once(target: CallTarget): ExchangeInit['next'] {
  return (except) => (except.has(target.peer) ? undefined : target)
}

function noReply(service: string): SkeinError {
  return new SkeinError('ERR_RESPONDER', `'${service}' ended without a reply`, {
    details: { code: 'ERR_INTERNAL' }
  })
}
