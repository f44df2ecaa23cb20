import { SkeinError, isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { Message, NackOptions, SkeinNode, Subscription } from '../../node/contract.ts'
import type { DataEncoding } from '../events/cloud-event.ts'
import type { EventSharing } from '../events/event-sharing.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { errorOfRequest } from '../problem.ts'
import { parseFrom } from '../query.ts'
import { assertTogether, openFor } from '../routes/wanted-subscription.ts'
import type { Command } from './commands.ts'
import { errorText, gapText, messageText } from './pushes.ts'
import type { SocketWriter } from './socket-writer.ts'

export interface SocketSubscriptionsComponents {
  readonly node: Pick<SkeinNode, 'subscribe'>
  readonly subscriptions: OpenSubscriptions
  readonly sharing: EventSharing
  readonly writer: SocketWriter
  readonly logger: Logger
}

interface Entry {
  readonly id: number
  readonly subscription: Subscription
  readonly close: () => Promise<void>
  readonly encoding: DataEncoding
  /** Acknowledge what the socket has taken. */
  readonly acknowledge: boolean
  readonly ending: AbortController
}

/** The subscriptions of one WebSocket connection. */
export class SocketSubscriptions {
  readonly #components: SocketSubscriptionsComponents
  readonly #entries = new Map<number, Entry>()
  #opening = 0
  #last = 0
  #closed = false

  constructor(components: SocketSubscriptionsComponents) {
    this.#components = components
  }

  /** Resolves when it is open; `begin` is to be called when that has been said. */
  async subscribe(command: Command<'subscribe'>): Promise<{ result: object; begin: () => void }> {
    const {
      ack,
      data = 'auto',
      durable,
      filter,
      from,
      group,
      ref: _ref,
      type: _type,
      ...rest
    } = command
    assertTogether({ ...rest, ack, durable, filter, group })
    if (this.#entries.size + this.#opening >= LIMITS.wsSubscriptions) {
      throw new SkeinError(
        'ERR_BUSY',
        `A connection has at most ${LIMITS.wsSubscriptions} subscriptions; unsubscribe one or open another connection.`
      )
    }
    const isKept = durable !== undefined || group !== undefined
    const options = { ...rest, from: typeof from === 'string' ? parseFrom(from, 'from') : from }
    this.#opening++
    try {
      const opened = await openFor({ filter, durable, group, options }, this.#components, 'socket')
      const entry: Entry = {
        ...opened,
        id: ++this.#last,
        encoding: data,
        acknowledge: isKept && ack === 'auto',
        ending: new AbortController()
      }
      if (this.#closed) {
        await opened.close()
        throw new SkeinError('ERR_ABORTED', 'The connection was closed.')
      }
      this.#entries.set(entry.id, entry)
      const { subscription } = opened
      const result = { subscription: entry.id, filter: subscription.filter, durable, group }
      return { result, begin: () => void this.#run(entry) }
    } finally {
      this.#opening--
    }
  }

  /** Gives back what is not acknowledged. Rejects with ERR_SUBSCRIPTION_UNKNOWN. */
  async unsubscribe(id: number): Promise<void> {
    await this.#end(this.#find(id))
  }

  /** Resolves when written. Rejects with ERR_MESSAGE_UNKNOWN, the others being done. */
  async ack({ ids, subscription }: Command<'ack'>): Promise<object> {
    return { acked: await this.#settle(subscription, ids, (message) => message.ack()) }
  }

  async nack(command: Command<'nack'>): Promise<object> {
    const { delayMs, error, ids, subscription } = command
    const options: NackOptions = { delayMs, error }
    return { nacked: await this.#settle(subscription, ids, (message) => message.nack(options)) }
  }

  /** Ends all: what is not acknowledged is given back. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#entries.values(), (entry) => this.#end(entry)))
  }

  async #settle(
    id: number,
    ids: readonly string[],
    how: (message: Message) => Promise<void>
  ): Promise<number> {
    const { subscription } = this.#find(id)
    const unknown: string[] = []
    await Promise.all(
      ids.map(async (messageId) => {
        try {
          const message = subscription.inFlight(messageId)
          if (message === undefined) unknown.push(messageId)
          else await how(message)
        } catch (error) {
          if (!isSkeinError(error, 'ERR_MESSAGE_UNKNOWN')) throw error
          unknown.push(messageId)
        }
      })
    )
    const done = ids.length - unknown.length
    if (unknown.length === 0) return done
    throw new SkeinError(
      'ERR_MESSAGE_UNKNOWN',
      `${unknown.length} of the messages are not in flight on subscription ${id} (acknowledged already, or their time ran out); the others are done.`,
      { details: { done, unknown } }
    )
  }

  #find(id: number): Entry {
    const entry = this.#entries.get(id)
    if (entry !== undefined) return entry
    throw new SkeinError(
      'ERR_SUBSCRIPTION_UNKNOWN',
      `This connection has no subscription ${id}; its answer to 'subscribe' said which one it is.`
    )
  }

  async #end(entry: Entry): Promise<void> {
    this.#entries.delete(entry.id)
    entry.ending.abort()
    await entry.close()
  }

  /** Takes nothing from the subscription while the socket has no room: a slow reader falls back to what is on disk. */
  async #run(entry: Entry): Promise<void> {
    const { id, subscription } = entry
    const { logger, sharing, writer } = this.#components
    const release = [
      sharing.enter(),
      subscription.events.on('gap', (gap) => writer.write(gapText(id, gap))),
      subscription.events.on('stalled', (gap) => writer.write(gapText(id, gap))),
      subscription.events.on('end', ({ error }) => this.#ended(entry, error))
    ]
    try {
      await this.#copy(entry)
    } catch (error) {
      this.#ended(entry, error)
    } finally {
      for (const off of release) off()
      await entry.close().catch((error: unknown) => {
        logger.warn({ error, filter: subscription.filter }, 'a subscription could not be closed')
      })
    }
  }

  async #copy({ acknowledge, encoding, ending, id, subscription }: Entry): Promise<void> {
    const { sharing, writer } = this.#components
    const { signal } = ending
    let length = LIMITS.wsBatchBytes / 64
    while (!signal.aborted) {
      await writer.room()
      const bytes = Math.min(LIMITS.wsBatchBytes, sharing.batchBytes)
      const most = Math.min(Math.floor(bytes / length), LIMITS.pullMessages)
      const messages = await subscription.pull(Math.max(1, most), LIMITS.pullWaitMs, signal)
      if (signal.aborted) return
      if (messages.length === 0) continue
      let total = 0
      writer.together(() => {
        for (const message of messages) {
          const text = messageText(id, message.cursor, sharing.jsonOf(message, encoding))
          total += text.length
          // What cannot be acknowledged is handed over again; the subscription reports its own end.
          writer.write(text, acknowledge ? () => void message.ack().catch(() => {}) : undefined)
        }
      })
      length = (length + total / messages.length) / 2
    }
  }

  /** By itself, or because another connection took it over. */
  #ended(entry: Entry, error: unknown): void {
    if (!this.#entries.delete(entry.id)) return
    entry.ending.abort()
    const reason = error === undefined ? takenOver(entry.subscription) : errorOfRequest(error)
    this.#components.writer.write(errorText(reason, { subscription: entry.id }))
  }
}

function takenOver({ durable, filter, group }: Subscription): SkeinError {
  return new SkeinError(
    'ERR_SUBSCRIPTION_IN_USE',
    `The subscription '${durable ?? group ?? filter}' was taken over by another connection, or stopped.`
  )
}
