import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { ApiClient, topicPath } from './api-client.ts'
import { lineBatches } from './line-batches.ts'
import { headerValue, messageHeaders, readPayload } from './message-input.ts'
import type { MessageOptions } from './message-input.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { interruption, print, printJson, say } from './terminal.ts'
import { parseCount, parseDuration, usageError } from './units.ts'

interface PubOptions extends ClientOptions, MessageOptions {
  readonly lines?: boolean
  readonly count?: string
  readonly priority?: string
  readonly deliverAt?: string
  readonly id?: string
  readonly confirm?: string
  readonly retain?: boolean
}

interface Published {
  readonly id: string
  readonly sequence: number
  readonly time: string
}

function publishHeaders(options: PubOptions): Record<string, string> {
  const headers = messageHeaders(options)
  if (options.priority !== undefined) headers['skein-priority'] = options.priority
  if (options.deliverAt !== undefined) {
    headers['skein-deliver-at'] = deliverAtHeader(options.deliverAt)
  }
  if (options.confirm !== undefined) headers['skein-confirm'] = confirmHeader(options.confirm)
  if (options.retain === true) headers['skein-retain'] = 'true'
  if (options.id !== undefined) headers['skein-id'] = headerValue(options.id)
  return headers
}

/** A time as it is, or that so much later than now. */
function deliverAtHeader(text: string): string {
  if (/^\d{4}-/.test(text)) return text
  return new Date(Date.now() + parseDuration(text, '--deliver-at')).toISOString()
}

/** On the command line a time may have a unit; the header counts in seconds. */
function confirmHeader(text: string): string {
  return text.replace(
    /(;\s*timeout=)(.+)$/,
    (_all, before: string, time: string) => `${before}${parseDuration(time, '--confirm') / 1000}`
  )
}

/** Shows how many lines are confirmed, when standard error is a terminal. */
function progressMeter(): { show(confirmed: number): void; end(): void } {
  let shownAt = 0
  return {
    show(confirmed) {
      if (!process.stderr.isTTY || performance.now() - shownAt < 200) return
      shownAt = performance.now()
      process.stderr.write(`\r${confirmed} lines confirmed`)
    },
    end() {
      if (shownAt > 0) process.stderr.write('\r\u001b[K')
    }
  }
}

async function publishLines(client: ApiClient, topic: string, options: PubOptions): Promise<void> {
  const headers = publishHeaders(options)
  const path = `/v1/publish/${topicPath(topic)}?split=lines`
  const maxLines = options.count === undefined ? undefined : parseCount(options.count, '--count')
  const signal = interruption()
  const progress = progressMeter()
  let published = 0
  let first: Published | null = null
  let last: Published | null = null
  try {
    for await (const { bytes } of lineBatches(process.stdin, { maxLines, signal })) {
      const answer = await client.call('POST', path, { headers, body: bytes })
      const result = JSON.parse(answer.body.toString()) as {
        published: number
        first: Published | null
        last: Published | null
      }
      published += result.published
      first ??= result.first
      last = result.last ?? last
      progress.show(published)
    }
  } catch (error) {
    progress.end()
    if (!isSkeinError(error)) throw error
    const { line, published: some } = error.details
    const confirmed = published + (typeof some === 'number' ? some : 0)
    const at = typeof line === 'number' ? `line ${published + line}` : `after line ${published}`
    const unsure = typeof line === 'number' ? '' : '; those sent last may have been published'
    throw new SkeinError(
      error.code,
      `${confirmed} lines are confirmed, stopped at ${at}${unsure}: ${error.message}`,
      { cause: error, details: error.details }
    )
  }
  progress.end()
  if (signal.aborted) {
    throw new SkeinError('ERR_ABORTED', `Interrupted: ${published} lines are confirmed`)
  }
  if (options.json === true) await printJson({ published, first, last })
  else if (process.stderr.isTTY || options.verbose === true) say(`${published} lines confirmed`)
}

async function publishData(
  client: ApiClient,
  topic: string,
  data: string | undefined,
  options: PubOptions
): Promise<void> {
  const count = options.count === undefined ? 1 : parseCount(options.count, '--count')
  const headers = publishHeaders(options)
  const body = await readPayload(data, headers)
  const path = `/v1/publish/${topicPath(topic)}`
  const signal = interruption()
  for (let n = 0; n < count; n++) {
    if (signal.aborted) {
      throw new SkeinError('ERR_ABORTED', `Interrupted: ${n} messages are confirmed`)
    }
    const answer = await client.call('POST', path, { headers, body })
    if (options.json === true) await print(`${answer.body.toString().trim()}\n`)
    else if (options.verbose === true) {
      say(`published ${(JSON.parse(answer.body.toString()) as Published).id}`)
    }
  }
}

async function pub(topic: string, data: string | undefined, options: PubOptions): Promise<void> {
  if (options.lines === true && data !== undefined && data !== '-') {
    throw usageError('--lines', 'reads standard input; leave out the data argument')
  }
  if (options.id !== undefined && (options.lines === true || options.count !== undefined)) {
    throw usageError('--id', 'is for one message; leave out --lines and --count')
  }
  // Wrong usage is wrong whether or not a node runs.
  publishHeaders(options)
  const client = new ApiClient(await locateNode(options))
  try {
    if (options.lines === true) await publishLines(client, topic, options)
    else await publishData(client, topic, data, options)
  } finally {
    client.close()
    process.stdin.destroy()
  }
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value]

export function addPub(program: Command): void {
  withNodeOptions(
    program
      .command('pub')
      .description('publish a message')
      .argument('<topic>', 'topic to publish to')
      .argument('[data]', 'the payload; - or nothing: standard input')
      .option('--lines', 'publish each line of standard input as a message')
      .option('--count <n>', 'publish it n times; with --lines, only the first n lines')
      .option('--key <key>', 'key, for last-value retention')
      .option('--ttl <duration>', 'do not deliver once older (500ms, 60s; bare = seconds)')
      .option('--deliver-at <time>', 'not before this time, or so much later than now (5m)')
      .option('--priority <0-9>', 'higher goes first within what is ready (0)')
      .option('--id <id>', 'idempotency id: within 10 minutes, the same id is the same message')
      .option('--confirm <when>', 'stored (on disk here, default), sent, or replicas=2[;timeout=5]')
      .option('--retain', 'keep it as the last value of its topic, in $retained/<topic>')
      .option('--content-type <type>', 'media type; default text/plain for an argument')
      .option('--header <name=value>', 'header of the message; repeatable', collect, [])
  ).action((topic: string, data: string | undefined, options: PubOptions) =>
    pub(topic, data, options)
  )
}
