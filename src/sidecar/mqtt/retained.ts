import { isSkeinError } from '../../core/errors.ts'
import type { Message, SkeinNode, Subscription } from '../../node/contract.ts'

/** Where the last values of topics are. */
const RETAINED = '$retained'

/** A look at what is not yet read from disk waits so long, ms; so many looks in vain, and the rest is left out. */
const LOOK_MS = 250
const LOOKS = 20

/** Holds the last values of all topics on this node, until it is stopped. */
export function holdRetained(node: Pick<SkeinNode, 'subscribe'>): Subscription {
  const subscription = node.subscribe(`${RETAINED}/#`, { from: 'last' })
  subscription.onMessage(() => {})
  return subscription
}

/** The topic of which it is the last value. */
export function retainedTopic({ topic }: Pick<Message, 'topic'>): string {
  return topic.slice(RETAINED.length + 1)
}

/** The last values of the topics that a filter matches, as this node has them. */
export async function* retainedOf(
  node: Pick<SkeinNode, 'subscribe' | 'topics'>,
  filter: string
): AsyncGenerator<Message> {
  let subscription: Subscription
  try {
    subscription = node.subscribe(`${RETAINED}/${filter}`, { from: 'last' })
  } catch (error) {
    // One level or some bytes more than a filter may have.
    if (isSkeinError(error, 'ERR_FILTER')) return
    throw error
  }
  try {
    await subscription.ready
    // What is retained from now on comes by itself: it must not keep this from ending.
    let most = node.topics().find(({ channel }) => channel === RETAINED)?.messages ?? 0
    for (let looks = 0; most > 0 && looks < LOOKS;) {
      const isBehind = subscription.status().lag > 0
      const [message] = await subscription.pull(1, isBehind ? LOOK_MS : 0)
      if (message === undefined) {
        if (!isBehind) return
        looks++
        continue
      }
      most--
      if (message.payload.byteLength > 0) yield message
    }
  } finally {
    await subscription.stop()
  }
}
