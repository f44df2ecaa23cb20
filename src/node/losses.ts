import type { Events } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { NodeEvents } from './contract.ts'

/** Logs which messages did not reach whom they were for, so that a log alone answers the question for one of them. */
export function logLosses(events: Events<NodeEvents>, { logger }: { logger: Logger }): void {
  events.on('dead-letter', ({ attempts, messageId, reason, subscription, topic }) => {
    const fields = { message: messageId, topic, subscription, attempts, reason }
    logger.warn(fields, 'a message was handed over too often in vain: it is a dead letter now')
  })
  events.on('outbox:expired', ({ id, to, topic }) => {
    const fields = { message: id, to, topic }
    logger.warn(
      fields,
      'a message to one peer was not received in its time: it is a dead letter now'
    )
  })
  events.on('gap:final', (gap) => {
    if (gap.reason !== 'lost') return
    logger.warn(gap, 'messages are lost: their publisher does not have them any more')
  })
}
