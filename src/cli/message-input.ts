import type { Readable } from 'node:stream'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { parseDuration, parsePair, usageError } from './units.ts'

/** Options of every command that takes a message. */
export interface MessageOptions {
  readonly key?: string
  readonly ttl?: string
  readonly contentType?: string
  readonly header: readonly string[]
}

/** HTTP header values are bytes; UTF-8 goes through Node as Latin-1. */
export const headerValue = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

/** What the options say of the message, as headers of a request. Throws ERR_OPTIONS naming one. */
export function messageHeaders(options: MessageOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  if (options.key !== undefined) headers['skein-key'] = headerValue(options.key)
  if (options.ttl !== undefined) {
    headers['skein-ttl'] = String(parseDuration(options.ttl, '--ttl') / 1000)
  }
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
        `Standard input is larger than ${LIMITS.payloadBytes} bytes, the largest payload; send less at once`
      )
    }
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

/**
 * The payload: the argument, or standard input where it is `-` or left out. An argument is text, unless
 * `headers` say otherwise. Throws ERR_OPTIONS where there is neither.
 */
export async function readPayload(
  data: string | undefined,
  headers: Record<string, string>
): Promise<string | Buffer> {
  if (data === undefined && process.stdin.isTTY) {
    throw usageError('data', 'is missing; give it as an argument, or - to read standard input')
  }
  if (data === undefined || data === '-') return readInput(process.stdin)
  headers['content-type'] ??= 'text/plain'
  return data
}
