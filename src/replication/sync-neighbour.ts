import { type Clock, type Timer } from '../core/clock.ts'
import { isSkeinError, SkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import {
  type AskedChannel,
  type ChannelHeads,
  decodeSyncFrame,
  encodeSyncFrame,
  type Pull,
  type PulledRecord,
  type SyncFrame
} from '../wire/sync-frames.ts'
import { SYNC_PROTOCOL } from './sync-holder.ts'

export interface SyncNeighbourComponents {
  readonly transport: Pick<Transport, 'open' | 'blame'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface SyncNeighbourInit {
  readonly peer: PeerId
  /** What to ask for, whenever the stream is new. */
  readonly ask: () => readonly AskedChannel[]
  readonly onHeads: (channels: readonly ChannelHeads[]) => void
  /** All that there was to say has been said. */
  readonly onAnswered: () => void
  /** The stream is gone: everything it was asked for has failed. */
  readonly onLost: () => void
}

/** How an answer to a pull begins. */
export interface PullStart {
  readonly from: number
  readonly exact: boolean
  readonly floor: number
  readonly head: number
}

export interface PullHandler {
  readonly onStart: (start: PullStart) => void | Promise<void>
  /** The next frame is read when it resolves. */
  readonly onRecords: (records: readonly PulledRecord[]) => void | Promise<void>
}

interface Outstanding extends PullHandler {
  readonly resolve: () => void
  readonly reject: (error: SkeinError) => void
}

/** Nothing came for so long while something was asked for: the peer is given up as a source, ms. */
const SILENCE_MS = 5_000
/** Between two attempts to open a stream, ms: doubled up to the last. */
const REOPEN_MS = 250
const REOPEN_MAX_MS = 15_000
const OPEN_TIMEOUT_MS = 5_000

/** This node's questions to one neighbour, on one stream, which is opened again whenever it breaks. */
export class SyncNeighbour {
  readonly peer: PeerId
  readonly #components: SyncNeighbourComponents
  readonly #init: SyncNeighbourInit
  #stream: FrameStream | undefined
  #stopped = false
  #reopenMs = REOPEN_MS
  #retry: Timer | undefined
  #nextId = 1
  readonly #outstanding = new Map<number, Outstanding>()
  #silence: Timer | undefined
  #heardAt = 0
  /** What came last is still being stored. */
  #handling = false
  /** Questions whose answers are not complete; undefined before the first one. */
  #unanswered: number | undefined

  constructor(components: SyncNeighbourComponents, init: SyncNeighbourInit) {
    this.#components = components
    this.#init = init
    this.peer = init.peer
  }

  /** Can it be asked? */
  get open(): boolean {
    return this.#stream !== undefined
  }

  /** It said all that it had to say when it was asked last. */
  get answered(): boolean {
    return this.#unanswered === 0
  }

  /** Pulls under way. */
  get pulls(): number {
    return this.#outstanding.size
  }

  start(): void {
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#silence?.cancel()
    this.#stream?.abort(new SkeinError('ERR_STOPPED', 'the neighbour is not synced with any more'))
    this.#lost(new SkeinError('ERR_STREAM', 'the neighbour is gone'))
  }

  /** Asks anew what the neighbour holds. */
  ask(): void {
    if (this.#stream === undefined) return
    this.#unanswered = (this.#unanswered ?? 0) + 1
    this.#send({ kind: 'ask', channels: this.#init.ask() })
  }

  showReceipts(receipts: readonly Uint8Array[]): void {
    if (receipts.length > 0) this.#send({ kind: 'receipts', receipts })
  }

  /** Resolves when the answer is complete; rejects with ERR_STREAM or ERR_TIMEOUT. */
  pull(wanted: Omit<Pull, 'id'>, handler: PullHandler): Promise<void> {
    if (this.#stream === undefined) {
      return Promise.reject(new SkeinError('ERR_STREAM', 'the sync stream is not open'))
    }
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      if (this.#outstanding.size === 0) this.#heardAt = this.#components.clock.monotonic()
      this.#outstanding.set(id, { ...handler, resolve, reject })
      this.#watch()
      this.#send({ kind: 'pull', id, ...wanted })
    })
  }

  #send(frame: SyncFrame): void {
    // That the stream is gone shows at its reading end.
    this.#stream?.send(encodeSyncFrame(frame)).catch(() => {})
  }

  async #run(): Promise<void> {
    const { logger, transport } = this.#components
    try {
      const stream = await transport.open(this.peer, SYNC_PROTOCOL, { timeoutMs: OPEN_TIMEOUT_MS })
      if (this.#stopped) {
        stream.abort(new SkeinError('ERR_STOPPED', 'the neighbour is not synced with any more'))
        return
      }
      this.#stream = stream
      this.ask()
      for await (const frame of stream.frames) {
        this.#reopenMs = REOPEN_MS
        this.#heardAt = this.#components.clock.monotonic()
        const handled = this.#take(decodeSyncFrame(frame))
        if (handled === undefined) continue
        this.#handling = true
        await handled
        this.#handling = false
        this.#heardAt = this.#components.clock.monotonic()
      }
    } catch (error) {
      if (isSkeinError(error, 'ERR_RECORD')) transport.blame(this.peer, 'a malformed sync frame')
      else if (!isSkeinError(error)) throw error
      logger.debug({ err: error, peer: this.peer }, 'a sync stream broke')
      this.#stream?.abort(error as Error)
    }
    this.#stream = undefined
    this.#handling = false
    this.#unanswered = undefined
    this.#lost(new SkeinError('ERR_STREAM', 'the sync stream broke'))
    if (this.#stopped) return
    this.#retry = this.#components.clock.after(this.#reopenMs, () => void this.#run())
    this.#reopenMs = Math.min(this.#reopenMs * 2, REOPEN_MAX_MS)
  }

  #take(frame: SyncFrame): void | Promise<void> {
    switch (frame.kind) {
      case 'heads':
        this.#init.onHeads(frame.channels)
        if (!frame.last || this.#unanswered === undefined) return
        // The answer to a question from before says nothing of what was asked since.
        this.#unanswered = Math.max(0, this.#unanswered - 1)
        if (this.#unanswered > 0) return
        this.#init.onAnswered()
        return
      case 'start':
        return this.#outstanding.get(frame.id)?.onStart(frame)
      case 'records':
        return this.#outstanding.get(frame.id)?.onRecords(frame.records)
      case 'end': {
        const done = this.#outstanding.get(frame.id)
        this.#outstanding.delete(frame.id)
        done?.resolve()
        return
      }
      case 'ask':
      case 'pull':
      case 'receipts':
        throw new SkeinError('ERR_RECORD', 'a sync frame that is not an answer', {
          details: { reason: 'field' }
        })
    }
  }

  #watch(): void {
    if (this.#silence !== undefined) return
    const { clock } = this.#components
    this.#silence = clock.after(SILENCE_MS, () => {
      this.#silence = undefined
      if (this.#outstanding.size === 0) return
      if (!this.#handling && clock.monotonic() - this.#heardAt >= SILENCE_MS) {
        this.#stream?.abort(new SkeinError('ERR_TIMEOUT', 'the neighbour does not answer'))
        this.#lost(new SkeinError('ERR_TIMEOUT', 'the neighbour does not answer'))
      } else this.#watch()
    })
  }

  #lost(error: SkeinError): void {
    const outstanding = [...this.#outstanding.values()]
    this.#outstanding.clear()
    for (const { reject } of outstanding) reject(error)
    this.#init.onLost()
  }
}
