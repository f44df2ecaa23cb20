import type { Outgoing } from '../replication/log-writer.ts'
import type { DecodedMessage } from '../wire/body.ts'
import { parseTopic } from '../wire/topic.ts'
import { OUTBOX_DEAD_LETTERS } from './outbound-message.ts'

/** A message whose recipient gave no receipt in time, as it was sent, and what is known of it in headers. */
export function deadLetter(
  message: DecodedMessage,
  sent: { readonly id: string; readonly to: string; readonly since: Date }
): Outgoing {
  const { contentType, headers, key, payload, suffix } = message
  const topic = parseTopic(OUTBOX_DEAD_LETTERS + suffix)
  return {
    topic,
    suffix: topic.suffix,
    suffixBytes: topic.suffixBytes,
    payload,
    contentType,
    key,
    headers: {
      ...headers,
      'skein-reason': 'outcome unknown',
      'skein-to': sent.to,
      'skein-id': sent.id,
      'skein-time': sent.since.toISOString()
    }
  }
}
