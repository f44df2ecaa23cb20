import type { MessageRef, Trace } from '../trace.ts'

type Gap = Extract<Trace[number], { kind: 'gap' }>

/** Answers whether a subscription was told that it goes without a message. */
export function gapsTold(trace: Trace): (subscription: string, message: MessageRef) => boolean {
  const gaps = new Map<string, Gap[]>()
  for (const event of trace) {
    if (event.kind !== 'gap') continue
    const key = keyOf(event.subscription, event)
    gaps.set(key, [...(gaps.get(key) ?? []), event])
  }
  return (subscription, message) =>
    (gaps.get(keyOf(subscription, message)) ?? []).some(
      ({ from, to }) => from <= message.sequence && message.sequence <= to
    )
}

function keyOf(
  subscription: string,
  log: { publisher: string; session: string; channel: string }
): string {
  return `${subscription}\n${log.publisher}/${log.session}/${log.channel}`
}
