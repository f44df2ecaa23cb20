import { isSkeinError } from '../../core/errors.ts'
import type { Message, SkeinNode, Subscription } from '../../node/contract.ts'

/** Where the last values of topics are. */
const RETAINED = '$retained'

/** A look at what is not yet read from disk waits so long, ms; so many looks in vain, and the rest comes later. */
const LOOK_MS = 250
const LOOKS = 20
/** How long one pull waits afterwards, ms: any time would do. */
const PULL_MS = 60_000

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

export interface LastValuesInit {
  readonly filter: string
  /** Ends it. */
  readonly signal: AbortSignal
  /** Called once, when all that this node has was given. */
  readonly onCaughtUp: () => void
}

/**
 * The last values of the topics that a filter matches: those that this node has, then those that it gets to know of
 * later, from nodes that it was not connected to, and that were published before now. What is published from now on is
 * for the subscription itself.
 */
export async function* lastValues(
  node: Pick<SkeinNode, 'subscribe' | 'topics'>,
  { filter, onCaughtUp, signal }: LastValuesInit
): AsyncGenerator<Message> {
  const since = Date.now()
  let subscription: Subscription
  try {
    subscription = node.subscribe(`${RETAINED}/${filter}`, { from: 'last', signal })
  } catch (error) {
    onCaughtUp()
    // One level or some bytes more than a filter may have.
    if (isSkeinError(error, 'ERR_FILTER')) return
    throw error
  }
  try {
    await subscription.ready
    yield* present(node, subscription)
    onCaughtUp()
    while (!signal.aborted) {
      const [message] = await subscription.pull(1, PULL_MS, signal)
      const isEarlier = message !== undefined && message.time.getTime() < since
      if (isEarlier && message.payload.byteLength > 0) yield message
    }
  } finally {
    await subscription.stop()
  }
}

async function* present(
  node: Pick<SkeinNode, 'topics'>,
  subscription: Subscription
): AsyncGenerator<Message> {
  // What is retained from now on must not keep this from ending.
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
}
