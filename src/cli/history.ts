import type { Command } from 'commander'
import { LIMITS } from '../core/limits.ts'
import { ApiClient } from './api-client.ts'
import { locateNode } from './node-locator.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { humanLine, jsonLine } from './received-message.ts'
import type { ReceivedEvent } from './received-message.ts'
import { print } from './terminal.ts'
import { isDuration, parseCount, parseDuration } from './units.ts'

interface HistoryOptions extends ClientOptions {
  readonly since?: string
  readonly until?: string
  readonly limit?: string
}

interface Page {
  readonly messages: readonly ReceivedEvent[]
  /** Where to go on; undefined on the last page. */
  readonly next?: string
}

/** A time as it is, or so long ago. */
function momentOf(text: string, option: string): string {
  if (!isDuration(text)) return text
  return new Date(Date.now() - parseDuration(text, option)).toISOString()
}

async function history(filter: string, options: HistoryOptions): Promise<void> {
  const { json, limit, since, until } = options
  let left = limit === undefined ? Number.POSITIVE_INFINITY : parseCount(limit, '--limit')
  const query = new URLSearchParams({ filter, data: 'base64' })
  if (since !== undefined) query.set('since', momentOf(since, '--since'))
  if (until !== undefined) query.set('until', momentOf(until, '--until'))
  const terminal = process.stdout.isTTY
  const client = new ApiClient(await locateNode(options))
  try {
    for (let next: string | undefined = ''; next !== undefined && left > 0;) {
      if (next !== '') query.set('after', next)
      query.set('limit', String(Math.min(left, LIMITS.pullMessages)))
      const page: Page = await client.json('GET', `/v1/history?${query.toString()}`)
      const lines = page.messages.map((message) =>
        json === true ? jsonLine(message) : humanLine(message, terminal)
      )
      await print(lines.join(''))
      left -= page.messages.length
      next = page.next
    }
  } finally {
    client.close()
  }
}

export function addHistory(program: Command): void {
  withNodeOptions(
    program
      .command('history')
      .description('print the messages that the node holds, in the order of time')
      .argument('<filter>', 'topic filter, like orders/# (quote it)')
      .option('--since <time>', 'published at or after a time, or so long ago (1h)')
      .option('--until <time>', 'published before a time, or longer ago')
      .option('--limit <n>', 'n messages at most')
  ).action((filter: string, options: HistoryOptions) => history(filter, options))
}
