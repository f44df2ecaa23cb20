import { type Clock, delay } from '../core/clock.ts'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import type { LogRef, Store } from '../store/contract.ts'
import {
  REPLICAS_PROTOCOL,
  type SyncedCopy,
  decodeReplicasFrame,
  encodeReplicasFrame
} from './replicas-frames.ts'

export interface ReplicasHolderComponents {
  readonly store: Pick<Store, 'events' | 'flush' | 'log'>
  readonly transport: Pick<Transport, 'blame' | 'handle'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface ReplicasHolderInit {
  /**
   * What a copy of the channel here is worth: `synced`: it is told of once it is on disk. `held`: at once, for those who
   * ask want to know that somebody else who lives has it. Undefined: nothing, this node forgets it at a stop.
   */
  readonly vouches: (channel: string) => 'synced' | 'held' | undefined
}

/** Between two syncs for others, ms: publishers that wait are told some fifty times a second at most. */
const PACE_MS = 20
/** Between two reports of what is only held, ms: nothing is synced for them. */
const HELD_PACE_MS = 1

interface Watch {
  readonly log: LogRef
  readonly stream: FrameStream
  /** What was reported last. */
  from: number
  upTo: number
  sending: boolean
}

/**
 * Tells publishers how far this node has their logs on disk, synced. One sync at a time, for all logs that grew
 * since the one before; where nobody asks, nothing is done. A node whose store does not outlive it vouches for little.
 */
export class ReplicasHolder {
  /** Reports sent since start. */
  reports = 0
  readonly #components: ReplicasHolderComponents
  readonly #init: ReplicasHolderInit
  readonly #streams = new Map<PeerId, FrameStream>()
  /** By publisher, session and channel. */
  readonly #watches = new Map<string, Watch>()
  readonly #dirty = new Set<Watch>()
  #pumping = false
  #stopped = false
  #unsubscribe: (() => void)[] = []

  constructor(components: ReplicasHolderComponents, init: ReplicasHolderInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    this.#components.transport.handle(REPLICAS_PROTOCOL, (stream) => void this.#serve(stream))
  }

  stop(): void {
    this.#stopped = true
    this.#unlisten()
    const reason = new SkeinError('ERR_STREAM', 'this node is stopping')
    for (const stream of this.#streams.values()) stream.abort(reason)
  }

  async #serve(stream: FrameStream): Promise<void> {
    const { logger, transport } = this.#components
    const { peer } = stream
    if (this.#stopped) {
      stream.abort(new SkeinError('ERR_STREAM', 'this node is stopping'))
      return
    }
    this.#streams.get(peer)?.abort(new SkeinError('ERR_STREAM', 'another stream took its place'))
    this.#streams.set(peer, stream)
    let watches = 0
    try {
      for await (const bytes of stream.frames) {
        if (++watches > LIMITS.replicaWatches) {
          throw new SkeinError('ERR_STREAM', 'the peer has too many logs watched')
        }
        const { channel, session } = decodeReplicasFrame(bytes)
        // Who gets no answer looks for other holders.
        if (this.#init.vouches(channel) !== undefined)
          this.#watch({ channel, publisher: peer, session }, stream)
      }
      await stream.close()
    } catch (error) {
      if (!isSkeinError(error)) throw error
      if (error.code === 'ERR_RECORD') transport.blame(peer, error.message)
      logger.debug({ err: error, peer }, 'a peer no longer asks for synced copies')
      stream.abort(error)
    } finally {
      this.#forget(stream)
    }
  }

  #watch(log: LogRef, stream: FrameStream): void {
    const watch: Watch = { log, stream, from: 0, upTo: 0, sending: false }
    if (this.#watches.size === 0) this.#listen()
    this.#watches.set(keyOf(log), watch)
    this.#mark(watch)
  }

  #forget(stream: FrameStream): void {
    if (this.#streams.get(stream.peer) === stream) this.#streams.delete(stream.peer)
    for (const [key, watch] of this.#watches) {
      if (watch.stream !== stream) continue
      this.#watches.delete(key)
      this.#dirty.delete(watch)
    }
    if (this.#watches.size === 0) this.#unlisten()
  }

  #listen(): void {
    const { events } = this.#components.store
    this.#unsubscribe = [
      events.on('changed', ({ logs }) => {
        for (const log of logs) {
          const watch = this.#watches.get(keyOf(log))
          if (watch !== undefined) this.#mark(watch)
        }
      }),
      // What could not be synced may be by now.
      events.on('condition', ({ condition }) => {
        if (condition === 'open') for (const watch of this.#watches.values()) this.#mark(watch)
      })
    ]
  }

  #unlisten(): void {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
  }

  #mark(watch: Watch): void {
    this.#dirty.add(watch)
    if (!this.#pumping) void this.#pump()
  }

  async #pump(): Promise<void> {
    const { clock, logger, store } = this.#components
    this.#pumping = true
    try {
      while (this.#dirty.size > 0 && !this.#stopped) {
        const due = [...this.#dirty].filter(({ sending }) => !sending)
        for (const watch of due) this.#dirty.delete(watch)
        // As of before the sync: what came while it ran may not be on disk.
        const copies = due.map((watch) => ({ watch, copy: this.#copyOf(watch.log) }))
        const grown = copies.filter(({ watch, copy }) => isNews(watch, copy))
        const isSynced = grown.some(({ copy }) => this.#init.vouches(copy.channel) === 'synced')
        if (isSynced) await store.flush()
        for (const { watch, copy } of grown) this.#report(watch, copy)
        await delay(clock, isSynced ? PACE_MS : HELD_PACE_MS)
      }
    } catch (error) {
      if (!isSkeinError(error)) throw error
      logger.debug({ err: error }, 'copies for others could not be synced')
    } finally {
      this.#pumping = false
    }
  }

  /** Up to the head, from above what was given up: that is not held. */
  #copyOf(log: LogRef): SyncedCopy {
    const state = this.#components.store.log(log)
    const { channel, session } = log
    if (state === undefined) return { channel, session, from: 1, upTo: 0 }
    const from = Math.max(state.floor, (state.voids.at(-1)?.to ?? 0) + 1)
    return { channel, session, from, upTo: state.head }
  }

  #report(watch: Watch, copy: SyncedCopy): void {
    if (this.#watches.get(keyOf(watch.log)) !== watch) return
    watch.from = copy.from
    watch.upTo = copy.upTo
    watch.sending = true
    this.reports++
    watch.stream.send(encodeReplicasFrame(copy)).then(
      () => {
        watch.sending = false
        if (this.#dirty.has(watch) && !this.#pumping) void this.#pump()
      },
      // The reader of the stream meets the same end.
      () => undefined
    )
  }
}

function isNews(watch: Watch, { from, upTo }: SyncedCopy): boolean {
  return upTo >= from && (from !== watch.from || upTo !== watch.upTo)
}

function keyOf({ channel, publisher, session }: LogRef): string {
  return `${publisher}/${session}/${channel}`
}
