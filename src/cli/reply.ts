import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Command } from 'commander'
import { SkeinError, isSkeinError, toSkeinError } from '../core/errors.ts'
import { ApiClient } from './api-client.ts'
import { runCommand } from './command-runner.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { interruption, printJson, say } from './terminal.ts'
import { parseCount, usageError } from './units.ts'

interface ReplyOptions extends ClientOptions {
  readonly echo?: boolean
  readonly exec?: string
  readonly concurrency?: string
  readonly contentType?: string
}

interface Answer {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
}

type Handler = (request: IncomingMessage, body: Buffer, signal: AbortSignal) => Promise<Answer>

/** The node forgets this command after this time without a word, ms: it may have been killed. */
const TTL_MS = 5000
const RENEW_MS = 1000
/** A node that restarts is waited for this long, ms. */
const RECONNECT_MS = 30_000
/** Commands of the shell at once, by default. */
const CONCURRENCY = 16

const text = (value: string | string[] | undefined): string =>
  Buffer.from(String(value ?? ''), 'latin1').toString('utf8')

function handlerOf({ contentType, echo, exec }: ReplyOptions): Handler {
  if ((echo === true) === (exec !== undefined)) {
    throw usageError('--exec', 'is missing; give a command, or --echo, and not both')
  }
  if (exec === undefined) {
    return async ({ headers }, body) => {
      const own = Object.entries(headers).filter(([name]) => name.startsWith('skein-header-'))
      const type = { 'content-type': contentType ?? String(headers['content-type']) }
      return { body, headers: { ...(Object.fromEntries(own) as Record<string, string>), ...type } }
    }
  }
  return async ({ headers }, payload, signal) => {
    const env = {
      SKEIN_SERVICE: text(headers['skein-service']),
      SKEIN_FROM: text(headers['skein-from']),
      SKEIN_CONTENT_TYPE: text(headers['content-type'])
    }
    const body = await runCommand(exec, { payload, env, signal })
    return { body, headers: { 'content-type': contentType ?? 'application/octet-stream' } }
  }
}

async function answer(
  handler: Handler,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  try {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { body, headers } = await handler(request, Buffer.concat(chunks), gone.signal)
    response.writeHead(200, headers).end(body)
  } catch (error) {
    // The caller gets to know why; this command goes on.
    response
      .writeHead(500, { 'content-type': 'text/plain; charset=utf-8' })
      .end(toSkeinError(error).message)
  }
}

/** Where the node of this machine sends requests to; nobody else knows the path. */
async function listen(handler: Handler): Promise<{ server: Server; webhook: string }> {
  const path = `/${randomBytes(16).toString('base64url')}`
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    if (request.url === path) void answer(handler, request, response)
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return { server, webhook: `http://127.0.0.1:${port}${path}` }
}

interface Responder {
  readonly webhook: string
  readonly concurrency: number
  readonly ttlMs: number
}

async function withNode<Result>(
  options: ClientOptions,
  run: (client: ApiClient) => Promise<Result>
): Promise<Result> {
  const client = new ApiClient(await locateNode(options))
  try {
    return await run(client)
  } finally {
    client.close()
  }
}

/** Is it this command that answers at the node? False where nobody does, as after a restart of the node. */
async function isOurs(client: ApiClient, path: string, { webhook }: Responder): Promise<boolean> {
  try {
    const served = await client.json<Responder>('GET', path)
    if (served.webhook === webhook) return true
  } catch (error) {
    if (isSkeinError(error, 'ERR_NOT_FOUND')) return false
    throw error
  }
  throw new SkeinError('ERR_ABORTED', 'Another command answers this service at the node now')
}

/** Says to the node again and again that this command is there, until the signal aborts. */
async function register(
  path: string,
  responder: Responder,
  { options, signal }: { options: ReplyOptions; signal: AbortSignal }
): Promise<void> {
  let lostAt: number | undefined
  for (let known = false; !signal.aborted;) {
    try {
      await withNode(options, async (client) => {
        if (known) await isOurs(client, path, responder)
        await client.json('PUT', path, responder)
      })
      if (lostAt !== undefined) say('skein: connected again')
      else if (!known && options.json === true) await printJson({ ready: true })
      else if (!known) say('skein: ready; Ctrl-C ends')
      lostAt = undefined
      known = true
    } catch (error) {
      const isAway = isSkeinError(error, 'ERR_NO_NODE', 'ERR_STOPPED', 'ERR_TOKEN')
      if (!known || !isAway) throw error
      if (lostAt === undefined) say('skein: the connection to the node is lost; trying again')
      lostAt ??= performance.now()
      if (performance.now() - lostAt > RECONNECT_MS) throw error
    }
    // Only the signal ends it early.
    await wait(RENEW_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** Resolves when those that are with a handler have been answered. */
async function unregister(
  path: string,
  responder: Responder,
  options: ReplyOptions
): Promise<void> {
  try {
    await withNode(options, async (client) => {
      if (await isOurs(client, path, responder)) await client.call('DELETE', path)
    })
  } catch (error) {
    if (!isSkeinError(error, 'ERR_ABORTED', 'ERR_NO_NODE', 'ERR_NOT_FOUND', 'ERR_STOPPED'))
      throw error
  }
}

async function reply(service: string, options: ReplyOptions): Promise<void> {
  const handler = handlerOf(options)
  const concurrency =
    options.concurrency === undefined
      ? CONCURRENCY
      : parseCount(options.concurrency, '--concurrency')
  const signal = interruption()
  const path = `/v1/services/${encodeURIComponent(service)}`
  const { server, webhook } = await listen(handler)
  const responder = { webhook, concurrency, ttlMs: TTL_MS }
  try {
    await register(path, responder, { options, signal })
    await unregister(path, responder, options)
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

export function addReply(program: Command): void {
  withNodeOptions(
    program
      .command('reply')
      .description('answer the requests for a service')
      .argument('<service>', 'name of the service')
      .option('--exec <command>', 'run it for each request: payload in, standard output back')
      .option('--echo', 'give each request back as it came')
      .option('--concurrency <n>', 'requests at once; default: 16')
      .option('--content-type <type>', 'media type of the answers')
  ).action(reply)
}
