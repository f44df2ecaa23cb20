import type { Clock } from '../core/clock.ts'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { FrameStream, PeerId, Transport } from '../mesh/contract.ts'
import {
  type OwnLog,
  REPLICAS_PROTOCOL,
  type SyncedCopy,
  decodeReplicasFrame,
  encodeReplicasFrame
} from './replicas-frames.ts'

export interface ReplicasLinksComponents {
  readonly transport: Pick<Transport, 'blame' | 'open'>
  readonly clock: Clock
  readonly logger: Logger
}

/** A peer whose stream could not be opened or broke is left alone for so long, ms. */
const RETRY_MS = 1_000
const OPEN_MS = 5_000

interface Link {
  readonly peer: PeerId
  /** By channel and session. */
  readonly logs: Map<string, OwnLog>
  stream: FrameStream | undefined
  closed: boolean
}

/** The streams on which holders tell of their copies of this node's logs, opened on demand. */
export class ReplicasLinks {
  readonly #components: ReplicasLinksComponents
  readonly #onReport: (peer: PeerId, copy: SyncedCopy) => void
  readonly #links = new Map<PeerId, Link>()
  /** Monotonic ms before which a peer is not tried again. */
  readonly #resting = new Map<PeerId, number>()

  constructor(
    components: ReplicasLinksComponents,
    onReport: (peer: PeerId, copy: SyncedCopy) => void
  ) {
    this.#components = components
    this.#onReport = onReport
  }

  /** Streams that are open or being opened. */
  get size(): number {
    return this.#links.size
  }

  /** Has the peer tell of the log, unless it does already or rests after a failure. */
  watch(peer: PeerId, log: OwnLog): void {
    const key = `${log.session} ${log.channel}`
    let link = this.#links.get(peer)
    if (link === undefined) {
      if ((this.#resting.get(peer) ?? 0) > this.#components.clock.monotonic()) return
      link = { peer, logs: new Map(), stream: undefined, closed: false }
      this.#links.set(peer, link)
      link.logs.set(key, log)
      void this.#run(link)
      return
    }
    if (link.logs.has(key)) return
    link.logs.set(key, log)
    // While the stream is being opened it is sent with the others; a broken stream is met by its reader.
    link.stream?.send(encodeReplicasFrame(log)).catch(() => undefined)
  }

  close(): void {
    const reason = new SkeinError('ERR_STREAM', 'nobody waits for synced copies')
    for (const link of this.#links.values()) {
      link.closed = true
      link.stream?.abort(reason)
    }
    this.#links.clear()
    this.#resting.clear()
  }

  async #run(link: Link): Promise<void> {
    const { clock, logger, transport } = this.#components
    const { peer } = link
    try {
      const stream = await transport.open(peer, REPLICAS_PROTOCOL, { timeoutMs: OPEN_MS })
      if (link.closed) {
        stream.abort(new SkeinError('ERR_STREAM', 'nobody waits for synced copies'))
        return
      }
      const logs = [...link.logs.values()]
      link.stream = stream
      await Promise.all(logs.map((log) => stream.send(encodeReplicasFrame(log))))
      for await (const bytes of stream.frames) this.#onReport(peer, decodeReplicasFrame(bytes))
    } catch (error) {
      if (!isSkeinError(error)) throw error
      if (error.code === 'ERR_RECORD') transport.blame(peer, error.message)
      link.stream?.abort(error)
      logger.debug({ err: error, peer }, 'a member does not tell of synced copies')
    } finally {
      if (this.#links.get(peer) === link) {
        this.#links.delete(peer)
        this.#resting.set(peer, clock.monotonic() + RETRY_MS)
      }
    }
  }
}
