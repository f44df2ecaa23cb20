import { isUtf8 } from 'node:buffer'
import type { Command } from 'commander'
import { isJsonType, isTextType } from '../sidecar/events/cloud-event.ts'
import { ApiClient } from './api-client.ts'
import type { ApiAnswer } from './api-client.ts'
import { messageHeaders, readPayload } from './message-input.ts'
import type { MessageOptions } from './message-input.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { escapeControls, print, printJson } from './terminal.ts'
import { parseDuration } from './units.ts'

interface RequestOptions extends ClientOptions, Omit<MessageOptions, 'key' | 'ttl'> {
  readonly timeout?: string
}

const PREFIX = 'skein-header-'

/** JSON stays JSON, text is text; other bytes, and what is not what it says, are base64. */
function payloadFields(body: Buffer, type: string): object {
  const text = isUtf8(body) ? body.toString('utf8') : undefined
  if (text !== undefined && isTextType(type)) return { payload: text }
  if (text === undefined || !isJsonType(type)) return { payloadBase64: body.toString('base64') }
  try {
    return { payload: JSON.parse(text) as unknown }
  } catch {
    return { payloadBase64: body.toString('base64') }
  }
}

function jsonOf({ body, headers }: ApiAnswer): object {
  const contentType = String(headers['content-type'] ?? '')
  const own = Object.entries(headers)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => {
      return [name.slice(PREFIX.length), Buffer.from(String(value), 'latin1').toString('utf8')]
    })
  return {
    ...payloadFields(body, contentType),
    contentType,
    headers: Object.fromEntries(own),
    responder: headers['skein-responder']
  }
}

/** As it came; on a terminal made harmless, and on lines of its own. */
function shownBody(body: Buffer): string | Buffer {
  if (!process.stdout.isTTY) return body
  const text = isUtf8(body) ? body.toString('utf8') : `base64:${body.toString('base64')}`
  return `${text.replace(/\n$/, '').split('\n').map(escapeControls).join('\n')}\n`
}

async function request(
  service: string,
  data: string | undefined,
  options: RequestOptions
): Promise<void> {
  const headers = messageHeaders(options)
  if (options.timeout !== undefined) {
    headers['skein-timeout'] = String(parseDuration(options.timeout, '--timeout') / 1000)
  }
  const client = new ApiClient(await locateNode(options))
  try {
    const body = await readPayload(data, headers)
    const path = `/v1/request/${encodeURIComponent(service)}`
    const answer = await client.call('POST', path, { headers, body })
    if (options.json === true) await printJson(jsonOf(answer))
    else await print(shownBody(answer.body))
  } finally {
    client.close()
    process.stdin.destroy()
  }
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value]

export function addRequest(program: Command): void {
  withNodeOptions(
    program
      .command('request')
      .description('ask a service of the mesh, and print its answer')
      .argument('<service>', 'name of the service')
      .argument('[data]', 'the payload; - or nothing: standard input')
      .option('--timeout <duration>', 'how long to wait for the answer; default: 10s')
      .option('--content-type <type>', 'media type; default text/plain for an argument')
      .option('--header <name=value>', 'header of the request; repeatable', collect, [])
  ).action(request)
}
