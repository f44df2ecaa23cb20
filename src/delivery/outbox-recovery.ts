import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { LogEntry, LogRef, LogState, Store } from '../store/contract.ts'
import { decodeMessages } from '../wire/body.ts'
import { inboxChannel, isInbox } from '../wire/inbox-receipt.ts'
import { formatMessageId, parseMessageId } from '../wire/message-id.ts'
import type { InboxReceipts } from './inbox-receipts.ts'
import type { OutboxRow, OutboxRows } from './outbox-rows.ts'

export interface OutboxRecoveryComponents {
  readonly store: Pick<Store, 'log' | 'logs' | 'readLog'>
  readonly receipts: Pick<InboxReceipts, 'isReceived'>
  readonly clock: Clock
  readonly rows: OutboxRows
}

/** A message found to be waiting. */
export interface FoundMessage {
  readonly id: string
  readonly log: LogRef
  readonly sequence: number
  readonly row: OutboxRow
  /** Of its time to live, ms; 0 where it has passed. */
  readonly leftMs: number
}

/** What the disk says of the outbox. */
export interface FoundOutbox {
  readonly waiting: readonly FoundMessage[]
  /** Messages that are still held and wait for nothing. */
  readonly done: ReadonlyArray<{ readonly log: LogRef; readonly sequences: readonly number[] }>
}

/**
 * Compares the rows of the outbox with the logs. A row whose message was received is deleted, one whose record is
 * gone has no time left. A message without a row, which a crash between the two leaves, waits as far as it is known.
 */
export async function findWaiting(
  components: OutboxRecoveryComponents,
  self: PeerId
): Promise<FoundOutbox> {
  const { clock, receipts, rows, store } = components
  const waiting = new Map<string, FoundMessage>()
  for (const [id, row] of await rows.entries()) {
    const { sequence, ...log } = parseMessageId(id)
    const state = store.log(log)
    if (receipts.isReceived(log, sequence)) {
      await rows.delete(id)
      continue
    }
    // Rows go before floors rise: where the record is gone and the row is not, retention or damage took it.
    const lost = state === undefined || sequence < state.floor || sequence > state.head
    const leftMs = lost ? 0 : Math.max(0, row.ttlMs - Math.max(0, clock.now() - row.since))
    waiting.set(id, { id, log, sequence, row, leftMs })
  }
  const done: { log: LogRef; sequences: number[] }[] = []
  for (const state of store.logs()) {
    if (state.publisher !== self || !isInbox(state.channel)) continue
    if (state.channel === inboxChannel(self)) continue
    const found = await adopt(components, state, waiting)
    if (found.length > 0) done.push({ log: refOf(state), sequences: found })
  }
  return {
    waiting: [...waiting.values()].toSorted((a, b) => a.row.since - b.row.since),
    done
  }
}

/** Looks at the messages of a log that have no row; answers those that are done with. */
async function adopt(
  components: OutboxRecoveryComponents,
  state: LogState,
  waiting: Map<string, FoundMessage>
): Promise<number[]> {
  const { receipts, store } = components
  const log = refOf(state)
  const done: number[] = []
  const idOf = (sequence: number): string => formatMessageId({ ...log, sequence })
  let next = state.floor
  while (next <= state.head) {
    if (waiting.has(idOf(next))) {
      next++
      continue
    }
    if (receipts.isReceived(log, next)) {
      done.push(next++)
      continue
    }
    const [entry] = await store.readLog(log, next, { to: next, maxBytes: 1 })
    const found = await messageAt(components, entry, { ...log, sequence: next })
    if (found === undefined || found.leftMs === 0) done.push(next)
    else waiting.set(found.id, found)
    next++
  }
  return done
}

/** A message of which only the record is known to be on disk; undefined where not even that. */
async function messageAt(
  { clock, rows }: OutboxRecoveryComponents,
  entry: LogEntry | undefined,
  place: LogRef & { readonly sequence: number }
): Promise<FoundMessage | undefined> {
  const record = entry?.record
  if (entry === undefined || record === undefined) return undefined
  const { count, first } = record.header
  const message = decodeMessages(record.body, count)[place.sequence - first]
  if (message === undefined) return undefined
  const { sequence, ...log } = place
  const id = formatMessageId(place)
  const inner = await rows.message(id)
  const ttlMs = message.ttlMs ?? LIMITS.inboxTtlMs
  const row: OutboxRow = {
    topic: inner?.suffix.slice(1) ?? '',
    bytes: inner?.payload.length ?? message.payload.length,
    since: entry.bornAt,
    ttlMs,
    custodians: []
  }
  const leftMs = Math.max(0, ttlMs - Math.max(0, clock.now() - entry.bornAt))
  return { id, log, sequence, row, leftMs }
}

function refOf({ channel, publisher, session }: LogState): LogRef {
  return { channel, publisher, session }
}
