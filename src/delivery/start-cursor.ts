import { SkeinError } from '../core/errors.ts'
import type { CursorState, Store } from '../store/contract.ts'
import { decodeCursor } from '../wire/cursor.ts'
import { type ParsedFilter, topicMatches } from '../wire/topic.ts'
import type { From } from './contract.ts'
import type { Feed } from './feed.ts'

export interface StartCursorComponents {
  readonly store: Store
  readonly feed: Feed
}

export interface StartCursorInit {
  readonly from: From
  readonly channel: string
  readonly filter: ParsedFilter
}

/**
 * Where a new subscription begins in one channel. Rejects with ERR_CURSOR_UNKNOWN for a cursor of another
 * store, or of a channel that the filter does not reach.
 */
export async function startCursor(
  { feed, store }: StartCursorComponents,
  { channel, filter, from }: StartCursorInit
): Promise<CursorState> {
  if (from === 'now') return at(feed.next(channel))
  if (from === 'earliest') return at(store.journal(channel).first)
  if (from === 'last') return newestOfEach(store, channel, filter)
  if (from instanceof Date) return at(await store.seekJournal(channel, from.getTime()))
  return at(await resume(store, from.cursor, { channel, filter }))
}

function at(offset: number, acknowledged: CursorState['acknowledged'] = []): CursorState {
  return { offset, acknowledged, handed: offset, attempts: [] }
}

/** The newest message of each topic, then everything after: the rest counts as acknowledged. */
async function newestOfEach(
  store: Store,
  channel: string,
  filter: ParsedFilter
): Promise<CursorState> {
  const { next } = store.journal(channel)
  const offsets = await store.lastOffsets(channel, (topic) => topicMatches(filter, topic))
  const first = offsets[0]
  if (first === undefined) return at(next)
  const acknowledged: { from: number; to: number }[] = []
  let from = first + 1
  for (const offset of [...offsets.slice(1), next]) {
    if (offset > from) acknowledged.push({ from, to: offset - 1 })
    from = offset + 1
  }
  return at(first, acknowledged)
}

async function resume(
  store: Store,
  text: string,
  { channel, filter }: Pick<StartCursorInit, 'channel' | 'filter'>
): Promise<number> {
  const cursor = decodeCursor(text, [...store.channels(), channel])
  if (cursor.epoch !== store.epoch) {
    throw new SkeinError(
      'ERR_CURSOR_UNKNOWN',
      'the cursor belongs to another store: this node was set up anew, or the cursor comes from another node; begin without it'
    )
  }
  if (!filter.matchesChannel(cursor.channel)) {
    throw new SkeinError(
      'ERR_CURSOR_UNKNOWN',
      `the cursor belongs to the channel '${cursor.channel}', which '${filter.filter}' does not reach`
    )
  }
  if (cursor.channel === channel) return cursor.offset
  // A cursor names one channel. In the others of a wildcard, what was published since then is read again:
  // repeats are possible, losses are not.
  const [entry] = await store.readJournal(cursor.channel, Math.max(0, cursor.offset - 1), {
    maxBytes: 1
  })
  if (entry === undefined) return store.journal(channel).first
  return store.seekJournal(channel, entry.bornAt)
}
