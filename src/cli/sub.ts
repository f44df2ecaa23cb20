import type { IncomingMessage } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import type { ErrorDetails } from '../core/errors.ts'
import { Acknowledger } from './acknowledger.ts'
import { ApiClient } from './api-client.ts'
import { EventParser } from './event-parser.ts'
import type { ServerEvent } from './event-parser.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { humanLine, jsonLine, payloadOf } from './received-message.ts'
import type { ReceivedEvent } from './received-message.ts'
import { interruption, print, say } from './terminal.ts'
import { parseCount, parseDuration, usageError } from './units.ts'

interface SubOptions extends ClientOptions {
  readonly durable?: string
  readonly group?: string
  readonly onPartition?: string
  readonly from?: string
  readonly raw?: boolean
  readonly count?: string
  readonly timeout?: string
  readonly maxInFlight?: string
  readonly onGap?: string
  readonly where?: string
}

/** A node that restarts is waited for this long, ms. */
const RECONNECT_MS = 30_000
/** The process that had the durable subscription before may have just ended, ms. */
const TAKEOVER_MS = 5000
/** In flight by default for a durable subscription: the most a cursor can hold. */
const MAX_IN_FLIGHT = 1024
const LINE_FEED = Buffer.from('\n')

/** One run of `skein sub`, over as many connections as it takes. */
class Subscriber {
  readonly #filter: string
  readonly #options: SubOptions
  readonly #signal: AbortSignal
  #left: number
  #cursor: string | undefined
  /** Where an ephemeral subscription began, in case it breaks off before its first message. */
  #since: string | undefined

  constructor(filter: string, options: SubOptions, signal: AbortSignal) {
    this.#filter = filter
    this.#options = options
    this.#signal = signal
    this.#left =
      options.count === undefined ? Number.POSITIVE_INFINITY : parseCount(options.count, '--count')
  }

  /** Under what it acknowledges; undefined where nothing has to be. */
  get #name(): string | undefined {
    return this.#options.durable ?? this.#options.group
  }

  /** Messages still wanted. */
  get left(): number {
    return this.#left
  }

  /** Runs until the count is reached or the signal aborts; reconnects when the node goes away. */
  async run(): Promise<void> {
    let lostAt: number | undefined
    while (this.#left > 0 && !this.#signal.aborted) {
      let client: ApiClient | undefined
      try {
        client = new ApiClient(await locateNode(this.#options))
        const response = await this.#open(client)
        if (lostAt !== undefined) say('skein: connected again')
        lostAt = undefined
        await this.#consume(client, response)
      } catch (error) {
        if (this.#signal.aborted) return
        if (!this.#mayReturn(error, lostAt)) throw error
      } finally {
        client?.close()
      }
      if (this.#left === 0 || this.#signal.aborted) return
      if (lostAt === undefined) say('skein: the connection to the node is lost; trying again')
      lostAt ??= performance.now()
      await wait(Math.min(100 + (performance.now() - lostAt) / 4, 2000))
    }
  }

  #mayReturn(error: unknown, lostAt: number | undefined): boolean {
    const began = this.#since !== undefined
    if (!began || (lostAt !== undefined && performance.now() - lostAt > RECONNECT_MS)) return false
    if (isSkeinError(error, 'ERR_CURSOR_UNKNOWN')) {
      say('skein: the node has another store now; going on from now, messages may be missing')
      this.#cursor = undefined
      this.#since = new Date().toISOString()
      return true
    }
    return isSkeinError(error, 'ERR_NO_NODE', 'ERR_STOPPED', 'ERR_TOKEN', 'ERR_ABORTED')
  }

  async #open(client: ApiClient): Promise<IncomingMessage> {
    const deadline = performance.now() + TAKEOVER_MS
    for (;;) {
      try {
        return await client.stream(`/v1/subscribe?${this.#query()}`, {
          headers: this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor }
        })
      } catch (error) {
        const taken = isSkeinError(error, 'ERR_SUBSCRIPTION_IN_USE')
        if (!taken || performance.now() > deadline) throw error
        await wait(100)
      }
    }
  }

  #query(): string {
    const { durable, from, group, maxInFlight, onGap, onPartition, where } = this.#options
    const query = new URLSearchParams({ filter: this.#filter, data: 'base64' })
    const begin = this.#name === undefined ? (this.#since ?? from) : from
    if (begin !== undefined) query.set('from', begin)
    if (durable !== undefined) query.set('durable', durable)
    if (group !== undefined) query.set('group', group)
    if (onPartition !== undefined) query.set('onPartition', onPartition)
    if (this.#name !== undefined) query.set('ack', 'manual')
    if (maxInFlight !== undefined) query.set('maxInFlight', maxInFlight)
    else if (durable !== undefined) query.set('maxInFlight', String(MAX_IN_FLIGHT))
    if (onGap !== undefined) query.set('onGap', onGap)
    if (where !== undefined) query.set('where', where)
    return query.toString()
  }

  async #consume(client: ApiClient, response: IncomingMessage): Promise<void> {
    const name = this.#name
    const acknowledger = name === undefined ? undefined : new Acknowledger(client, name)
    // The node takes back what is not acknowledged when the stream ends: so the acknowledgements go first.
    const end = async (): Promise<void> => {
      await acknowledger?.flush().catch((error: unknown) => {
        if (!isSkeinError(error)) throw error
        say(`skein: not all messages could be acknowledged and will come again (${error.code})`)
      })
      response.destroy()
    }
    const onAbort = (): void => void end()
    this.#signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.#copy(response, (ids) => acknowledger?.add(ids))
    } catch (error) {
      if (isSkeinError(error)) throw error
      throw new SkeinError('ERR_NO_NODE', 'The connection to the node is lost', { cause: error })
    } finally {
      this.#signal.removeEventListener('abort', onAbort)
      await end()
    }
  }

  async #copy(response: IncomingMessage, printed: (ids: string[]) => void): Promise<void> {
    const parser = new EventParser()
    response.setEncoding('utf8')
    for await (const text of response.iterator({ destroyOnReturn: false })) {
      if (this.#signal.aborted) return
      const messages = this.#messagesOf(parser.push(text as string))
      if (messages.length === 0) continue
      await print(this.#format(messages))
      this.#left -= messages.length
      printed(messages.map((message) => message.skeinid))
      if (this.#left === 0) return
    }
  }

  #messagesOf(events: readonly ServerEvent[]): ReceivedEvent[] {
    const messages: ReceivedEvent[] = []
    for (const { event, id, data } of events) {
      if (event === 'message' && messages.length < this.#left) {
        messages.push(JSON.parse(data) as ReceivedEvent)
        if (this.#name === undefined) this.#cursor = id
      } else if (event !== 'message') this.#note(event, data)
    }
    return messages
  }

  #note(event: string, data: string): void {
    if (event === 'ready') {
      this.#since ??= this.#options.from ?? new Date().toISOString()
      if (process.stderr.isTTY || this.#options.verbose === true) {
        say(`subscribed to ${this.#filter}`)
      }
    } else if (event === 'gap') {
      const gap = JSON.parse(data) as Record<string, string | number>
      say(
        `skein: gap: messages ${gap['from']} to ${gap['to']} of ${gap['publisher']} in '${gap['channel']}' are ${gap['reason']}`
      )
    } else if (event === 'error') {
      const { code, detail, details } = JSON.parse(data) as {
        code: string
        detail: string
        details: ErrorDetails
      }
      throw SkeinError.from({ code, message: detail, details })
    }
  }

  #format(messages: readonly ReceivedEvent[]): string | Buffer {
    if (this.#options.raw === true) {
      return Buffer.concat(messages.flatMap((message) => [payloadOf(message), LINE_FEED]))
    }
    const terminal = process.stdout.isTTY
    let text = ''
    for (const message of messages) {
      text += this.#options.json === true ? jsonLine(message) : humanLine(message, terminal)
    }
    return text
  }
}

async function sub(filter: string, options: SubOptions): Promise<void> {
  if (options.raw === true && options.json === true) {
    throw usageError('--raw', 'does not go with --json; give one of them')
  }
  const interrupted = interruption()
  const timeout = new AbortController()
  const signal = AbortSignal.any([interrupted, timeout.signal])
  const timer =
    options.timeout === undefined
      ? undefined
      : setTimeout(() => timeout.abort(), parseDuration(options.timeout, '--timeout'))
  const subscriber = new Subscriber(filter, options, signal)
  await subscriber.run()
  clearTimeout(timer)
  if (!timeout.signal.aborted || options.count === undefined || subscriber.left === 0) return
  throw new SkeinError(
    'ERR_TIMEOUT',
    `${subscriber.left} of ${options.count} messages did not come within ${options.timeout}`
  )
}

export function addSub(program: Command): void {
  withNodeOptions(
    program
      .command('sub')
      .description('print the messages of a topic filter')
      .argument(
        '<filter>',
        'topic filter, like orders/#, or @me/# for what was sent to the node (quote it)'
      )
      .option('--durable <name>', "the node's own cursor: go on where this name left off")
      .option(
        '--group <name>',
        'share the messages with all members of this work group in the mesh'
      )
      .option(
        '--on-partition <what>',
        'with --group, when it is made: available (default), or majority=<members>'
      )
      .option('--from <start>', 'now (default), earliest, last, a time, or cursor:<cursor>')
      .option(
        '--where <json>',
        `only messages with these attributes, like '[{"exact":{"data.country":"NZ"}}]'`
      )
      .option('--raw', 'print only the payloads, one a line, as they came')
      .option('--count <n>', 'end after n messages')
      .option('--timeout <duration>', 'end after this time (500ms, 60s; bare = seconds)')
      .option('--max-in-flight <n>', 'messages printed and not yet acknowledged, at most')
      .option(
        '--on-gap <what>',
        'with --durable or --group: wait (default) for missing messages, or skip them'
      )
  ).action((filter: string, options: SubOptions) => sub(filter, options))
}
