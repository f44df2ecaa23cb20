import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { basename } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { ApiClient } from './api-client.ts'
import { DigestAppender, DigestChecker } from './digest-transform.ts'
import { headerValue } from './message-input.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { createProgress } from './progress.ts'
import { interruption, print, say } from './terminal.ts'
import { bytesText, parseDuration, usageError } from './units.ts'

interface SendOptions extends ClientOptions {
  readonly peer?: string
  readonly wait?: string
}

interface ReceiveOptions extends ClientOptions {
  readonly timeout?: string
}

/** What one command tells the other of what it sends. */
interface TransferMetadata {
  /** The payload is followed by its digest. */
  readonly digest?: unknown
  readonly bytes?: unknown
}

interface Exchange {
  readonly outgoing: ClientRequest
  readonly response: IncomingMessage
}

/** Between two tries to find somebody who takes a stream, ms. */
const TRY_MS = 300

/** A line on the terminal that follows the bytes, and a summary behind it. */
class Meter {
  readonly #progress = createProgress(true)
  readonly #startedAt = performance.now()
  readonly #total: number | undefined

  constructor(total: number | undefined) {
    this.#total = total
  }

  show(bytes: number): void {
    const of = this.#total === undefined ? '' : ` of ${bytesText(this.#total)}`
    const share = this.#total === undefined ? undefined : bytes / Math.max(1, this.#total)
    this.#progress.show(share, `${bytesText(bytes)}${of}, ${this.#rate(bytes)}`)
  }

  async end(
    what: string,
    options: ClientOptions,
    done: { bytes: number; digest: string }
  ): Promise<void> {
    this.#progress.clear()
    const { bytes, digest } = done
    const ms = Math.round(performance.now() - this.#startedAt)
    if (options.json === true) await print(`${JSON.stringify({ bytes, digest, ms })}\n`)
    else say(`skein: ${what} ${bytesText(bytes)}, ${this.#rate(bytes)}, SHA-256 ${digest}`)
  }

  clear(): void {
    this.#progress.clear()
  }

  #rate(bytes: number): string {
    return `${bytesText((bytes * 1000) / Math.max(1, performance.now() - this.#startedAt))}/s`
  }
}

/** A node that breaks off says no more than that; what it logs says why. */
function brokenOff(error: unknown, signal: AbortSignal): unknown {
  if (isSkeinError(error)) return error
  if (signal.aborted) return signal.reason
  const { code, message, path } = error as NodeJS.ErrnoException
  // A fault of this command's own files speaks for itself.
  if (path !== undefined) return new SkeinError('ERR_OPTIONS', message, { cause: error })
  const text = `The stream broke before all was through (${code ?? message}): the other side ended it, or the way to it is gone`
  return new SkeinError('ERR_STREAM', text, { cause: error })
}

async function readText(response: Readable): Promise<string> {
  let text = ''
  for await (const chunk of response) text += (chunk as Buffer).toString()
  return text
}

// ---- sending ----

async function openOutgoing(
  client: ApiClient,
  path: string,
  {
    headers,
    until,
    signal
  }: { headers: Record<string, string>; until: number; signal: AbortSignal }
): Promise<Exchange> {
  for (;;) {
    try {
      return await client.duplex('POST', path, { headers, signal })
    } catch (error) {
      const isAlone = isSkeinError(
        error,
        'ERR_NO_HANDLER',
        'ERR_PEER_UNKNOWN',
        'ERR_PEER_UNREACHABLE'
      )
      if (!isAlone || performance.now() > until) throw error
      await wait(TRY_MS, undefined, { signal })
    }
  }
}

async function send(name: string, file: string | undefined, options: SendOptions): Promise<void> {
  const signal = interruption()
  const isFile = file !== undefined && file !== '-'
  const total = isFile
    ? (
        await stat(file).catch((error: unknown) => {
          throw brokenOff(error, signal)
        })
      ).size
    : undefined
  const metadata = { digest: 'sha256', ...(isFile ? { file: basename(file), bytes: total } : {}) }
  const query = options.peer === undefined ? '' : `?peer=${encodeURIComponent(options.peer)}`
  const path = `/v1/streams/${encodeURIComponent(name)}${query}`
  const waitMs = options.wait === undefined ? 0 : parseDuration(options.wait, '--wait')
  const client = new ApiClient(await locateNode(options))
  const headers = { 'skein-metadata': headerValue(JSON.stringify(metadata)) }
  const until = performance.now() + waitMs
  let meter: Meter | undefined
  try {
    const { outgoing, response } = await openOutgoing(client, path, { headers, until, signal })
    const shown = (meter = new Meter(total))
    const digests = new DigestAppender({ onBytes: (bytes) => shown.show(bytes) })
    const source = isFile ? createReadStream(file, { highWaterMark: 256 * 1024 }) : process.stdin
    const [confirmed] = await Promise.all([
      readText(response),
      pipeline(source, digests, outgoing, { signal })
    ])
    if (confirmed !== digests.digest) {
      throw new SkeinError(
        'ERR_STREAM',
        'The other side did not confirm what it got; it must be: skein stream receive'
      )
    }
    await meter.end('sent', options, digests)
  } catch (error) {
    meter?.clear()
    throw brokenOff(error, signal)
  } finally {
    client.close()
    process.stdin.destroy()
  }
}

// ---- receiving ----

function metadataOf({ headers }: IncomingMessage): TransferMetadata {
  const text = Buffer.from(String(headers['skein-metadata'] ?? '{}'), 'latin1').toString('utf8')
  return JSON.parse(text) as TransferMetadata
}

/** Standard output is the shell's: it is not closed here. */
async function toStdout(source: AsyncIterable<Buffer>): Promise<void> {
  for await (const chunk of source) await print(chunk)
}

async function copyIn(
  { outgoing, response }: Exchange,
  target: { part: string | undefined; meter: Meter },
  signal: AbortSignal
): Promise<DigestChecker> {
  if (metadataOf(response).digest !== 'sha256') {
    throw new SkeinError('ERR_STREAM', 'The other side is not: skein stream send')
  }
  const digests = new DigestChecker({ onBytes: (bytes) => target.meter.show(bytes) })
  if (target.part === undefined) await pipeline(response, digests, toStdout, { signal })
  else {
    const sink: Writable = createWriteStream(target.part, { flush: true })
    await pipeline(response, digests, sink, { signal })
  }
  await new Promise<void>((resolve) => outgoing.end(digests.digest, () => resolve()))
  return digests
}

async function receive(
  name: string,
  file: string | undefined,
  options: ReceiveOptions
): Promise<void> {
  if (options.json === true && (file === undefined || file === '-')) {
    throw usageError('--json', 'needs a file, as standard output is for the bytes')
  }
  const interrupted = interruption()
  const late = new AbortController()
  const timer =
    options.timeout === undefined
      ? undefined
      : setTimeout(
          () => {
            const text = `nobody opened a stream '${name}' within ${options.timeout}`
            late.abort(new SkeinError('ERR_TIMEOUT', text))
          },
          parseDuration(options.timeout, '--timeout')
        )
  const signal = AbortSignal.any([interrupted, late.signal])
  const part = file === undefined || file === '-' ? undefined : `${file}.part`
  const client = new ApiClient(await locateNode(options))
  let exchange: Exchange | undefined
  let meter: Meter | undefined
  try {
    exchange = await client.duplex('PUT', `/v1/streams/${encodeURIComponent(name)}`, { signal })
    clearTimeout(timer)
    const { bytes } = metadataOf(exchange.response)
    meter = new Meter(typeof bytes === 'number' ? bytes : undefined)
    const digests = await copyIn(exchange, { part, meter }, signal)
    if (part !== undefined && file !== undefined) await rename(part, file)
    await meter.end('received', options, digests)
  } catch (error) {
    meter?.clear()
    exchange?.outgoing.destroy()
    if (part !== undefined && exchange !== undefined) await rm(part, { force: true })
    throw brokenOff(error, signal)
  } finally {
    clearTimeout(timer)
    client.close()
  }
}

export function addStream(program: Command): void {
  const stream = program
    .command('stream')
    .description('bytes from here to another node, as a file or a pipe')
  withNodeOptions(
    stream
      .command('send')
      .description('send a file, or standard input')
      .argument('<name>', 'name that both sides agree on')
      .argument('[file]', 'the file; - or nothing: standard input')
      .option(
        '--peer <peer>',
        'name or PeerId of the node; default: any connected one that takes it'
      )
      .option(
        '--wait <duration>',
        'how long to wait for somebody who takes it; default: not at all'
      )
  ).action(send)
  withNodeOptions(
    stream
      .command('receive')
      .description('take one stream, check it, and write it to a file or standard output')
      .argument('<name>', 'name that both sides agree on')
      .argument(
        '[file]',
        'the file, which is there when all of it is; - or nothing: standard output'
      )
      .option('--timeout <duration>', 'how long to wait for a stream; default: for ever')
  ).action(receive)
}
