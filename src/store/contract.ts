import type { Events } from '../core/events.ts'
import type { Lifecycle } from '../core/lifecycle.ts'
import type { RecordHead, RecordHeader, SealedRecord } from '../wire/record.ts'

/** Names one log. */
export interface LogRef {
  readonly channel: string
  /** PeerId of the publisher, as text. */
  readonly publisher: string
  /** 16 hex digits. */
  readonly session: string
}

/** Sequence numbers from `from` to `to`, both included. */
export interface SequenceRange {
  readonly from: number
  readonly to: number
}

/** What is held of one log. Kept in memory for every log; a snapshot, replaced at each change. */
export interface LogState extends LogRef {
  /** Held from this sequence; below it nothing is held or wanted. */
  readonly floor: number
  /** Held without a hole up to this sequence; `floor - 1` while nothing is. */
  readonly head: number
  /** Digest of the record that ends at `head`; undefined while nothing is held up to it. */
  readonly headDigest: Uint8Array | undefined
  /** Held above a hole: ascending, disjoint, at most LIMITS.islands. Not deliverable yet. */
  readonly islands: readonly SequenceRange[]
  /** The log is known to reach at least this far, whether held or not; 0 where nothing is known. */
  readonly expected: number
  /** Ranges that count as held and are not, because they were given up: ascending, disjoint. */
  readonly voids: readonly SequenceRange[]
  /** Of the voids, those given up as 'skipped': they are taken, and delivered late, when they come after all. */
  readonly skipped: readonly SequenceRange[]
  /** Records held, and their bytes. */
  readonly records: number
  readonly bytes: number
  /** Newest hybrid time in the log, ms. */
  readonly timeMs: number
  /** Set when two different records claim one sequence: the log takes nothing above it any more. */
  readonly forkedAt: number | undefined
}

/** Why a range is waited for no more. */
export type GiveUpReason =
  /** Someone decided to go on without it. It is still taken when it comes, and delivered late. */
  | 'skipped'
  /** Its publisher says that it is lost. */
  | 'lost'
  /** Its publisher says that it was trimmed. */
  | 'trimmed'
  /** It is older than this store's retention. */
  | 'expired'
  /** It is from before anyone on this node wanted the channel: no loss to anybody. */
  | 'unwanted'

/** One record on its way into the store. Its signature has been verified by the caller. */
export interface AppendItem {
  /** A head alone stands for a record whose body was compacted away where it comes from: held, delivers nothing. */
  readonly record: SealedRecord | RecordHead
  /** How old the record is, ms, as far as its bearer knew; 0 for one's own. */
  readonly ageMs: number
  /** Delivered with `late: true`. */
  readonly late?: boolean
  /** First sequence wanted of a log that is not known yet; default: the record's own first. */
  readonly floor?: number
  /**
   * Of a session's first record: the session before, whose end it names, is wanted. Where it is not known, it is
   * known from then on, with nothing held. What is missing of it up to that end is a hole, and comes first.
   */
  readonly expectsBefore?: boolean
  /** Small values written in the same commit as the record. */
  readonly values?: readonly ValueEntry[]
}

/** A value of a `ValueSpace` with its place. */
export interface ValueEntry {
  readonly space: string
  readonly key: string
  readonly value: Uint8Array
}

/** One record as it stands in its log. */
export interface LogEntry {
  readonly head: RecordHead
  /** Undefined where only the head is left. */
  readonly record: SealedRecord | undefined
  /** Estimated local wall-clock time of its publishing, ms. */
  readonly bornAt: number
}

/** What became of one item, in the order of the call. */
export type AppendOutcome =
  /** Held, and deliverable at once (so are islands it joined). */
  | 'appended'
  /** Held above a hole. */
  | 'island'
  /** Held already, the same digest. */
  | 'duplicate'
  /** Below the floor: not wanted. */
  | 'below-floor'
  /** Another record is held at that sequence: both heads are kept as proof, the log is frozen. */
  | 'fork'
  /** The log is frozen by an earlier fork at or below this sequence. */
  | 'frozen'
  /** `previous` is not the digest of the record before, or the boundaries overlap a held record. */
  | 'broken-chain'
  /** More islands than LIMITS.islands; ask again when the hole is smaller. */
  | 'too-many-islands'
  /** Older than the channel's retention allows. */
  | 'expired'

/** One record in the journal: a local, gap-free numbering of messages in the order they became deliverable. */
export interface JournalEntry {
  readonly channel: string
  /** Offset of the record's first message; message i of it has offset + i. */
  readonly offset: number
  readonly count: number
  /** Undefined where the body is gone (trimmed, compacted or damaged): its offsets are skipped. */
  readonly record: SealedRecord | undefined
  /** The header, where it is still held. */
  readonly header: RecordHeader | undefined
  /** Estimated local wall-clock time of its publishing, ms: arrival minus age at arrival. */
  readonly bornAt: number
  readonly late: boolean
}

/** The journal of one channel: offsets from `first` (inclusive) to `next` (exclusive) are held. */
export interface JournalState {
  readonly first: number
  readonly next: number
}

/** How far one durable subscription is in one channel's journal. */
export interface CursorState {
  /** Everything below is done with. */
  readonly offset: number
  /** Done with above `offset`: ascending, disjoint, at most LIMITS.cursorRanges. Offsets, both included. */
  readonly acknowledged: readonly SequenceRange[]
  /** Below this offset a message may have been handed over before the last stop. */
  readonly handed: number
  /** Exact attempts of messages that were offered more than once: [offset, attempts]. */
  readonly attempts: ReadonlyArray<readonly [number, number]>
}

/** A durable subscription's registration, as its owner wrote it. */
export interface Registration {
  readonly name: string
  readonly filter: string
  /** ms since 1970. */
  readonly createdAt: number
  /** Everything else its owner wants back, JSON. */
  readonly options: Readonly<Record<string, unknown>>
}

/** What to keep of a channel. All limits hold at once; whole records at a time. */
export interface RetentionPolicy {
  /** Default 24 h. Infinity = no limit. */
  readonly maxAgeMs: number
  /** Default 4 GiB. */
  readonly maxBytes: number
  /** Default no limit. */
  readonly maxMessages: number
  /** Newest messages kept per (topic, key); undefined = every message. */
  readonly keepLast: number | undefined
  /** Trim also what every known durable subscriber has; see `Received`. Default false. */
  readonly untilReceived: boolean
  /** What to do when `maxBytes` or `maxMessages` is reached: trim the oldest, or refuse to publish. Default 'trim'. */
  readonly onFull: 'trim' | 'reject'
}

/** What every known durable subscriber of a channel has, for `untilReceived`. */
export interface Received {
  /** Every other node with a durable subscription holds the log up to here, synced; 0 where one does not. */
  sequence(log: LogRef): number
  /** This node's own durable subscriptions are done with the journal below this offset. */
  readonly offset: number
}

/** What one trim removed. */
export interface TrimReport {
  readonly records: number
  readonly messages: number
  readonly bytes: number
}

/** Why the store takes no user records now, or `open`. */
export type StoreCondition =
  /** Works. */
  | 'open'
  /** Less free space than the reserve: user records are refused, cursors and trims go on. */
  | 'full'
  /** A write failed for lack of space: nothing is written until `recover()` succeeds. */
  | 'failed'
  /** An I/O error that is not lack of space: final, the node must stop. */
  | 'broken'
  | 'closed'

/** What opening found. */
export interface OpenReport {
  /** The last stop was clean. */
  readonly clean: boolean
  readonly logs: number
  readonly records: number
  readonly durationMs: number
  /** Ranges found damaged and quarantined. */
  readonly damaged: ReadonlyArray<LogRef & SequenceRange>
}

export interface StoreEvents {
  /** Records became deliverable, written, in journal order. `record` is set in each. */
  journal: { channel: string; entries: readonly JournalEntry[] }
  /** A log has (or no longer has) a hole: `missing` are the ranges between head and the last island. */
  gap: { log: LogRef; missing: readonly SequenceRange[] }
  /** What is held of these logs changed, and is written: grown, trimmed, begun or gone. */
  changed: { logs: readonly LogRef[] }
  /** A range is waited for no more. */
  'given-up': { log: LogRef; range: SequenceRange; reason: GiveUpReason }
  fork: { log: LogRef; sequence: number }
  damaged: { log: LogRef; range: SequenceRange }
  trimmed: { channel: string; report: TrimReport; first: number }
  condition: { condition: StoreCondition; reason: string }
}

/** Small values by name; for a few thousand entries, not for messages. */
export interface ValueSpace {
  get(key: string): Promise<Uint8Array | undefined>
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  entries(): Promise<ReadonlyArray<readonly [string, Uint8Array]>>
}

/**
 * Everything a node keeps on disk. Log states, journal bounds and registrations are mirrored in memory, so
 * questions about them are answered at once; only bodies and old cursors are read from disk.
 *
 * Planning is synchronous: when `append` returns its promise, `log()` already counts the records, and two
 * calls are planned in the order they were made. The promise resolves when the write is done (`sync: true`:
 * on disk, synced). A failed write rejects every append of its commit and all later ones until `recover()`.
 */
export interface Store extends Lifecycle {
  /** Random, new whenever a store is created; cursors of another store are refused by it. */
  readonly epoch: string
  readonly events: Events<StoreEvents>
  readonly condition: StoreCondition
  /** What `start` found. */
  readonly report: OpenReport

  append(items: readonly AppendItem[], options: { sync: boolean }): Promise<AppendOutcome[]>
  /** Would user records be refused now? Throws ERR_STORE_FULL, ERR_STORE_WRITE or ERR_STORE_FAILED. */
  assertWritable(): void
  /** After `failed`: closes, reopens, verifies the tails, writes a probe. Rejects while space is lacking. */
  recover(): Promise<void>

  channels(): readonly string[]
  log(ref: LogRef): LogState | undefined
  logs(channel?: string): readonly LogState[]
  /** Resolves when everything appended so far is on disk, synced. Calls at once share one sync. */
  flush(): Promise<void>

  /** Records of one log that end at or above `from`, ascending, until `maxBytes` is exceeded; at least one if any. */
  readLog(
    ref: LogRef,
    from: number,
    options?: { to?: number; maxBytes?: number }
  ): Promise<readonly LogEntry[]>
  /** The contiguous records that end right below `before`, ascending, about `maxBytes` of them; at least one if any. */
  readLogBefore(
    ref: LogRef,
    before: number,
    options?: { maxBytes?: number }
  ): Promise<readonly LogEntry[]>
  /**
   * First sequence of the first record held that was born at or after local time `ms`; undefined if none. Where the
   * last record that begins at or below `from` (default 0) was, its own first sequence, which is found at once.
   */
  seekLog(ref: LogRef, ms: number, from?: number): Promise<number | undefined>

  /**
   * Puts records below the floor of a log that is known, and their messages in front of the journal, so that a
   * subscription that begins at the journal's first offset gets them first, and no other gets them at all. The
   * records are contiguous, ascending and end right below the floor, else 'broken-chain'. Not synced.
   */
  prepend(ref: LogRef, items: readonly AppendItem[]): Promise<'prepended' | 'broken-chain'>
  /**
   * Nothing below `floor` is wanted of the log, which is created where it is unknown. What is held below goes, a
   * hole below is a hole no more. No effect where the floor is as high already.
   */
  raiseFloor(ref: LogRef, floor: number): Promise<void>
  /** Goes on without a range that is missing. Emits 'given-up' for each part of it that was. */
  giveUp(ref: LogRef, range: SequenceRange, reason: GiveUpReason): Promise<void>

  /** Greatest session of `publisher` on this disk, in any channel. */
  latestSession(publisher: string): string | undefined

  journal(channel: string): JournalState
  /** Entries that end above `offset`, ascending, until `maxBytes` is exceeded; at least one if any. */
  readJournal(
    channel: string,
    offset: number,
    options?: { maxBytes?: number }
  ): Promise<JournalEntry[]>
  /** Offset of the first message at or after local time `ms`; `next` if none. */
  seekJournal(channel: string, ms: number): Promise<number>
  /** Offsets of the newest message of every topic (channel + suffix) in the journal, ascending. */
  lastOffsets(channel: string, matches: (topic: string) => boolean): Promise<number[]>

  /** Durable subscriptions. */
  registrations(): readonly Registration[]
  /** Writes the registration and its first cursors, synced. */
  register(registration: Registration, cursors: ReadonlyMap<string, CursorState>): Promise<void>
  unregister(name: string): Promise<void>
  cursors(name: string): Promise<Map<string, CursorState>>
  /** Written unsynced, coalesced with whatever else is waiting. */
  saveCursor(name: string, channel: string, cursor: CursorState): Promise<void>

  trim(channel: string, policy: RetentionPolicy, received?: Received): Promise<TrimReport>
  /** Reads and checks the next `maxBytes` of records in the background; returns the bytes checked, 0 = wrapped round. */
  scrub(maxBytes: number): Promise<number>
  values(space: string): ValueSpace
  /** Bytes of records and messages held of one channel. */
  channelUsage(channel: string): { bytes: number; messages: number }
  /** Bytes of records held, and free bytes of the file system where it has one. */
  usage(): { bytes: number; records: number; freeBytes: number | undefined; reserveBytes: number }
}
