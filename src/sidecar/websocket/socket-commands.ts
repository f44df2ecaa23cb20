import type { PublishOptions, SendOptions, SkeinNode } from '../../node/contract.ts'
import { parseMoment } from '../query.ts'
import type { Command, CommandType } from './commands.ts'
import { payloadOf } from './frame-content.ts'
import { okText, replyText } from './pushes.ts'
import type { SocketServices } from './socket-services.ts'
import type { SocketSubscriptions } from './socket-subscriptions.ts'

export interface SocketCommandsComponents {
  readonly node: Pick<SkeinNode, 'publish' | 'send' | 'request'>
  readonly subscriptions: SocketSubscriptions
  readonly services: SocketServices
}

/** What a command comes to. */
export interface Done {
  /** The frame that answers it. */
  readonly text: string
  /** To be called once the answer is written. */
  readonly begin?: () => void
}

/** These wait for others, perhaps for this very connection: what follows is read meanwhile. */
const LONG: ReadonlySet<CommandType> = new Set(['request', 'unserve'])

export function isLong({ type }: Command): boolean {
  return LONG.has(type)
}

/** Runs the commands of one WebSocket connection. `signal` aborts when it is gone. */
export class SocketCommands {
  readonly #components: SocketCommandsComponents
  readonly #signal: AbortSignal

  constructor(components: SocketCommandsComponents, signal: AbortSignal) {
    this.#components = components
    this.#signal = signal
  }

  /** `text` is the frame. Rejects with what went wrong. */
  async run(command: Command, text: string): Promise<Done> {
    const { services, subscriptions } = this.#components
    const ok = (result: object = {}): Done => ({ text: okText(command.ref, result) })
    switch (command.type) {
      case 'publish':
        return ok(await this.#publish(command, text))
      case 'send':
        return ok(await this.#send(command, text))
      case 'request':
        return { text: await this.#request(command, text) }
      case 'subscribe': {
        const { begin, result } = await subscriptions.subscribe(command)
        return { ...ok(result), begin }
      }
      case 'unsubscribe':
        await subscriptions.unsubscribe(command.subscription)
        return ok()
      case 'ack':
        return ok(await subscriptions.ack(command))
      case 'nack':
        return ok(await subscriptions.nack(command))
      case 'serve':
        return ok(services.serve(command))
      case 'unserve':
        await services.unserve(command)
        return ok()
      case 'reply':
        services.reply(command, text)
        return ok()
    }
  }

  async #publish(command: Command<'publish'>, text: string): Promise<object> {
    const { confirm, deliverAt, headers, id, key, priority, retain, topic, ttlMs } = command
    const { contentType, payload } = payloadOf(command, text)
    const options: PublishOptions = {
      confirm,
      contentType,
      headers,
      id,
      key,
      priority,
      retain,
      ttlMs,
      deliverAt: deliverAt === undefined ? undefined : parseMoment(deliverAt, 'deliverAt')
    }
    const published = await this.#components.node.publish(topic, payload, given(options))
    return { id: published.id, sequence: published.sequence, time: published.time }
  }

  async #send(command: Command<'send'>, text: string): Promise<object> {
    const { custodians, headers, key, peer, topic, ttlMs } = command
    const { contentType, payload } = payloadOf(command, text)
    const options: SendOptions = { contentType, custodians, headers, key, ttlMs }
    const sent = await this.#components.node.send(peer, topic, payload, given(options))
    // Who sends over a WebSocket learns the end from the outbox and its dead letters.
    sent.delivered.catch(() => {})
    const { id, time, to } = sent
    return { id, to, time }
  }

  async #request(command: Command<'request'>, text: string): Promise<string> {
    const { headers, ref, service, timeoutMs } = command
    const { contentType, payload } = payloadOf(command, text)
    const options = { contentType, headers, timeoutMs, signal: this.#signal }
    return replyText(ref, await this.#components.node.request(service, payload, given(options)))
  }
}

/** Without what is undefined. */
function given<Options extends object>(options: Options): Options {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined)
  ) as Options
}
