import { SkeinError, toSkeinError } from '../core/errors.ts'
import type { Outgoing } from '../replication/log-writer.ts'
import type { Confirm } from './contract.ts'

/** Holds the last value of each topic that was published with `retain`, as `$retained/<topic>`. */
export const RETAINED_CHANNEL = '$retained'

/** A message as it is kept in RETAINED_CHANNEL. */
function retainedCopy(message: Outgoing): Outgoing {
  const suffix = `/${message.topic.topic}`
  const suffixBytes = Buffer.from(suffix)
  const topic = { topic: RETAINED_CHANNEL + suffix, channel: RETAINED_CHANNEL, suffix, suffixBytes }
  // One value a topic, whatever the keys.
  return { ...message, topic, suffix, suffixBytes, key: undefined }
}

/** Publishes the copies of messages that are confirmed themselves. Rejects with what the publisher rejects with. */
export async function retain(
  publisher: { publish(outgoing: Outgoing, confirm: Confirm): Promise<unknown> },
  messages: readonly Outgoing[],
  confirm: Confirm
): Promise<void> {
  try {
    await Promise.all(
      messages.map((message) =>
        publisher.publish(retainedCopy(message), confirm === 'sent' ? 'sent' : 'stored')
      )
    )
  } catch (error) {
    const { code, details, message } = toSkeinError(error)
    throw new SkeinError(code, `the message was published, and is not retained: ${message}`, {
      details: { ...details, mayBeDelivered: true },
      cause: error
    })
  }
}
