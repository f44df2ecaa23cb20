import { type Clock, type Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Emitter, Events } from '../core/events.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import type { LogEntry, LogRef, LogState, Store } from '../store/contract.ts'
import { bucketOf, logDigests } from '../wire/log-digest.ts'
import {
  type AskedChannel,
  type ChannelHeads,
  decodeSyncFrame,
  DIGEST_BYTES,
  encodeSyncFrame,
  PAGE_LOGS,
  type Pull,
  type PulledRecord,
  type SyncFrame
} from '../wire/sync-frames.ts'
import { heldRanges } from '../wire/vector.ts'
import { entryOf } from './sync-ranges.ts'

export const SYNC_PROTOCOL = '/skein/sync/1.0.0'

/** What holders of messages for an inbox know of its receipts. */
export interface ReceiptBook {
  /** The newest signed receipt for a log of some inbox. */
  held(log: LogRef): Uint8Array | undefined
  /** Takes a receipt from whoever shows it. Throws ERR_RECORD where it is not what it claims to be. */
  accept(receipt: Uint8Array, from: PeerId): void
}

export interface SyncHolderComponents {
  readonly store: Pick<Store, 'events' | 'log' | 'logs' | 'readLog' | 'readLogBefore' | 'seekLog'>
  readonly transport: Pick<Transport, 'handle' | 'blame'>
  readonly clock: Clock
  readonly logger: Logger
  readonly receipts: ReceiptBook
}

export interface SyncHolderInit {
  /** PeerId of this node. */
  readonly self: PeerId
}

export interface SyncHolderEvents {
  /** A peer asked for what this node published and holds no more. */
  'asked-below': { log: LogRef; floor: number }
}

/** Counters since start. */
export interface SyncHolderStats {
  pulls: number
  records: number
  bytes: number
}

/** Changes of heads are told at most this often: live traffic has usually brought the records by then. */
const TELL_MS = 1_000
/** Of an inbox at once, for nothing else brings its records; the delay gathers those of one moment. */
const TELL_INBOX_MS = 5
/** Bytes of records in one frame, give or take one record. */
const FRAME_BYTES = 256 * 1024
/** Pulls of one peer that may wait; it asks for two at a time. */
const WAITING_PULLS = 16

/** Answers those who ask what is held here, and gives them records. Each peer has one stream. */
export class SyncHolder {
  readonly stats: SyncHolderStats = { pulls: 0, records: 0, bytes: 0 }
  readonly #components: SyncHolderComponents
  readonly #init: SyncHolderInit
  readonly #emitter: Emitter<SyncHolderEvents>
  readonly #sessions = new Map<FrameStream, HolderSession>()
  #unsubscribe: (() => void) | undefined

  constructor(
    components: SyncHolderComponents,
    init: SyncHolderInit,
    emitter: Emitter<SyncHolderEvents>
  ) {
    this.#components = components
    this.#init = init
    this.#emitter = emitter
    components.transport.handle(SYNC_PROTOCOL, (stream) => void this.#serve(stream))
  }

  get events(): Events<SyncHolderEvents> {
    return this.#emitter
  }

  start(): void {
    this.#unsubscribe = this.#components.store.events.on('changed', ({ logs }) => {
      for (const session of this.#sessions.values()) session.changed(logs)
    })
  }

  stop(): void {
    this.#unsubscribe?.()
    for (const session of this.#sessions.values()) session.stop()
  }

  /** Shows a signed receipt to every peer that holds messages of that log. */
  show(log: LogRef): void {
    for (const session of this.#sessions.values()) session.changed([log])
  }

  async #serve(stream: FrameStream): Promise<void> {
    const session = new HolderSession(this.#components, {
      stream,
      self: this.#init.self,
      stats: this.stats,
      askedBelow: (log, floor) => this.#emitter.emit('asked-below', { log, floor })
    })
    this.#sessions.set(stream, session)
    try {
      for await (const frame of stream.frames) session.take(decodeSyncFrame(frame))
    } catch (error) {
      if (isSkeinError(error, 'ERR_RECORD'))
        this.#components.transport.blame(stream.peer, 'a malformed sync frame')
      else if (!isSkeinError(error)) throw error
      this.#components.logger.debug({ err: error, peer: stream.peer }, 'a sync stream ended')
      stream.abort(error as Error)
    } finally {
      session.stop()
      this.#sessions.delete(stream)
    }
  }
}

interface HolderSessionInit {
  readonly stream: FrameStream
  readonly self: PeerId
  readonly stats: SyncHolderStats
  readonly askedBelow: (log: LogRef, floor: number) => void
}

/** One peer's questions. */
class HolderSession {
  readonly #components: SyncHolderComponents
  readonly #init: HolderSessionInit
  #asked = new Map<string, AskedChannel>()
  /** Logs that changed and were not told yet. */
  readonly #dirty = new Map<string, LogRef>()
  #timer: Timer | undefined
  readonly #pulls: Pull[] = []
  #serving = false
  #stopped = false

  constructor(components: SyncHolderComponents, init: HolderSessionInit) {
    this.#components = components
    this.#init = init
  }

  take(frame: SyncFrame): void {
    if (frame.kind === 'ask') this.#ask(frame.channels)
    else if (frame.kind === 'pull') this.#pull(frame)
    else if (frame.kind === 'receipts') {
      for (const receipt of frame.receipts) {
        this.#components.receipts.accept(receipt, this.#init.stream.peer)
      }
    }
  }

  changed(logs: readonly LogRef[]): void {
    let soon = false
    for (const log of logs) {
      if (!this.#asked.has(log.channel)) continue
      this.#dirty.set(keyOf(log), log)
      soon ||= log.channel.startsWith('@')
    }
    if (this.#dirty.size > 0) this.#tellLater(soon ? TELL_INBOX_MS : TELL_MS, soon)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#dirty.clear()
    this.#pulls.length = 0
  }

  // ---- heads ----

  #ask(channels: readonly AskedChannel[]): void {
    this.#asked = new Map(channels.map((asked) => [asked.channel, asked]))
    this.#dirty.clear()
    const pages: ChannelHeads[][] = [[]]
    let size = 0
    for (const asked of channels) {
      const logs = this.#differing(asked)
      for (let at = 0; at < logs.length || at === 0; at += PAGE_LOGS) {
        const part = logs.slice(at, at + PAGE_LOGS)
        if (part.length === 0) break
        if (size > 0 && size + part.length > PAGE_LOGS) {
          pages.push([])
          size = 0
        }
        pages.at(-1)?.push(this.#headsOf(asked.channel, part))
        size += part.length
      }
    }
    for (const [index, page] of pages.entries()) {
      void this.#send({ kind: 'heads', channels: page, last: index === pages.length - 1 })
    }
  }

  /** The logs in those buckets of a channel whose digests are not the peer's. */
  #differing({ channel, digests }: AskedChannel): LogState[] {
    const logs = this.#components.store.logs(channel).filter((log) => this.#isShown(log))
    // Digests say nothing of receipts. Who sent to that inbox wants to hear of them; whose inbox it is sees by what is
    // still held for it that its own did not arrive.
    if (channel === `@${this.#init.stream.peer}`) return logs.filter((log) => isHeld(log))
    if (channel.startsWith('@')) return logs
    const buckets = digests.length / DIGEST_BYTES
    const own = logDigests(logs.map(entryOf), buckets)
    const differs = Array.from({ length: buckets }, (_, bucket) => {
      const [from, to] = [bucket * DIGEST_BYTES, (bucket + 1) * DIGEST_BYTES]
      return Buffer.compare(own.subarray(from, to), digests.subarray(from, to)) !== 0
    })
    return logs.filter((log) => differs[bucketOf(log.publisher, log.session, buckets)] === true)
  }

  #headsOf(channel: string, logs: readonly LogState[]): ChannelHeads {
    const receipts: Uint8Array[] = []
    if (channel.startsWith('@')) {
      for (const log of logs) {
        const receipt = this.#components.receipts.held(log)
        if (receipt !== undefined) receipts.push(receipt)
      }
    }
    return { channel, logs: logs.map(entryOf), receipts }
  }

  #isShown(log: LogState): boolean {
    if (!this.#mayRead(log)) return false
    return isHeld(log) || this.#components.receipts.held(log) !== undefined
  }

  /** An inbox is for its owner, and each log in it also for who wrote it. */
  #mayRead({ channel, publisher }: LogRef): boolean {
    const { peer } = this.#init.stream
    return !channel.startsWith('@') || channel === `@${peer}` || publisher === peer
  }

  #tellLater(ms: number, sooner: boolean): void {
    if (this.#timer !== undefined && !sooner) return
    this.#timer?.cancel()
    this.#timer = this.#components.clock.after(ms, () => this.#tell())
  }

  #tell(): void {
    this.#timer = undefined
    const byChannel = new Map<string, LogState[]>()
    let count = 0
    for (const [key, ref] of this.#dirty) {
      this.#dirty.delete(key)
      const log = this.#components.store.log(ref)
      if (log === undefined || !this.#isShown(log)) continue
      const logs = byChannel.get(ref.channel)
      if (logs === undefined) byChannel.set(ref.channel, [log])
      else logs.push(log)
      if (++count >= PAGE_LOGS) break
    }
    if (this.#dirty.size > 0) this.#tellLater(TELL_MS, false)
    if (count === 0) return
    const channels = [...byChannel].map(([channel, logs]) => this.#headsOf(channel, logs))
    void this.#send({ kind: 'heads', channels, last: false })
  }

  // ---- records ----

  #pull(pull: Pull): void {
    if (this.#pulls.length >= WAITING_PULLS) {
      this.#components.transport.blame(this.#init.stream.peer, 'too many pulls at once')
      this.#init.stream.abort(new Error('too many pulls at once'))
      return
    }
    this.#pulls.push(pull)
    if (!this.#serving) void this.#answerAll()
  }

  async #answerAll(): Promise<void> {
    this.#serving = true
    try {
      for (let pull = this.#pulls[0]; pull !== undefined; pull = this.#pulls[0]) {
        await this.#answer(pull)
        this.#pulls.shift()
      }
    } catch (error) {
      // The stream is gone, or the store is: who asked goes elsewhere.
      if (!isSkeinError(error)) throw error
      this.#init.stream.abort(error)
    } finally {
      this.#serving = false
    }
  }

  async #answer(pull: Pull): Promise<void> {
    this.#init.stats.pulls++
    const log = this.#components.store.log(pull)
    if (log === undefined || !this.#mayRead(pull)) {
      await this.#start(pull, undefined, { from: 0, exact: false })
    } else if (pull.backwards) await this.#answerBackwards(pull, log)
    else await this.#answerForwards(pull, log)
    await this.#send({ kind: 'end', id: pull.id })
  }

  async #answerForwards(pull: Pull, log: LogState): Promise<void> {
    const { id, from, maxBytes, to } = pull
    const { clock, store } = this.#components
    if (pull.awaited && from < log.floor && log.publisher === this.#init.self) {
      this.#init.askedBelow(pull, log.floor)
    }
    const oldest = clock.now() - pull.maxAgeMs
    const young = pull.maxAgeMs > 0 ? await store.seekLog(pull, oldest, from) : from
    const exact = (young ?? Infinity) > from && isOlder(log, to, young)
    if (young === undefined || young > to) {
      await this.#start(pull, log, { from: 0, exact })
      return
    }
    const first = Math.max(from, young)
    let entries = await this.#read(pull, first, maxBytes)
    await this.#start(pull, log, { from: entries[0]?.head.header.first ?? 0, exact })
    for (let left = maxBytes; entries.length > 0 && !this.#stopped;) {
      left -= sizeOf(entries)
      const next = endOf(entries) + 1
      // The next ones are read while these are on their way.
      const following = left <= 0 || next > to ? [] : this.#read(pull, next, left)
      await this.#sendRecords(id, entries)
      entries = await following
    }
  }

  async #answerBackwards(pull: Pull, log: LogState): Promise<void> {
    const { clock, store } = this.#components
    const maxBytes = Math.min(pull.maxBytes, LIMITS.readBytes)
    const all = await store.readLogBefore(pull, pull.to + 1, { maxBytes })
    const oldest = pull.maxAgeMs > 0 ? clock.now() - pull.maxAgeMs : 0
    const young = all.findIndex(({ bornAt }) => bornAt >= oldest)
    const entries = young === -1 ? [] : all.slice(young)
    const exact = young !== 0 && all.length > 0
    await this.#start(pull, log, { from: entries[0]?.head.header.first ?? 0, exact })
    if (entries.length > 0) await this.#sendRecords(pull.id, entries)
  }

  #read(pull: Pull, from: number, maxBytes: number): Promise<readonly LogEntry[]> {
    return this.#components.store.readLog(pull, from, {
      to: pull.to,
      maxBytes: Math.min(maxBytes, FRAME_BYTES)
    })
  }

  async #sendRecords(id: number, entries: readonly LogEntry[]): Promise<void> {
    const now = this.#components.clock.now()
    const { stats } = this.#init
    let frame: PulledRecord[] = []
    let size = 0
    for (const { bornAt, head, record } of entries) {
      const { bytes } = record ?? head
      if (size > 0 && size + bytes.length > FRAME_BYTES * 2) {
        await this.#send({ kind: 'records', id, records: frame })
        frame = []
        size = 0
      }
      frame.push({ ageMs: Math.max(0, now - bornAt), bytes, headOnly: record === undefined })
      size += bytes.length
      stats.records++
      stats.bytes += bytes.length
    }
    await this.#send({ kind: 'records', id, records: frame })
  }

  #start(
    pull: Pull,
    log: LogState | undefined,
    { exact, from }: { from: number; exact: boolean }
  ): Promise<void> {
    const { floor, head } = log ?? { floor: 0, head: 0 }
    return this.#send({ kind: 'start', id: pull.id, from, exact, floor, head })
  }

  #send(frame: SyncFrame): Promise<void> {
    const sent = this.#init.stream.send(encodeSyncFrame(frame))
    // Heads are sent without waiting; that the stream is gone shows at its reading end.
    sent.catch(() => {})
    return sent
  }
}

/**
 * Is everything up to `last`, as far as it is below the first record that is young enough, too old? Only what is held
 * says so: below a young record may as well be a hole.
 */
function isOlder(log: LogState, last: number, young = Infinity): boolean {
  const end = Math.min(last, young - 1)
  return heldRanges(entryOf(log).held).some(({ from, to }) => to >= end && from < young)
}

function isHeld(log: LogState): boolean {
  return heldRanges(log).length > 0
}

function endOf(entries: readonly LogEntry[]): number {
  const header = entries.at(-1)?.head.header
  return header === undefined ? 0 : header.first + header.count - 1
}

function sizeOf(entries: readonly LogEntry[]): number {
  let size = 0
  for (const { head, record } of entries) size += (record ?? head).bytes.length
  return size
}

function keyOf({ channel, publisher, session }: LogRef): string {
  return `${publisher}/${session}/${channel}`
}
