import type { PeerId } from '../mesh/contract.ts'
import type { RequestCall } from '../wire/request-frames.ts'
import type { ActiveCall, CallReceiver, CallTarget } from './call.ts'
import type { ServiceHost } from './service-host.ts'

/** This node itself, for its own requests. */
export class LocalTarget implements CallTarget {
  readonly peer: PeerId
  readonly #host: Pick<ServiceHost, 'start'>
  inFlight = 0

  constructor(peer: PeerId, host: Pick<ServiceHost, 'start'>) {
    this.peer = peer
    this.#host = host
  }

  start(call: RequestCall, receiver: CallReceiver): ActiveCall {
    this.inFlight++
    let over = false
    const active = this.#host.start(this.peer, call, {
      onReply: (content, last) => (over ? undefined : receiver.onReply(content, last)),
      onEnd: () => receiver.onEnd(),
      onFailure: (failure) => receiver.onFailure(failure),
      onOver: () => {
        this.inFlight--
        receiver.onOver()
      }
    })
    return {
      cancel: () => {
        over = true
        active.cancel()
      },
      grant: (count) => active.grant(count)
    }
  }
}
