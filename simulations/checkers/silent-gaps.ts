import { topicMatches } from '../../src/wire/topic.ts'
import type { Checker, MessageRef, Trace, Violation } from '../trace.ts'
import { gapsTold } from './gaps-told.ts'

interface Reader {
  readonly filter: string
  /** Handed over, by log: the lowest and highest sequence, and all of them. */
  readonly logs: Map<string, { low: number; high: number; readonly all: Set<number> }>
}

/**
 * No gap is silent: between two messages of one log that a subscription got, ephemeral ones too, every confirmed
 * message that its filter matches came as well, or the subscription was told that it is missing.
 */
export const silentGaps: Checker = (trace) => {
  const wasTold = gapsTold(trace)
  const readers = readersOf(trace)
  const violations: Violation[] = []
  for (const event of trace) {
    if (event.kind !== 'confirmed') continue
    const { message, topic } = event
    for (const [subscription, { filter, logs }] of readers) {
      const log = logs.get(logOf(message))
      if (log === undefined || message.sequence < log.low || message.sequence > log.high) continue
      if (log.all.has(message.sequence) || !topicMatches(filter, topic)) continue
      if (wasTold(subscription, message)) continue
      violations.push({
        checker: 'silent-gaps',
        subscription,
        what: 'a message is missing between others of its log, and no gap was told',
        id: message.id
      })
    }
  }
  return violations
}

/** What each subscription got. */
function readersOf(trace: Trace): Map<string, Reader> {
  const readers = new Map<string, Reader>()
  for (const event of trace) {
    if (event.kind === 'subscribed') {
      readers.set(event.subscription, { filter: event.filter, logs: new Map() })
    }
    if (event.kind !== 'handed') continue
    const { sequence } = event.message
    const logs = readers.get(event.subscription)?.logs
    const log = logs?.get(logOf(event.message))
    if (log === undefined) {
      logs?.set(logOf(event.message), { low: sequence, high: sequence, all: new Set([sequence]) })
      continue
    }
    log.low = Math.min(log.low, sequence)
    log.high = Math.max(log.high, sequence)
    log.all.add(sequence)
  }
  return readers
}

function logOf({ channel, publisher, session }: MessageRef): string {
  return `${publisher}/${session}/${channel}`
}
