import { TopicTrie } from '../../src/wire/topic-trie.ts'
import type { MessageRef, Trace, TraceEvent } from '../trace.ts'
import { Bits } from './bits.ts'
import { LogRanges } from './log-ranges.ts'

/** One subscription of a trace. */
export interface SubscriptionFacts {
  readonly id: string
  /** In the order of registration. */
  readonly place: number
  readonly filter: string
  readonly durable: boolean
  readonly node: string | undefined
  readonly group: string | undefined
  readonly label: string
  readonly slow: boolean
  readonly waits: boolean
  /** 0 where it is not known. */
  readonly keepsMs: number
  /** Place of its event in the trace. */
  readonly since: number
  /** Place of the event that ended it; Infinity while it stands. */
  until: number
  /** Messages handed over, by number. */
  readonly handed: Bits
  /** Ids of those that its node did not live to finish, and that did not come again since. */
  readonly unfinished: Set<string>
  /** Told, with a reason that holds. */
  readonly gaps: LogRanges
  /** Told, with a reason that nothing in the run accounts for. */
  readonly unfounded: LogRanges
}

/** One message that was confirmed, handed over or both. */
export interface MessageFacts {
  readonly ref: MessageRef
  /** Place of its confirmation in the trace; -1 = never confirmed. */
  confirmed: number
  topic: string
}

/** A trace, taken apart once for all checkers: numbers instead of names, so that each is one pass over it. */
export interface TraceIndex {
  readonly trace: Trace
  readonly subscriptions: readonly SubscriptionFacts[]
  readonly messages: readonly MessageFacts[]
  /** Number of a message, by id. */
  readonly numbers: ReadonlyMap<string, number>
  readonly byId: ReadonlyMap<string, SubscriptionFacts>
  readonly excused: LogRanges
  /** Subscriptions whose filter matches, whenever they were registered. */
  matching(topic: string): readonly SubscriptionFacts[]
}

export function indexTrace(trace: Trace): TraceIndex {
  const byId = new Map<string, SubscriptionFacts>()
  const numbers = new Map<string, number>()
  const messages: MessageFacts[] = []
  const excused = new LogRanges()
  const trie = new TopicTrie<SubscriptionFacts>()
  const numberOf = (ref: MessageRef): number => {
    const known = numbers.get(ref.id)
    if (known !== undefined) return known
    numbers.set(ref.id, messages.length)
    return messages.push({ ref, confirmed: -1, topic: '' }) - 1
  }
  for (const [place, event] of trace.entries()) {
    if (event.kind === 'handed') {
      const facts = byId.get(event.subscription)
      facts?.handed.add(numberOf(event.message))
      facts?.unfinished.delete(event.message.id)
    } else if (event.kind === 'confirmed') {
      const facts = messages[numberOf(event.message)]
      if (facts === undefined || facts.confirmed !== -1) continue
      facts.confirmed = place
      facts.topic = event.topic
    } else if (event.kind === 'subscribed' && !byId.has(event.subscription)) {
      const facts = factsOf(event, { place: byId.size, since: place })
      byId.set(event.subscription, facts)
      trie.add(event.filter, facts)
    } else if (event.kind === 'excused') excused.add(event)
    else if ('subscription' in event) followReader(byId.get(event.subscription), event, place)
  }
  return {
    trace,
    subscriptions: [...byId.values()],
    messages,
    numbers,
    byId,
    excused,
    matching: (topic) => trie.match(topic)
  }
}

function followReader(
  facts: SubscriptionFacts | undefined,
  event: TraceEvent,
  place: number
): void {
  if (facts === undefined) return
  if (event.kind === 'unfinished') facts.unfinished.add(event.id)
  else if (event.kind === 'unsubscribed') facts.until = Math.min(facts.until, place)
  else if (event.kind === 'gap') (isFounded(facts, event) ? facts.gaps : facts.unfounded).add(event)
}

/** To be told is not enough where what was told cannot be. */
function isFounded(
  { keepsMs, waits }: SubscriptionFacts,
  { at = Infinity, reason }: Extract<TraceEvent, { kind: 'gap' }>
): boolean {
  if (reason === 'skipped') return !waits
  return at >= keepsMs || (reason !== 'trimmed' && reason !== 'expired')
}

function factsOf(
  event: Extract<Trace[number], { kind: 'subscribed' }>,
  { place, since }: { place: number; since: number }
): SubscriptionFacts {
  return {
    id: event.subscription,
    place,
    filter: event.filter,
    durable: event.durable,
    node: event.node,
    group: event.group,
    label: event.label ?? event.subscription,
    slow: event.slow === true,
    waits: event.waits === true,
    keepsMs: event.keepsMs ?? 0,
    since,
    until: Infinity,
    handed: new Bits(),
    unfinished: new Set(),
    gaps: new LogRanges(),
    unfounded: new LogRanges()
  }
}

/** Was the message owed to the subscription: durable, registered before, not deleted, not told or excused? */
export function owes(
  index: TraceIndex,
  subscription: SubscriptionFacts,
  message: MessageFacts
): boolean {
  return (
    subscription.durable &&
    message.confirmed > subscription.since &&
    message.confirmed < subscription.until &&
    !subscription.gaps.has(message.ref) &&
    !index.excused.has(message.ref)
  )
}
