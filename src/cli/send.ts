import type { Command } from 'commander'
import { SkeinError } from '../core/errors.ts'
import type { OutboxEntry } from '../node/contract.ts'
import { ApiClient, topicPath } from './api-client.ts'
import { messageHeaders, readPayload } from './message-input.ts'
import type { MessageOptions } from './message-input.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { ask } from './question.ts'
import type { Json } from './question.ts'
import { print, printJson, table } from './terminal.ts'
import { parseCount, parseDuration } from './units.ts'

interface SendOptions extends ClientOptions, MessageOptions {
  readonly custodians?: string
  readonly wait?: string
}

interface Sent {
  readonly id: string
  readonly delivered?: boolean
}

function sendHeaders(options: SendOptions): Record<string, string> {
  const headers = messageHeaders(options)
  if (options.custodians !== undefined) {
    headers['skein-custodians'] = String(parseCount(options.custodians, '--custodians', 0))
  }
  if (options.wait !== undefined) {
    headers['skein-wait'] = String(parseDuration(options.wait, '--wait') / 1000)
  }
  return headers
}

async function send(
  target: { readonly peer: string; readonly topic: string },
  data: string | undefined,
  options: SendOptions
): Promise<void> {
  const headers = sendHeaders(options)
  const client = new ApiClient(await locateNode(options))
  try {
    const body = await readPayload(data, headers)
    const path = `/v1/send/${encodeURIComponent(target.peer)}/${topicPath(target.topic)}`
    const answer = (await client.call('POST', path, { headers, body })).body.toString().trim()
    const sent = JSON.parse(answer) as Sent
    if (options.json === true) await print(`${answer}\n`)
    else await print(`${sent.id}${sent.delivered === true ? ' delivered' : ''}\n`)
    if (sent.delivered !== false) return
    throw new SkeinError(
      'ERR_TIMEOUT',
      `No receipt of '${target.peer}' came within ${options.wait}; the message waits for it: skein outbox`
    )
  } finally {
    client.close()
    process.stdin.destroy()
  }
}

async function outbox(options: ClientOptions): Promise<void> {
  const found = await ask<{ entries: ReadonlyArray<Json<OutboxEntry>> }>(options, '/v1/outbox')
  if (options.json === true) return printJson(found)
  if (found.entries.length === 0) return print('nothing waits\n')
  const rows = found.entries.map((entry) => [
    entry.to,
    entry.toName ?? '-',
    entry.topic,
    String(entry.bytes),
    entry.since,
    entry.expiresAt,
    String(entry.custodians.length)
  ])
  return print(table(['TO', 'NAME', 'TOPIC', 'BYTES', 'SINCE', 'EXPIRES', 'CUSTODIANS'], rows))
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value]

export function addSend(program: Command): void {
  withNodeOptions(
    program
      .command('send')
      .description('send a message to one peer, whether it is on or off')
      .argument('<peer>', 'name or peer id of its node')
      .argument('<topic>', "topic under which it gets it: sub '@me/#'")
      .argument('[data]', 'the payload; - or nothing: standard input')
      .option('--ttl <duration>', 'how long it waits for the peer; default: 7d')
      .option('--custodians <n>', 'connected peers that keep a copy for it; default: 0')
      .option('--wait <duration>', 'wait so long for the receipt; exit code 1 without it')
      .option('--content-type <type>', 'media type; default text/plain for an argument')
      .option('--header <name=value>', 'header of the message; repeatable', collect, [])
      .option('--key <key>', 'key of the message')
  ).action((peer: string, topic: string, data: string | undefined, options: SendOptions) =>
    send({ peer, topic }, data, options)
  )
  withNodeOptions(
    program.command('outbox').description('list the messages that wait for their recipients')
  ).action(outbox)
}
