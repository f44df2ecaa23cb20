import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { ApiClient, topicPath } from './api-client.ts'
import { lineBatches } from './line-batches.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { interruption, print, printJson, say } from './terminal.ts'
import { parseCount, parseDuration, parsePair, usageError } from './units.ts'

interface PubOptions extends ClientOptions {
  readonly lines?: boolean
  readonly count?: string
  readonly key?: string
  readonly ttl?: string
  readonly priority?: string
  readonly confirm?: string
  readonly contentType?: string
  readonly header: readonly string[]
}

interface Published {
  readonly id: string
  readonly sequence: number
  readonly time: string
}

/** HTTP header values are bytes; UTF-8 goes through Node as Latin-1. */
const headerValue = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

function publishHeaders(options: PubOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  if (options.key !== undefined) headers['skein-key'] = headerValue(options.key)
  if (options.ttl !== undefined) {
    headers['skein-ttl'] = String(parseDuration(options.ttl, '--ttl') / 1000)
  }
  if (options.priority !== undefined) headers['skein-priority'] = options.priority
  if (options.confirm !== undefined) headers['skein-confirm'] = options.confirm
  if (options.contentType !== undefined) headers['content-type'] = options.contentType
  for (const text of options.header) {
    const [name, value] = parsePair(text, '--header')
    if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) {
      throw usageError('--header', `'${name}' is not a header name`)
    }
    headers[`skein-header-${name}`] = headerValue(value)
  }
  return headers
}

/** All of standard input, or ERR_PAYLOAD_TOO_LARGE before it fills memory. */
async function readInput(input: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of input) {
    bytes += (chunk as Buffer).length
    if (bytes > LIMITS.payloadBytes) {
      throw new SkeinError(
        'ERR_PAYLOAD_TOO_LARGE',
        `Standard input is larger than ${LIMITS.payloadBytes} bytes, the largest payload; send less, or --lines`
      )
    }
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
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
  const fromInput = data === undefined || data === '-'
  if (data === undefined && process.stdin.isTTY) {
    throw usageError('data', 'is missing; give it as an argument, or - to read standard input')
  }
  const headers = publishHeaders(options)
  if (!fromInput) headers['content-type'] ??= 'text/plain'
  const body = fromInput ? await readInput(process.stdin) : data
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
      .option('--priority <0-9>', 'carried with the message; nothing is ordered by it')
      .option('--confirm <when>', 'stored (on disk here, default) or sent')
      .option('--content-type <type>', 'media type; default text/plain for an argument')
      .option('--header <name=value>', 'header of the message; repeatable', collect, [])
  ).action((topic: string, data: string | undefined, options: PubOptions) =>
    pub(topic, data, options)
  )
}
