import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { jitter, type Random } from '../core/random.ts'
import type { NackOptions, SubscribeOptions } from './contract.ts'
import type { Failure } from './dead-letter.ts'

/** What its consumer says of a message that it gives back. */
export function nackFailure({ counts, error }: NackOptions): Failure {
  return { reason: 'nack', error, counts }
}

/** What a handler threw. */
export function handlerFailure(error: unknown): Failure {
  return { reason: 'handler error', error: error instanceof Error ? error.message : String(error) }
}

/** After how long a message comes again whose handler failed, ms: random, up to a time that doubles each time. */
export function retryAfterMs(
  random: Random,
  attempt: number,
  { maxMs = LIMITS.retryMaxMs, minMs = LIMITS.retryMinMs }: SubscribeOptions['retry'] = {}
): number {
  return jitter(random, Math.min(minMs * 2 ** (attempt - 1), maxMs))
}

/** What an acknowledgement of a message that was given back is answered with. */
export function givenBack(): SkeinError {
  return new SkeinError(
    'ERR_MESSAGE_UNKNOWN',
    'the subscription was stopped: its messages were given back'
  )
}
