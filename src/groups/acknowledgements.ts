import { isSkeinError } from '../core/errors.ts'
import type { Receipt } from '../replication/batch.ts'
import type { GroupChannel } from './group-channel.ts'
import { encodeRanges } from './group-values.ts'

export interface AcknowledgementsComponents {
  readonly channel: Pick<GroupChannel, 'say' | 'state'>
}

export interface AcknowledgementsInit {
  /** Is there no other live member? */
  readonly isAlone: () => boolean
  /** Resolves when others hold what was said, rejects with ERR_REPLICAS when they do not in time. */
  readonly held: (receipts: readonly Receipt[], timeoutMs: number) => Promise<void>
}

/** Another member is waited for so long, ms. */
const HELD_MS = 10_000

/**
 * Writes what is done to the group's channel. While one write is under way, what comes meanwhile waits and shares the
 * next: the value of a log holds everything that is done of it.
 */
export class Acknowledgements {
  readonly #components: AcknowledgementsComponents
  readonly #init: AcknowledgementsInit
  readonly #dirty = new Set<string>()
  #current: Promise<readonly Receipt[]> = Promise.resolve([])
  #next: Promise<readonly Receipt[]> | undefined
  /** Those who wait for another member, and need not where there is none. */
  readonly #waiting = new Set<() => void>()

  constructor(components: AcknowledgementsComponents, init: AcknowledgementsInit) {
    this.#components = components
    this.#init = init
  }

  /** Something of the log was done: resolves when one other live member holds that, or this node alone where it is alone. */
  async tell(log: string): Promise<void> {
    const receipts = await this.#write(log)
    if (this.#init.isAlone() || receipts.length === 0) return
    let alone = (): void => undefined
    const left = new Promise<void>((resolve) => {
      alone = resolve
    })
    this.#waiting.add(alone)
    try {
      await Promise.race([this.#init.held(receipts, HELD_MS), left])
    } finally {
      this.#waiting.delete(alone)
    }
  }

  /** Resolves when everything told so far is on this node's disk. */
  async flush(): Promise<void> {
    await (this.#dirty.size > 0 ? this.#write(undefined) : (this.#next ?? this.#current))
  }

  /** To be called now and then: what could not be written is tried again. */
  again(): void {
    if (this.#dirty.size === 0 || this.#next !== undefined) return
    this.flush().catch((error: unknown) => {
      if (!isSkeinError(error)) throw error
    })
  }

  /** Who is a member has changed. */
  membersChanged(): void {
    if (!this.#init.isAlone()) return
    for (const resolve of this.#waiting) resolve()
  }

  /** Nobody is waited for any more. */
  stop(): void {
    for (const resolve of this.#waiting) resolve()
  }

  #write(log: string | undefined): Promise<readonly Receipt[]> {
    if (log !== undefined) this.#dirty.add(log)
    this.#next ??= this.#current.then(
      () => this.#run(),
      () => this.#run()
    )
    return this.#next
  }

  async #run(): Promise<readonly Receipt[]> {
    this.#current = this.#next ?? this.#current
    this.#next = undefined
    const { channel } = this.#components
    const logs = [...this.#dirty]
    this.#dirty.clear()
    try {
      return await Promise.all(
        logs.map((log) => {
          const ranges = channel.state.done(log)?.ranges ?? []
          return channel.say('acks', encodeRanges(ranges), log)
        })
      )
    } catch (error) {
      // With the next write, whoever asks for it.
      for (const log of logs) this.#dirty.add(log)
      throw error
    }
  }
}

/** Is it only that others did not confirm it in time, or have the message now? The acknowledgement is on this node's disk. */
export function isUnconfirmed(error: unknown): boolean {
  return isSkeinError(error, 'ERR_MESSAGE_UNKNOWN', 'ERR_REPLICAS', 'ERR_STOPPED')
}
