import type { TraceEvent } from '../trace.ts'
import { logKey } from './log-ranges.ts'

type Texts = {
  readonly [K in TraceEvent['kind']]: (event: Extract<TraceEvent, { kind: K }>) => string
}

const TEXTS: Texts = {
  subscribed: ({ filter, subscription }) => `${subscription} to '${filter}'`,
  unsubscribed: ({ subscription }) => subscription,
  confirmed: ({ message, topic }) => `${message.id} on '${topic}'`,
  rejected: ({ code, node }) => `at ${node} with ${code}`,
  handed: ({ attempt, late, message, subscription }) =>
    `${message.id} to ${subscription}, attempt ${attempt}${late ? ', late' : ''}`,
  unanswered: ({ id, subscription }) => `${id} by ${subscription}`,
  unfinished: ({ id, subscription }) => `${id} by ${subscription}`,
  acknowledged: ({ id, subscription }) => `${id} by ${subscription}`,
  gap: (event) => `${logKey(event)} ${event.from} to ${event.to} told to ${event.subscription}`,
  excused: (event) => `${logKey(event)} ${event.from} to ${event.to}: ${event.reason}`,
  sent: ({ from, id, to }) => `${id} from ${from} to ${to}`,
  received: ({ id, node }) => `${id} at ${node}`,
  receipt: ({ id }) => id,
  unreceived: ({ id }) => id,
  fault: ({ text }) => text,
  heal: ({ text }) => text,
  started: ({ node }) => node,
  stopped: ({ how, node }) => `${node} (${how})`,
  memory: ({ bytes, node }) => `${node} ${bytes} bytes`,
  topology: ({ links }) => `${links.length} links`
}

/** One event as a line: time, what, where. */
export function describeEvent(event: TraceEvent): string {
  const at = event.at === undefined ? '' : `${(event.at / 1000).toFixed(3).padStart(9)} s  `
  const facts = TEXTS[event.kind] as (event: TraceEvent) => string
  return `${at}${event.kind.padEnd(12)} ${facts(event)}`.trimEnd()
}
