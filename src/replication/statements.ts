import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { LogRef, SequenceRange, Store } from '../store/contract.ts'
import { decodeStatement, encodeStatement } from '../wire/statement.ts'
import type { Publisher } from './publisher.ts'
import type { Receiver } from './receiver.ts'
import type { SyncHolder } from './sync-holder.ts'

export interface StatementsComponents {
  readonly store: Pick<Store, 'events' | 'log' | 'giveUp'>
  readonly receiver: Pick<Receiver, 'events'>
  readonly holder: Pick<SyncHolder, 'events'>
  readonly publisher: Pick<Publisher, 'publishControl'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface StatementsInit {
  /** PeerId of this node. */
  readonly self: string
}

/** Others may hold what its publisher does not: they are asked for so long before a range is given up, ms. */
const BELIEVE_MS = 10_000
/** The same is not said again so soon, ms: one record tells everybody. */
const SAY_AGAIN_MS = 60_000

/**
 * A publisher has the last word on its own logs: when a peer asks it for what its retention took or its disk lost,
 * it says so in a signed record, and whoever waits for that range waits no more. Nobody else's word ends a gap.
 */
export class Statements {
  readonly #components: StatementsComponents
  readonly #init: StatementsInit
  /** What was said of own logs, and until when it is not said again: monotonic ms. */
  readonly #said = new Map<string, number>()
  readonly #timers = new Set<Timer>()
  readonly #cleanup: (() => void)[] = []

  constructor(components: StatementsComponents, init: StatementsInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { holder, receiver, store } = this.#components
    this.#cleanup.push(
      receiver.events.on('statement', ({ record }) => {
        const statement = decodeStatement(record.body)
        if (statement === undefined) return
        const { channel, publisher } = record.header
        this.#believe({ channel, publisher, session: statement.session }, statement)
      }),
      holder.events.on('asked-below', ({ floor, log }) => {
        this.#say(log, { from: 1, to: floor - 1 }, 'trimmed')
      }),
      store.events.on('damaged', ({ log, range }) => {
        if (log.publisher === this.#init.self) this.#say(log, range, 'lost')
      })
    )
  }

  stop(): void {
    for (const undo of this.#cleanup.splice(0)) undo()
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }

  #believe(
    log: LogRef,
    { from, reason, to }: SequenceRange & { reason: 'trimmed' | 'lost' }
  ): void {
    const { clock, logger, store } = this.#components
    const timer = clock.after(BELIEVE_MS, () => {
      this.#timers.delete(timer)
      if (store.log(log) === undefined) return
      store.giveUp(log, { from, to }, reason).catch((error: unknown) => {
        if (!isSkeinError(error)) throw error
        logger.warn({ err: error, log }, 'a lost range could not be given up')
      })
    })
    this.#timers.add(timer)
  }

  #say(log: LogRef, range: SequenceRange, reason: 'trimmed' | 'lost'): void {
    const { clock, logger, publisher } = this.#components
    const { channel, session } = log
    const key = `${session}/${channel}/${range.from}-${range.to}`
    const now = clock.monotonic()
    if ((this.#said.get(key) ?? 0) > now) return
    for (const [known, until] of this.#said) if (until <= now) this.#said.delete(known)
    this.#said.set(key, now + SAY_AGAIN_MS)
    const body = encodeStatement({ session, ...range, reason })
    publisher.publishControl(channel, body).catch((error: unknown) => {
      if (!isSkeinError(error)) throw error
      // Asked again, it says so again.
      this.#said.delete(key)
      logger.warn({ err: error, log }, 'a statement could not be published')
    })
  }
}
